package network

import (
	"net/netip"
	"slices"

	"netctl/bgp"
	"netctl/config"
	"netctl/network/firewall"
	"netctl/network/link"
)

// speaker completes h.BGP: who we are and whom we talk to.
func speaker(h *Host, s config.Server, peers []*sharedPeer, o *Observed) {
	for _, p := range peers {
		h.Named = append(h.Named, Named{session(p.Peer, s, o), p.networks})
	}
	h.BGP.RestartTime = s.RestartTime
	if s.BGPASN == 0 || s.BGPAddress.Port() == 0 {
		h.BGP.Paths = nil
		return
	}
	if s.BGPFirewall {
		b := &firewall.BGP{Port: s.BGPAddress.Port()}
		for _, p := range peers {
			b.Peers = append(b.Peers, p.Address)
		}
		h.Firewall.BGP = b
	}
	h.BGP.Listen = listen(s.BGPAddress)
	for _, n := range h.Named {
		h.BGP.Peers = append(h.BGP.Peers, n.Peer)
	}
	h.BGP.RouterID = routerID(s)
	if !h.BGP.RouterID.IsValid() {
		if h.RouterID = candidate(h.BGP.Peers); !h.RouterID.IsValid() && len(peers) > 0 {
			h.Silent = "no router id: set core.bgp_routerid, or give core.bgp_address an IPv4 address"
		}
		return
	}
	h.BGP.ASN = s.BGPASN
}

// listen returns the sockets for core.bgp_address; no address means all of
// them, with one socket for each family.
func listen(a netip.AddrPort) []netip.AddrPort {
	if a.Addr().IsValid() {
		return []netip.AddrPort{a}
	}
	return []netip.AddrPort{
		netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port()),
		netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port()),
	}
}

// routerID returns the configured router id, else the IPv4 address that we
// listen on, else the one that was chosen before.
func routerID(s config.Server) netip.Addr {
	if s.BGPRouterID.IsValid() {
		return s.BGPRouterID
	}
	if a := s.BGPAddress.Addr(); a.Is4() && !a.IsUnspecified() {
		return a
	}
	return s.ChosenRouterID
}

// candidate returns the IPv4 address of this host toward its first peer that
// has one.
func candidate(peers []bgp.Peer) netip.Addr {
	for _, p := range peers {
		if p.NextHop4.IsValid() {
			return p.NextHop4
		}
	}
	return netip.Addr{}
}

// session completes a peer with our end of the session.
func session(p config.Peer, s config.Server, o *Observed) bgp.Peer {
	out := bgp.Peer{
		Addr: p.Address, Port: p.Port, ASN: p.ASN, Password: bgp.Secret(p.Password), HoldTime: p.HoldTime,
		Multihop: p.Multihop, TTLSecurity: p.TTLSecurity, Passive: p.Passive, LocalAddr: p.LocalAddr,
	}
	if a := s.BGPAddress.Addr(); !out.LocalAddr.IsValid() && a.IsValid() && !a.IsUnspecified() && a.Is4() == p.Address.Is4() {
		out.LocalAddr = a
	}
	if o == nil {
		return out
	}
	t, ok := o.Toward[p.Address]
	if !ok {
		return out
	}
	if t.Via.IsValid() && out.Multihop == 0 && out.TTLSecurity == 0 {
		out.Multihop = 255
	}
	out.Source = source(t, p.Address, o.addrs(t.Dev))
	local := out.LocalAddr
	if !local.IsValid() {
		local = out.Source
	}
	out.NextHop4, out.NextHop6 = nextHop(local, true, t.Dev, o), nextHop(local, false, t.Dev, o)
	return out
}

// source returns the address that we talk to a peer from: what the routing
// table prefers, unless that is an address that comes and goes and the
// interface has a lasting one for the same subnet.
func source(t link.Toward, peer netip.Addr, dev []link.Addr) netip.Addr {
	lasting := func(a link.Addr) bool { return !a.Dynamic && !a.Temporary && !a.Unusable }
	for _, a := range dev {
		if a.Addr() == t.Src && lasting(a) {
			return t.Src
		}
	}
	for _, a := range dev {
		if lasting(a) && a.Contains(peer) {
			return a.Addr()
		}
	}
	return t.Src
}

// nextHop returns this host's own address of a family on a session whose end
// is local: local itself, else the first lasting global address of that family
// on the interface that owns local; zero when there is none.
func nextHop(local netip.Addr, v4 bool, dev string, o *Observed) netip.Addr {
	if local.IsValid() && local.Is4() == v4 {
		return local
	}
	var dynamic netip.Addr
	for _, a := range owner(local, dev, o) {
		ip := a.Addr()
		if ip.Is4() != v4 || !ip.IsGlobalUnicast() || a.Unusable || a.Temporary {
			continue
		}
		if !a.Dynamic {
			return ip
		}
		if !dynamic.IsValid() {
			dynamic = ip
		}
	}
	return dynamic
}

// owner returns the addresses of the interface that has an address: dev when
// it does, else the first by name, else dev again.
func owner(a netip.Addr, dev string, o *Observed) []link.Addr {
	has := func(l []link.Addr) bool {
		return slices.ContainsFunc(l, func(x link.Addr) bool { return x.Addr() == a })
	}
	if has(o.addrs(dev)) {
		return o.addrs(dev)
	}
	best := ""
	for name, l := range o.Links {
		if has(l.Addrs) && (best == "" || name < best) {
			best = name
		}
	}
	if best == "" {
		best = dev
	}
	return o.addrs(best)
}

// addrs returns the addresses of an interface; none when there is no such.
func (o *Observed) addrs(dev string) []link.Addr {
	if l := o.Links[dev]; l != nil {
		return l.Addrs
	}
	return nil
}
