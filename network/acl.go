package network

import (
	"netctl/config"
	"netctl/network/firewall"
)

// NewACL returns the ACL called name.
func NewACL(name string, c config.ACL) *ACL {
	return &ACL{firewall.ACL{Name: name, Ingress: aclRules(c.Ingress), Egress: aclRules(c.Egress)}}
}

func aclRules(rules []config.ACLRule) []firewall.ACLRule {
	var out []firewall.ACLRule
	for _, r := range rules {
		out = append(out, firewall.ACLRule{
			Action: firewall.Action(r.Action), Logged: r.Logged, Source: r.Source, Destination: r.Destination,
			Protocol: r.Protocol, SourcePort: aclPorts(r.SourcePort), DestPort: aclPorts(r.DestPort),
			ICMPType: r.ICMPType, ICMPCode: r.ICMPCode,
		})
	}
	return out
}

func aclPorts(ranges []config.PortRange) []firewall.PortRange {
	var out []firewall.PortRange
	for _, r := range ranges {
		out = append(out, firewall.PortRange(r))
	}
	return out
}

// aclDefault returns what a network does with what its ACLs do not match. It
// does not matter without ACLs.
func aclDefault(c config.Bridge, d config.ACLDefault) firewall.Default {
	if len(c.ACLs) == 0 {
		return firewall.Default{}
	}
	return firewall.Default{Action: firewall.Action(d.Action), Logged: d.Logged}
}
