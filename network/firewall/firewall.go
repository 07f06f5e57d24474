// Package firewall describes netctl's part of the packet filter: the nftables
// tables named netctl, as values and as text.
//
// The tables are ours alone; others are never touched. Most of their chains,
// rules and set declarations are the same whatever is wanted ([Layouts]); what
// is wanted is a [Config], of which each network, NIC and forward becomes
// elements of the sets. Only what users write in ACLs becomes rules, in chains
// of their own ([List]).
package firewall

import "net/netip"

// Table is the name of our nftables tables, one in each family.
const Table = "netctl"

// A Config is what the packet filter should do.
type Config struct {
	Networks []*Network // sorted by Name; shared, never modified
	NICs     []*NIC     // sorted by Owner; shared, never modified
	Forwards []*Forward // sorted by Listen; shared, never modified
	ACLs     []*ACL     // sorted by Name; shared, never modified
	BGP      *BGP       // nil leaves the port of the speaker open to all
}

// A BGP keeps strangers away from the speaker's port: TCP connections to Port
// are accepted from Peers only.
type BGP struct {
	Port  uint16
	Peers []netip.Addr // sorted
}

// A Network is one bridge network.
type Network struct {
	Name   string // also the name of the bridge
	V4, V6 Family
	DNS    bool // clients may ask the bridge for DNS (TCP and UDP 53)

	ACLs            []string // names of Config.ACLs, in the order of the network; empty for none
	Ingress, Egress Default  // of what no rule of ACLs matches, when there are some
}

// A Family is how one address family of a network is treated.
type Family struct {
	Subnet  netip.Prefix   // masked; zero when the network has no address of this family
	Routes  []netip.Prefix // further prefixes behind the bridge; sorted
	Filter  bool           // ipvN.firewall: accept what the network needs (DHCP, DNS, ICMP, forwarding)
	Routing bool           // ipvN.routing: forward; false drops what would be forwarded
	DHCP    bool           // clients may reach our DHCP server (and router advertisements, for IPv6)
	NAT     bool           // translate the source of what leaves Subnet for elsewhere
	NATAddr netip.Addr     // translate to this address; zero masquerades
	After   bool           // ipvN.nat.order=after: after the rules of other tables
}
