package config

import (
	"maps"
	"net/netip"
	"slices"

	"go4.org/netipx"
)

// bridgeRules are the conditions that involve more than one key of a bridge.
// Values that did not parse are zero here, and the rules are silent about
// them.
var bridgeRules = []rule[Bridge]{
	{"A peer needs `address` and `asn`.", forPeers(checkPeerComplete)},
	{"The port of a peer is given once, with `address` or as `port`.", forPeers(checkPeerPort)},
	{"`local_address` is of the family of the peer's `address`.", forPeers(checkPeerFamily)},
	{"`multihop` and `ttl_security` exclude each other.", forPeers(checkPeerTTL)},
	{"No two peers of a network have the same address.", checkPeerUnique},
	{"`bridge.mtu` is at least 1280 with IPv6.", checkMTU},
	{"Clients choose addresses in an IPv6 subnet of length 64 only, and DHCPv6 gives them in one of length 64 or more; any other needs `ipv6.dhcp=false`.", checkLength},
	{"DHCP ranges and the gateway are inside the subnet.", forFamilies(checkDHCP)},
	{"OVN ranges are inside the subnet, and overlap neither the address of the bridge nor the DHCP ranges, which must be set when DHCP gives addresses.", forFamilies(checkOVN)},
	{"Routes lead to prefixes outside the subnet.", forFamilies(checkRoutes)},
	{"", defaultSearch},
}

// forPeers applies a rule to each peer, with the prefix of its keys.
func forPeers(fn func(c *check[Bridge], prefix string, p *Peer)) func(*check[Bridge]) {
	return func(c *check[Bridge]) {
		for _, name := range slices.Sorted(maps.Keys(c.value.Peers)) {
			fn(c, "bgp.peers."+name+".", c.value.Peers[name])
		}
	}
}

// forFamilies applies a rule to each address family, with the prefix of its
// keys.
func forFamilies(fn func(c *check[Bridge], prefix string, f *Family)) func(*check[Bridge]) {
	return func(c *check[Bridge]) {
		fn(c, "ipv4.", &c.value.V4)
		fn(c, "ipv6.", &c.value.V6)
	}
}

func checkPeerComplete(c *check[Bridge], prefix string, _ *Peer) {
	for _, key := range []string{"address", "asn"} {
		if c.raw[prefix+key] == "" {
			c.fail(prefix+key, "missing; a peer needs an address and an AS number")
		}
	}
}

func checkPeerPort(c *check[Bridge], prefix string, p *Peer) {
	a, err := peerAddress.Parse(c.raw[prefix+"address"])
	if err == nil && a.Port() != 0 && a.Port() != p.Port {
		c.fail(prefix+"port", "the address has another port, %d", a.Port())
	}
}

func checkPeerFamily(c *check[Bridge], prefix string, p *Peer) {
	if p.Address.IsValid() && p.LocalAddr.IsValid() && p.Address.Is4() != p.LocalAddr.Is4() {
		c.fail(prefix+"local_address", "not an %s address as the peer's %s is", familyName(familyOf(p.Address)), p.Address)
	}
}

func checkPeerTTL(c *check[Bridge], prefix string, p *Peer) {
	if p.Multihop != 0 && p.TTLSecurity != 0 {
		c.fail(prefix+"ttl_security", "cannot be used together with %smultihop", prefix)
	}
}

func checkPeerUnique(c *check[Bridge]) {
	first := map[netip.Addr]string{}
	forPeers(func(c *check[Bridge], prefix string, p *Peer) {
		switch other, taken := first[p.Address]; {
		case !p.Address.IsValid():
		case taken:
			c.fail(prefix+"address", "%saddress has the same address", other)
		default:
			first[p.Address] = prefix
		}
	})(c)
}

func checkMTU(c *check[Bridge]) {
	if (c.value.V6.Address.IsValid() || c.raw["ipv6.address"] == Auto) && c.value.MTU < 1280 {
		c.fail("bridge.mtu", "IPv6 needs at least 1280 (RFC 8200 section 5); with ipv6.address=none it can be smaller")
	}
}

