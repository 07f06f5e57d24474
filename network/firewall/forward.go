package firewall

import "net/netip"

// A Forward sends what arrives for an address, of whatever host, to others. The
// source stays, but for what comes from Subnet itself and goes back there,
// whose answers would miss the host.
type Forward struct {
	Listen netip.Addr
	Target netip.Addr   // of what no port takes; zero drops that
	Ports  []Port       // sorted by Protocol and First, not overlapping
	Subnet netip.Prefix // of the network, masked
}

// A Port is a range of ports of a Forward.
type Port struct {
	Protocol    string // tcp or udp
	First, Last uint16
	Target      netip.Addr
	To, ToLast  uint16 // First goes to To, and so on; all go to To when ToLast is the same
}
