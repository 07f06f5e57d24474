package network

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"go4.org/netipx"

	"netctl/bgp"
	"netctl/config"
	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/network/link"
)

// part returns the contribution of n to a member, derived at the first call.
// What is equal in like, the contribution of the network as it was before, is
// taken from there; like may be nil.
func (n *Network) part(member string, like *part) *part {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := n.parts[member]
	if !ok {
		p = derivePart(n.Name, member, n.Config[member])
		p.share(like)
		if n.parts == nil {
			n.parts = map[string]*part{}
		}
		n.parts[member] = p
	}
	return p
}

func derivePart(name, member string, c config.Bridge) *part {
	l := bridgeLink(name, member, c)
	p := &part{links: []*link.Link{l}, network: bridgeFirewall(name, c), service: bridgeService(name, c)}
	object := networkObject(name)
	for _, peer := range slices.Sorted(maps.Keys(c.Peers)) {
		p.peers = append(p.peers, namedPeer{name, peer, *c.Peers[peer]})
	}
	p.slots = append(p.slots,
		interfaceSlot(name, claimant{ofNetwork, object, nameKey, name}),
		macSlot(name, l.MAC, claimant{ofNetwork, object, "bridge.hwaddr", l.MAC}))
	for _, i := range c.External {
		p.slots = append(p.slots, interfaceSlot(i, claimant{ofNetwork, object, "bridge.external_interfaces", i}))
	}
	p.hearers = scope(p.peers)
	for _, f := range []config.Family{c.V4, c.V6} {
		if !f.Address.IsValid() {
			continue
		}
		n := number(f.Address.Addr())
		p.exports = append(p.exports, familyExports(name, n, f, p.hearers)...)
		address := claimant{ofNetwork, object, "ipv" + n + ".address", f.Address.String()}
		p.claims = append(p.claims, &claim{address, f.Address.Masked(), name, subnetClaim, false})
		p.slots = append(p.slots, addressSlot(name, f.Address.Addr(), address))
		for _, r := range f.Routes {
			p.routes = append(p.routes, link.OnLink(r, name, name))
			p.claims = append(p.claims, &claim{claimant{ofNetwork, object, "ipv" + n + ".routes", r.String()}, r, name, routesClaim, false})
		}
	}
	return p
}

// familyExports returns what one family of a bridge exports: its subnet
// without NAT, the translated address with it.
func familyExports(name, n string, f config.Family, scope bgp.PeerSet) []*Export {
	switch {
	case !f.Address.IsValid():
		return nil
	case !f.NAT:
		return []*Export{{
			Path:   bgp.Path{Prefix: f.Address.Masked(), NextHop: f.NextHop, Peers: scope},
			Owners: []Owner{{Network: name, Key: "ipv" + n + ".address"}},
		}}
	case f.NATAddress.IsValid():
		return []*Export{{
			Path:   bgp.Path{Prefix: netip.PrefixFrom(f.NATAddress, f.NATAddress.BitLen()), NextHop: f.NextHop, Peers: scope},
			Owners: []Owner{{Network: name, Key: "ipv" + n + ".nat.address"}},
		}}
	}
	return nil
}

func bridgeLink(name, member string, c config.Bridge) *link.Link {
	l := &link.Link{
		Name: name, Kind: link.Bridge, Owner: name, MTU: c.MTU,
		MAC: cmp.Or(c.HWAddr, stableMAC(member, name)), Ports: c.External,
	}
	for _, f := range []config.Family{c.V4, c.V6} {
		if f.Address.IsValid() {
			l.Addrs = append(l.Addrs, f.Address)
		}
	}
	v4, v6 := "net/ipv4/conf/"+name+"/", "net/ipv6/conf/"+name+"/"
	if c.V4.Address.IsValid() {
		l.Sysctls = append(l.Sysctls, link.Sysctl{Key: v4 + "forwarding", Value: flag(c.V4.Routing)})
	}
	if !c.V6.Address.IsValid() {
		if c.MTU >= minMTU6 {
			l.Sysctls = append(l.Sysctls, link.Sysctl{Key: v6 + "disable_ipv6", Value: "1"})
		}
		return l
	}
	// We are the router here: no address is waited for (a bridge without ports
	// has no carrier, and detection would never end), none is learned.
	l.Sysctls = append(l.Sysctls,
		link.Sysctl{Key: v6 + "accept_dad", Value: "0"},
		link.Sysctl{Key: v6 + "accept_ra", Value: "0"},
		link.Sysctl{Key: v6 + "disable_ipv6", Value: "0"},
		link.Sysctl{Key: v6 + "forwarding", Value: flag(c.V6.Routing)},
	)
	return l
}

