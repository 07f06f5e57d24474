package dhcp

import "net/netip"

// A Host is a client that the service knows: it always gets the same addresses
// and the same name.
type Host struct {
	MAC    string     // lower case with colons
	Name   string     // of the instance, resolvable in the domain of the service unless DNSMode is none; empty for none
	V4, V6 netip.Addr // zero for one from the ranges
}
