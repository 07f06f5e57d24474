package firewall

import (
	"go4.org/netipx"
)

// An ACL is a list of rules for the traffic of networks that name it.
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

// Content implements Part.
func (a *ACL) Content() (Content, error) { return Content{}, nil }
