package bgp

import (
	"fmt"
	"net/netip"
)

// NextHop returns what paths of family f without a next hop of their own get
// toward p. Extended tells whether the session negotiated IPv6 next hops for
// IPv4 (RFC 8950 section 4). When there is none it says why, and such paths
// are not sent to p.
func (p Peer) NextHop(f Family, extended bool) (nextHop netip.Addr, held string) {
	switch {
	case f == IPv6Unicast && p.NextHop6.IsValid():
		return p.NextHop6, ""
	case f == IPv6Unicast:
		return netip.Addr{}, fmt.Sprintf("this host has no IPv6 address toward %s; give it one, or set bgp.ipv6.nexthop", p.Addr)
	case p.NextHop4.IsValid():
		return p.NextHop4, ""
	case p.NextHop6.IsValid() && extended:
		return p.NextHop6, ""
	case p.NextHop6.IsValid():
		return netip.Addr{}, fmt.Sprintf("this host has no IPv4 address toward %s, and the peer does not take IPv6 next hops for IPv4 (RFC 8950); give it one, or set bgp.ipv4.nexthop", p.Addr)
	default:
		return netip.Addr{}, fmt.Sprintf("this host has no IPv4 address toward %s; give it one, or set bgp.ipv4.nexthop", p.Addr)
	}
}
