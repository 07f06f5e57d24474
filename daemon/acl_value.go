package daemon

import (
	"fmt"
	"strings"

	"netctl/api"
	"netctl/config"
	"netctl/db"
	"netctl/network"
)

// A storedACL is the value of /acl/<name>.
type storedACL struct {
	Description string               `json:"description"`
	Config      map[string]string    `json:"config"`
	Ingress     []api.NetworkACLRule `json:"ingress"`
	Egress      []api.NetworkACLRule `json:"egress"`
}

const aclsPrefix = "/acl/"

func aclKey(name string) string { return db.Key("acl", name) }

// spec returns the ACL as package config takes it.
func (s storedACL) spec() config.ACLSpec {
	return config.ACLSpec{Config: s.Config, Ingress: ruleSpecs(s.Ingress), Egress: ruleSpecs(s.Egress)}
}

func ruleSpecs(rules []api.NetworkACLRule) []config.RuleSpec {
	var out []config.RuleSpec
	for _, r := range rules {
		out = append(out, config.RuleSpec{
			Action: r.Action, State: r.State, Source: r.Source, Destination: r.Destination, Protocol: r.Protocol,
			SourcePort: r.SourcePort, DestinationPort: r.DestinationPort, ICMPType: r.ICMPType, ICMPCode: r.ICMPCode,
			Description: r.Description,
		})
	}
	return out
}

var aclKind = objectKind[network.ACL, string]{
	name: func(a *network.ACL) string { return a.Name }, compare: strings.Compare, key: aclKey,
	decode: func(objs *db.Objects, name string) (*network.ACL, error) {
		var s storedACL
		if err := load(objs.Get, aclKey(name), &s); err != nil {
			return nil, err
		}
		a, err := s.spec().Decode()
		if err != nil {
			return nil, aclError(name, err)
		}
		return network.NewACL(name, a), nil
	},
}

// aclError says of which ACL it is that err complains about.
func aclError(name string, err error) error {
	return configError(fmt.Sprintf("network ACL %q", name), err)
}
