package firewall

import (
	"net/netip"
	"slices"
)

// Sends returns where f sends what begins with a packet of a protocol to a
// port; zero when that is nowhere. A nil Forward sends nothing.
func (f *Forward) Sends(protocol string, port uint16) netip.AddrPort {
	if f == nil {
		return netip.AddrPort{}
	}
	for _, p := range f.Ports {
		if p.Protocol == protocol && p.First <= port && port <= p.Last {
			if p.To == p.ToLast {
				return netip.AddrPortFrom(p.Target, p.To)
			}
			return netip.AddrPortFrom(p.Target, port-p.First+p.To)
		}
	}
	if !f.Target.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(f.Target, port)
}

// Moves reports whether to, the Forward that f becomes, may send elsewhere what
// f sends somewhere. To is nil when f goes.
func (f *Forward) Moves(protocol string, to *Forward) bool {
	if to == nil {
		return true
	}
	ports := func(f *Forward) []Port {
		return slices.DeleteFunc(slices.Clone(f.Ports), func(p Port) bool { return p.Protocol != protocol })
	}
	have, want := ports(f), ports(to)
	if f.Target.IsValid() && (f.Target != to.Target || !slices.Equal(have, want)) {
		return true
	}
	return slices.ContainsFunc(have, func(p Port) bool { return !slices.Contains(want, p) })
}
