package firewall

import "net/netip"

// A NIC is the NIC of an instance, seen from the host.
type NIC struct {
	Owner   string // as of its link
	Dev     string // the interface of the host
	Network string // the bridge
	MAC     string // of the instance; lower case, with colons

	FilterMAC bool // frames from Dev have MAC as their source, also in ARP
	V4, V6    NICFamily

	Priority uint32 // of what comes from Dev; 0 leaves it
}

// A NICFamily is how one address family of a NIC is treated.
type NICFamily struct {
	Filter bool           // packets from Dev have a source of Allowed, and are none that only servers and routers send
	Static netip.Addr     // the address of the NIC; zero for none
	Behind []netip.Prefix // prefixes that are routed to it; masked, sorted
	Subnet netip.Prefix   // of the network; masked; zero when it has no address of this family
	NAT    bool           // the network translates what leaves Subnet, but not for Behind
}

// Content implements Part.
func (n *NIC) Content() (Content, error) { return Content{}, nil }
