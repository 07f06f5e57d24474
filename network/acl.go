package network

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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

// useACLs makes w have the ACLs that its networks use, and reports those that
// do not exist. All are sorted by name; old is the whole before.
func (w *whole) useACLs(all []*ACL, old *whole, changed bool) error {
	w.acls = all
	if same := len(all) == len(old.acls) && (len(all) == 0 || &all[0] == &old.acls[0]); same && !changed {
		w.rules = old.rules
		return nil
	}
	var errs []error
	used := map[string]bool{}
	for _, p := range w.networks.parts {
		for _, name := range p.network.ACLs {
			i, ok := slices.BinarySearchFunc(all, name, func(a *ACL, name string) int { return strings.Compare(a.Name, name) })
			switch {
			case !ok:
				errs = append(errs, &InvalidError{
					fmt.Sprintf("network %q", p.network.Name), "security.acls", strings.Join(p.network.ACLs, ","),
					fmt.Sprintf("network ACL %q does not exist", name),
				})
			case !used[name]:
				used[name] = true
				w.rules = append(w.rules, &all[i].ACL)
			}
		}
	}
	slices.SortFunc(w.rules, func(a, b *firewall.ACL) int { return strings.Compare(a.Name, b.Name) })
	return errors.Join(errs...)
}