// checkLength refuses subnets in which IPv6 hosts would get no address: they
// form their own from 64 bits of prefix (RFC 4291 section 2.5.1), and dnsmasq
// serves nothing larger over DHCPv6.
func checkLength(c *check[Bridge]) {
	f := &c.value.V6
	switch bits := f.Address.Bits(); {
	case !f.Address.IsValid() || !f.DHCP || bits == 64:
	case bits < 64:
		c.fail("ipv6.address", "clients get addresses only in a subnet of length 64, or of more with ipv6.dhcp.stateful=true; this one needs ipv6.dhcp=false")
	case !f.Stateful:
		c.fail("ipv6.address", "clients choose addresses only in a subnet of length 64; this one needs ipv6.dhcp.stateful=true or ipv6.dhcp=false")
	}
}

func checkDHCP(c *check[Bridge], prefix string, f *Family) {
	if len(f.DHCPRanges) > 0 {
		checkInside(c, prefix, "dhcp.ranges", f, f.DHCPRanges...)
	}
	if g := f.DHCPGateway; g.IsValid() {
		checkInside(c, prefix, "dhcp.gateway", f, netipx.IPRangeFrom(g, g))
	}
}

func checkOVN(c *check[Bridge], prefix string, f *Family) {
	if len(f.OVNRanges) == 0 {
		return
	}
	key := prefix + "ovn.ranges"
	checkInside(c, prefix, "ovn.ranges", f, f.OVNRanges...)
	leases := f.DHCP && (prefix == "ipv4." || f.Stateful)
	if leases && c.raw[prefix+"dhcp.ranges"] == "" && c.raw[prefix+"address"] != None {
		c.fail(key, "needs %sdhcp.ranges, so that DHCP does not give these addresses away", prefix)
	}
	for _, r := range f.OVNRanges {
		if r.Contains(f.Address.Addr()) {
			c.fail(key, "%s is the address of the bridge", f.Address.Addr())
		}
		for _, d := range f.DHCPRanges {
			if r.Overlaps(d) {
				c.fail(key, "%s overlaps %s of %sdhcp.ranges", show(r), show(d), prefix)
			}
		}
	}
}

// checkInside checks that ranges consist of addresses that hosts in the subnet
// of the bridge can have.
func checkInside(c *check[Bridge], prefix, key string, f *Family, ranges ...netipx.IPRange) {
	if c.raw[prefix+"address"] == Auto {
		c.fail(prefix+key, "needs a fixed %saddress instead of auto", prefix)
	}
	if !f.Address.IsValid() {
		return
	}
	for _, r := range ranges {
		if !f.Address.Contains(r.From()) || !f.Address.Contains(r.To()) {
			c.fail(prefix+key, "%s is not inside the subnet %s", show(r), f.Address.Masked())
			continue
		}
		for _, a := range []netip.Addr{r.From(), r.To()} {
			if err := checkHostPart(a, f.Address); err != nil {
				c.fail(prefix+key, "%w", err)
			}
		}
	}
}

// show writes a range of one address as that address.
func show(r netipx.IPRange) string {
	if r.From() == r.To() {
		return r.From().String()
	}
	return r.String()
}

func checkRoutes(c *check[Bridge], prefix string, f *Family) {
	for _, r := range f.Routes {
		if f.Address.IsValid() && f.Address.Bits() <= r.Bits() && f.Address.Contains(r.Addr()) {
			c.fail(prefix+"routes", "%s is inside the subnet %s, which leads to the bridge already", r, f.Address.Masked())
		}
	}
}

// defaultSearch lets clients search their own domain.
func defaultSearch(c *check[Bridge]) {
	if b := &c.value; b.Search == nil && b.DNSMode != "none" {
		b.Search = []string{b.Domain}
	}
}
