// Package dhcp describes the DHCP, DNS and router-advertisement service of a
// bridge as values: what dnsmasq is told, and the leases that it writes.
package dhcp

import (
	"net/netip"
	"time"

	"go4.org/netipx"
)

// A Service is what one bridge offers to its clients.
type Service struct {
	Network string // also the name of the bridge
	V4, V6  Family
	DNSMode string // managed, dynamic or none (no DNS at all)
	Domain  string
	Search  []string
	MTU     int    // announced to clients when it is not 1500; bytes
	Raw     string // raw.dnsmasq, appended as it is
	Hosts   []Host // sorted by MAC
}

// A Family is what is offered for one address family.
type Family struct {
	Address  netip.Prefix     // of the bridge; zero for a family that is off
	DHCP     bool             // for IPv6: stateless DHCPv6 unless Stateful; there are router advertisements without it too
	Stateful bool             // IPv6 only: addresses by DHCPv6
	Ranges   []netipx.IPRange // sorted, not overlapping; what to lease from
	Expiry   time.Duration    // 0 for infinite
	Gateway  netip.Addr       // IPv4 only: the router option; zero for the bridge's own
	NoRouter bool             // offer no default route: ipvN.routing is false
}

// A Lease is one lease as dnsmasq recorded it.
type Lease struct {
	Expires  time.Time // zero for never
	MAC      string    // lower case with colons; empty when unknown (DHCPv6 with an opaque DUID)
	Addr     netip.Addr
	Hostname string // empty when the client gave none
	ClientID string // the client id or DUID, hexadecimal with colons
	IAID     uint32 // IPv6 only: of the association that the client has the address in (RFC 8415, section 4.2); 0 for a temporary address
}