// minMTU6 is the smallest MTU of IPv6 (RFC 8200 section 5), in bytes. Below it
// the kernel has no IPv6 on a link, and no setting for it.
const minMTU6 = 1280

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// stableMAC returns a locally administered unicast address that a member's
// bridge has as long as it keeps its name, and that differs between members.
func stableMAC(member, name string) string {
	h := sha256.Sum256([]byte(member + "\x00" + name))
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", h[0]&^0x01|0x02, h[1], h[2], h[3], h[4], h[5])
}

func bridgeFirewall(name string, c config.Bridge) *firewall.Network {
	return &firewall.Network{
		Name: name, DNS: c.DNSMode != "none",
		V4: firewallFamily(c.V4), V6: firewallFamily(c.V6),
		ACLs: c.ACLs, Ingress: aclDefault(c, c.Ingress), Egress: aclDefault(c, c.Egress),
	}
}

func firewallFamily(f config.Family) firewall.Family {
	out := firewall.Family{
		Filter: f.Firewall, Routing: f.Routing, DHCP: f.DHCP,
		NAT: f.NAT, NATAddr: f.NATAddress, After: f.NATOrder == "after",
	}
	if f.Address.IsValid() {
		out.Subnet, out.Routes = f.Address.Masked(), f.Routes
	}
	return out
}

// bridgeService returns what dnsmasq should offer on the bridge, or nil when
// that is nothing.
func bridgeService(name string, c config.Bridge) *dhcp.Service {
	s := &dhcp.Service{
		Network: name, DNSMode: c.DNSMode, Domain: c.Domain, Search: c.Search, MTU: c.MTU, Raw: c.RawDNSMasq,
		V4: serviceFamily(c.V4), V6: serviceFamily(c.V6),
	}
	serves := func(f dhcp.Family) bool { return f.Address.IsValid() && (f.DHCP || c.DNSMode != "none") }
	if !serves(s.V4) && !serves(s.V6) {
		return nil
	}
	return s
}

func serviceFamily(f config.Family) dhcp.Family {
	if !f.Address.IsValid() {
		return dhcp.Family{}
	}
	return dhcp.Family{
		Address: f.Address, DHCP: f.DHCP, Stateful: f.Stateful, Expiry: f.DHCPExpiry,
		Gateway: f.DHCPGateway, NoRouter: !f.Routing, Ranges: leaseRanges(f),
	}
}

// leaseRanges returns what may be leased: the configured ranges or the whole
// subnet, without what ipvN.ovn.ranges reserves. Nil leaves the whole subnet
// to the service.
func leaseRanges(f config.Family) []netipx.IPRange {
	if len(f.OVNRanges) == 0 {
		return f.DHCPRanges
	}
	var b netipx.IPSetBuilder
	for _, r := range f.DHCPRanges {
		b.AddRange(r)
	}
	if len(f.DHCPRanges) == 0 {
		b.AddRange(hosts(f.Address))
	}
	for _, r := range f.OVNRanges {
		b.RemoveRange(r)
	}
	set, err := b.IPSet()
	if err != nil { // ranges are valid: they were decoded
		return f.DHCPRanges
	}
	return set.Ranges()
}

// hosts returns the addresses of a subnet that clients may have.
func hosts(p netip.Prefix) netipx.IPRange {
	r := netipx.RangeOfPrefix(p.Masked())
	if p.Bits() >= p.Addr().BitLen()-1 {
		return r
	}
	first, last := r.From().Next(), r.To()
	if p.Addr().Is4() {
		last = last.Prev()
	}
	return netipx.IPRangeFrom(first, last)
}
