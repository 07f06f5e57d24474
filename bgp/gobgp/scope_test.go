package gobgp

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"netctl/bgp"
)

// export does by hand what GoBGP does with rules: it returns the next hop with
// which a path in class c goes to a peer, if it does.
func export(rules []rule, p netip.Prefix, c *class, to netip.Addr) (netip.Addr, bool) {
	for _, r := range rules {
		if r.peers != nil && !slices.Contains(r.peers, to) {
			continue
		}
		if slices.Contains(r.markers, marker(c.id, bgp.FamilyOf(p))) {
			return r.nextHop, true
		}
	}
	return netip.Addr{}, false
}

// TestScope moves random paths between random sets of peers, and checks for
// each who hears it and with which next hop.
func TestScope(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var peers []audience
		for i := range rapid.IntRange(1, 4).Draw(t, "peers") {
			p := audience{
				addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), inner: netip.AddrFrom4([4]byte{127, 79, 0, byte(i + 2)}),
				nextHop: map[bgp.Family]netip.Addr{},
			}
			if rapid.Bool().Draw(t, "has IPv4") {
				p.nextHop[bgp.IPv4Unicast] = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
			}
			if rapid.Bool().Draw(t, "has IPv6") {
				p.nextHop[bgp.IPv6Unicast] = netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i)})
			}
			peers = append(peers, p)
		}
		s, now := newScope(), map[netip.Prefix]bgp.Path{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			p := bgp.Path{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, rapid.ByteRange(0, 3).Draw(t, "n")}), 32)}
			if rapid.Bool().Draw(t, "v6") {
				p.Prefix = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 15: rapid.ByteRange(0, 3).Draw(t, "n")}), 128)
			}
			if rapid.Bool().Draw(t, "gone") {
				s.set(p.Prefix, nil)
				delete(now, p.Prefix)
				s.prune()
				continue
			}
			var to []netip.Addr
			for _, a := range peers {
				if rapid.Bool().Draw(t, "hears") {
					to = append(to, a.addr)
				}
			}
			p.Peers = bgp.NewPeerSet(to...)
			if rapid.Bool().Draw(t, "own next hop") {
				p.NextHop = p.Prefix.Addr().Next()
			}
			old := now[p.Prefix]
			c := s.class(p)
			leaves := slices.ContainsFunc(old.Peers.Addrs(), func(a netip.Addr) bool { return !p.Peers.Contains(a) })
			if s.moves(p.Prefix, c) != leaves {
				t.Fatalf("%v to %v moves: %t", old, p, !leaves)
			}
			s.set(p.Prefix, c)
			now[p.Prefix] = p
			s.prune()
		}
		rules := s.rules(peers, false)
		for _, r := range s.rules(peers, true)[len(rules):] {
			for _, id := range r.classes {
				i := slices.IndexFunc(s.sorted(), func(c *class) bool { return c.id == id })
				some := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
				if r.family == bgp.IPv6Unicast {
					some = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
				}
				if _, heard := export(rules, some, s.sorted()[i], r.peers[0]); !heard {
					t.Fatalf("%s lets class %d through by itself", r, id)
				}
			}
		}
		for _, a := range peers {
			want := map[bgp.Family]int{}
			for prefix, p := range now {
				nh, heard := export(rules, prefix, s.paths[prefix], a.inner)
				f := bgp.FamilyOf(prefix)
				wantNH := p.NextHop
				if !wantNH.IsValid() {
					wantNH = a.nextHop[f]
				}
				should := p.Peers.Contains(a.addr) && wantNH.IsValid()
				if heard != should || heard && nh != wantNH {
					t.Fatalf("%v to %s: heard %t with next hop %s, want %t with %s", p, a.addr, heard, nh, should, wantNH)
				}
				if p.Peers.Contains(a.addr) {
					want[f]++
				}
			}
			for _, f := range families {
				if got, _ := s.desired(a.addr, f); got != want[f] {
					t.Fatalf("%s should hear %d paths of %s, got %d", a.addr, want[f], f, got)
				}
			}
		}
		used := map[uint32]bool{}
		for _, c := range s.classes {
			if used[c.id] || c.id == 0 || c.id > maxClass {
				t.Fatalf("class number %d", c.id)
			}
			used[c.id] = true
		}
		if len(used) > len(now) {
			t.Fatalf("%d classes for %d paths", len(used), len(now))
		}
	})
}
