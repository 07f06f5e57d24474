package firewall

import (
	"fmt"
	"strings"

	"go4.org/netipx"
)

// An ACL is a list of rules for the traffic of networks that name it.
//
// They hold for what the host routes to and from the network, and for what it
// exchanges with the network itself, but for DHCP, DNS and what IP needs of
// ICMP; not for what instances of one network exchange. What belongs to a
// connection that was allowed once passes. Of all rules of all ACLs of a
// network those that drop come first, then those that reject, and then those
// that allow.
type ACL struct {
	Name            string
	Ingress, Egress []ACLRule // toward instances, and from them
}

// An Action is what happens to packets.
type Action string

// The actions.
const (
	Allow  Action = "allow"
	Drop   Action = "drop"
	Reject Action = "reject"
)

// actions are all of them, in the order in which rules are looked at.
var actions = []Action{Drop, Reject, Allow}

// An ACLRule matches packets that all of its fields match; an empty one matches
// all.
type ACLRule struct {
	Action      Action
	Logged      bool
	Source      []netipx.IPRange
	Destination []netipx.IPRange
	Protocol    string // tcp, udp, icmp4, icmp6 or empty
	SourcePort  []PortRange
	DestPort    []PortRange
	ICMPType    *uint8
	ICMPCode    *uint8
}

// A PortRange is a range of TCP or UDP ports.
type PortRange struct{ First, Last uint16 }

// A Default is what happens to traffic that no rule of an ACL matches.
type Default struct {
	Action Action
	Logged bool
}

// The directions, seen from instances.
const (
	ingress = "ingress"
	egress  = "egress"
)

// aclList names the chain with the rules of an ACL that have an action.
func aclList(acl, direction string, a Action) string {
	return fmt.Sprintf("acl.%s.%s.%s", acl, direction, a)
}

// netList names the chain with what a network does.
func netList(network, direction string) string {
	return fmt.Sprintf("net.%s.%s", network, direction)
}

// Content implements Part: a chain for each direction and action, so that
// networks can go through those of several ACLs in turn.
func (a *ACL) Content() (Content, error) {
	if !word(a.Name, 63) {
		return Content{}, fmt.Errorf("ACL %q: the name is not fit for the packet filter", a.Name)
	}
	var c Content
	for _, d := range []struct {
		direction string
		rules     []ACLRule
	}{{egress, a.Egress}, {ingress, a.Ingress}} {
		for _, action := range actions {
			l := List{Name: aclList(a.Name, d.direction, action)}
			for i, r := range d.rules {
				texts, err := r.texts(fmt.Sprintf("netctl acl %s %s %s: ", a.Name, d.direction, action))
				if err != nil {
					return Content{}, fmt.Errorf("ACL %s: %s rule %d: %w", a.Name, d.direction, i+1, err)
				}
				if r.Action == action {
					l.add(texts...)
				}
			}
			c.Lists = append(c.Lists, l)
		}
	}
	c.Sort()
	return c, nil
}

// guard returns what makes the ACLs of a network count; nothing when it has
// none.
func (n *Network) guard() (c Content, err error) {
	if len(n.ACLs) == 0 {
		return c, nil
	}
	dev := `"` + n.Name + `"`
	c.Elements = []Element{{Set: aclNets, Key: dev}, {Set: aclWithin, Key: dev + " . " + dev}}
	if n.DNS {
		c.Elements = append(c.Elements, Element{Set: aclDNS, Key: dev})
	}
	for _, d := range []struct {
		direction, set string
		last           Default
	}{{egress, aclEgress, n.Egress}, {ingress, aclIngress, n.Ingress}} {
		l := List{Name: netList(n.Name, d.direction)}
		l.add("ct state established,related accept")
		for _, action := range actions {
			for _, name := range n.ACLs {
				if !word(name, 63) {
					return Content{}, fmt.Errorf("network %s: ACL %q: the name is not fit for the packet filter", n.Name, name)
				}
				l.add("jump " + aclList(name, d.direction, action))
			}
		}
		texts, err := ACLRule{Action: d.last.Action, Logged: d.last.Logged}.texts(fmt.Sprintf("netctl network %s %s %s: ", n.Name, d.direction, d.last.Action))
		if err != nil {
			return Content{}, fmt.Errorf("network %s: %s default: %w", n.Name, d.direction, err)
		}
		l.add(texts...)
		c.Lists = append(c.Lists, l)
		c.Elements = append(c.Elements, Element{Set: d.set, Key: dev, Value: "jump " + l.Name})
	}
	return c, nil
}

// word reports whether name consists of letters, digits and hyphens.
func word(name string, longest int) bool {
	return name != "" && len(name) <= longest && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
