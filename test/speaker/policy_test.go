package speaker_test

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"netctl/bgp"
	"netctl/test/lab"
)

// waitNextHops waits until a router has prefixes with exactly these next
// hops, in its BGP table and in its kernel.
func (w *world) waitNextHops(r *router, want map[netip.Prefix]netip.Addr) {
	w.Helper()
	w.Eventually(20*time.Second, "next hops at "+r.NS().Name, func() error {
		table, err := r.Table()
		if err != nil {
			return err
		}
		kernel, err := r.NS().Routes(r.Protocol())
		if err != nil {
			return err
		}
		if len(table) != len(want) || len(kernel) != len(want) {
			return fmt.Errorf("%d paths and %d routes: %v", len(table), len(kernel), table)
		}
		for p, nh := range want {
			if table[p].NextHop != nh || kernel[p].Gateway != nh {
				return fmt.Errorf("%s: next hop %s, gateway %s, want %s", p, table[p].NextHop, kernel[p].Gateway, nh)
			}
		}
		return nil
	})
}

// TestNextHops gives every router its own next hops, of both families over
// either session, and changes them: no route may go, not for a moment.
func TestNextHops(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		w := newWorld(t, engine, []kind{frr4, bird6, frr6, bird4}, nil)
		w.startRouters()
		own4, own6 := netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:ff::/48")
		w.config.Paths = w.paths(0, 1)
		w.config.Paths = append(w.config.Paths,
			&bgp.Path{Prefix: own4, NextHop: netip.MustParseAddr("10.0.1.77"), Peers: bgp.NewPeerSet(w.routers[0].addr)},
			&bgp.Path{Prefix: own6, NextHop: netip.MustParseAddr("fd00:2::77"), Peers: bgp.NewPeerSet(w.routers[1].addr)})
		slices.SortFunc(w.config.Paths, func(a, b *bgp.Path) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
		w.start()
		check := func() {
			t.Helper()
			for i, r := range w.routers {
				want := map[netip.Prefix]netip.Addr{prefix4(0): r.nh[bgp.IPv4Unicast], prefix6(0): r.nh[bgp.IPv6Unicast]}
				switch i {
				case 0:
					want[own4] = netip.MustParseAddr("10.0.1.77")
				case 1:
					want[own6] = netip.MustParseAddr("fd00:2::77")
				}
				w.waitNextHops(r, want)
				for _, a := range w.agent.must(request{Method: "advertised", Peer: r.addr}).Advertised {
					if a.NextHop != want[a.Prefix] || !slices.Equal(a.ASPath, []uint32{hostASN}) {
						t.Errorf("advertised to %s: %+v", r.NS().Name, a)
					}
				}
			}
		}
		check()

		// The address toward the first router changes; the session stays.
		since := time.Now()
		w.host.Addr("eth1", "10.0.1.5/24", "fd00:1::5/64")
		r := w.routers[0]
		r.nh = map[bgp.Family]netip.Addr{bgp.IPv4Unicast: netip.MustParseAddr("10.0.1.5"), bgp.IPv6Unicast: netip.MustParseAddr("fd00:1::5")}
		for i := range w.config.Peers {
			if w.config.Peers[i].Addr == r.addr {
				w.config.Peers[i].NextHop4, w.config.Peers[i].NextHop6 = r.nh[bgp.IPv4Unicast], r.nh[bgp.IPv6Unicast]
			}
		}
		w.agent.apply(w.config)
		check()
		for _, r := range w.routers {
			w.mustNotLose("next hop", r, since)
			if changes := r.mon.Changes(since, nil); r != w.routers[0] && len(changes) > 0 {
				t.Errorf("%s heard of it: %v", r.NS().Name, changes)
			}
			if s := w.agent.session(r.addr); s.Flaps != 0 {
				t.Errorf("%s: %d flaps", r.NS().Name, s.Flaps)
			}
		}

		// The IPv6 address goes: what needs it goes too, the rest stays.
		since = time.Now()
		for i := range w.config.Peers {
			if w.config.Peers[i].Addr == r.addr {
				w.config.Peers[i].NextHop6 = netip.Addr{}
			}
		}
		w.agent.apply(w.config)
		w.waitNextHops(r, map[netip.Prefix]netip.Addr{prefix4(0): r.nh[bgp.IPv4Unicast], own4: netip.MustParseAddr("10.0.1.77")})
		if lost := r.mon.Deletes(since, func(p netip.Prefix) bool { return p.Addr().Is4() }); len(lost) > 0 {
			t.Errorf("lost %v", lost)
		}
		w.Eventually(5*time.Second, "held", func() error {
			f := w.agent.session(r.addr).Families[1]
			if f.Held != "this host has no IPv6 address toward 10.0.1.2; give it one, or set bgp.ipv6.nexthop" || f.Advertised != 0 || f.Desired != 1 {
				return fmt.Errorf("%+v", f)
			}
			return nil
		})
	}
}

// TestExtendedNextHop sends IPv4 over sessions where this host has no IPv4
// address (RFC 8950): to a router that takes it, and not to the others.
func TestExtendedNextHop(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		takes := map[int]bool{0: true, 2: true}
		w := newWorld(t, engine, []kind{frr6, frr6, bird6, bird6}, func(i int, p *lab.RouterPeer, _ *lab.RouterConfig) { p.ExtendedNextHop = takes[i] })
		for i := range w.config.Peers {
			w.config.Peers[i].NextHop4 = netip.Addr{}
		}
		w.startRouters()
		w.config.Paths = w.paths(0, 2)
		w.start()
		for round := range 2 {
			for i, r := range w.routers {
				nh := r.nh[bgp.IPv6Unicast]
				want := map[netip.Prefix]netip.Addr{prefix6(0): nh, prefix6(1): nh}
				held := "this host has no IPv4 address toward " + r.addr.String() + ", and the peer does not take IPv6 next hops for IPv4 (RFC 8950); give it one, or set bgp.ipv4.nexthop"
				if takes[i] {
					want[prefix4(0)], want[prefix4(1)], held = nh, nh, ""
				}
				if kind := r.Protocol(); kind == "bgp" && takes[i] {
					// FRR installs the link-local address that it knows as well.
					w.Eventually(20*time.Second, "RFC 8950 at "+r.NS().Name, func() error {
						table, err := r.Table()
						if err == nil && (len(table) != 4 || table[prefix4(0)].NextHop != nh) {
							err = fmt.Errorf("%v", table)
						}
						return err
					})
				} else {
					w.waitNextHops(r, want)
				}
				w.Eventually(5*time.Second, "status", func() error {
					if f := w.agent.session(r.addr).Families[0]; f.Held != held || f.Advertised != len(want)-2 || f.Desired != 2 {
						return fmt.Errorf("%+v", f)
					}
					return nil
				})
			}
			if round == 0 {
				// A restart must know in time for the first table.
				since := time.Now()
				w.agent.kill(syscall.SIGKILL)
				w.start()
				for _, r := range w.routers {
					w.Eventually(20*time.Second, "session", func() error {
						if s := w.agent.session(r.addr); s.State != bgp.Established {
							return fmt.Errorf("%s", s.State)
						}
						return nil
					})
				}
				for _, r := range w.routers {
					w.mustNotLose("restart", r, since)
				}
			}
		}
	}
}

// TestScope moves paths between routers. Nobody hears what is not meant for
// it, and nobody hears of changes that do not concern it.
func TestScope(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		w := newWorld(t, engine, []kind{frr4, bird6, bird4}, nil)
		w.startRouters()
		a, b, c := w.routers[0], w.routers[1], w.routers[2]
		set := func(paths ...*bgp.Path) {
			slices.SortFunc(paths, func(a, b *bgp.Path) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
			w.config.Paths = paths
		}
		to := func(p netip.Prefix, rs ...*router) *bgp.Path {
			var addrs []netip.Addr
			for _, r := range rs {
				addrs = append(addrs, r.addr)
			}
			return &bgp.Path{Prefix: p, Peers: bgp.NewPeerSet(addrs...)}
		}
		set(to(prefix4(0), a), to(prefix6(0), a), to(prefix4(1), b), to(prefix4(2), a, b, c), to(prefix6(3)))
		w.start()
		for _, r := range w.routers {
			w.waitSession(r)
		}
		w.waitExact("start", 20*time.Second)
		for _, step := range []struct {
			name  string
			paths []*bgp.Path
			quiet []*router // must hear nothing at all
		}{
			{"from one to another", []*bgp.Path{to(prefix4(0), b), to(prefix6(0), b), to(prefix4(1), b), to(prefix4(2), a, b, c), to(prefix6(3))}, []*router{c}},
			{"to nobody and somebody", []*bgp.Path{to(prefix4(0)), to(prefix6(0), b), to(prefix4(1), b), to(prefix4(2), a, b, c), to(prefix6(3), c)}, []*router{a}},
			{"gone", []*bgp.Path{to(prefix6(0), b), to(prefix4(2), a, b, c)}, []*router{a}},
		} {
			since := time.Now()
			before := map[*router]uint64{}
			for _, r := range w.routers {
				before[r] = w.agent.session(r.addr).UpdatesSent
			}
			set(step.paths...)
			w.agent.apply(w.config)
			w.agent.must(request{Method: "flush", Wait: 5 * time.Second})
			w.waitExact(step.name, 10*time.Second)
			for _, r := range w.routers {
				w.mustNotLose(step.name, r, since)
			}
			for _, r := range step.quiet {
				if changes := r.mon.Changes(since, nil); len(changes) > 0 {
					t.Errorf("%s: %s heard of it: %v", step.name, r.NS().Name, changes)
				}
				if n := w.agent.session(r.addr).UpdatesSent - before[r]; n > 0 {
					t.Errorf("%s: %s was sent %d updates", step.name, r.NS().Name, n)
				}
			}
		}
	}
}

// TestReceived lets routers announce a lot, our own paths included. None of it
// is used or passed on.
func TestReceived(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		const n = 50000
		w := newWorld(t, engine, []kind{bird4, bird6, frr4}, func(i int, p *lab.RouterPeer, c *lab.RouterConfig) {
			if i != 0 {
				return
			}
			p.Announce = true
			raw := make([]byte, 0, 4<<20)
			raw = append(raw, "protocol static s4 { ipv4;\n"...)
			for j := range n {
				raw = fmt.Appendf(raw, "route 11.%d.%d.0/24 blackhole;\n", j>>8, j&255)
			}
			c.Raw = string(append(raw, '}'))
		})
		w.startRouters()
		w.config.Paths = w.paths(0, 10)
		w.start()
		for _, r := range w.routers {
			w.settled(r)
		}
		w.Eventually(20*time.Second, "received", func() error {
			if got := w.agent.session(w.routers[0].addr).Families[0].Received; got < n {
				return fmt.Errorf("%d of %d", got, n)
			}
			return nil
		})
		for _, r := range w.routers {
			if s := w.agent.session(r.addr); s.Flaps != 0 {
				t.Errorf("%+v", s)
			}
		}
		w.waitExact("received", time.Second)
		if own, err := w.host.Routes("bird"); err != nil || len(own) > 0 {
			t.Errorf("%d routes in our kernel, %v", len(own), err)
		}
	}
}

// TestOneFamily peers with routers that carry one family only, or know nothing
// of capabilities.
func TestOneFamily(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		w := newWorld(t, engine, []kind{bird4, frr6, frr4}, func(i int, p *lab.RouterPeer, _ *lab.RouterConfig) {
			p.NoIPv6 = i != 1
			p.NoIPv4 = i == 1
			if i == 2 {
				p.Raw = " neighbor " + p.Addr.String() + " dont-capability-negotiate"
			}
		})
		w.startRouters()
		w.config.Paths = w.paths(0, 20)
		w.start()
		for i, r := range w.routers {
			within, f := all4, 0
			if i == 1 {
				within, f = all6, 1
			}
			lab.WaitKernel(r, 20, 20*time.Second, within)
			s := w.agent.session(r.addr)
			if got := s.Families[f]; !got.Negotiated || got.Advertised != 20 || got.Held != "" {
				t.Errorf("%s: %+v", r.NS().Name, got)
			}
			other := s.Families[1-f]
			if want := fmt.Sprintf("the peer does not have %s switched on for this session", other.Family); other.Negotiated || other.Advertised != 0 || other.Held != want {
				t.Errorf("%s: %+v", r.NS().Name, other)
			}
			for _, a := range w.agent.must(request{Method: "advertised", Peer: r.addr}).Advertised {
				if !slices.Equal(a.ASPath, []uint32{hostASN}) {
					t.Errorf("%s: AS path %v", r.NS().Name, a.ASPath)
				}
			}
			w.agent.must(request{Method: "flush", Wait: 5 * time.Second})
			if s := w.agent.session(r.addr); s.Flaps != 0 {
				t.Errorf("%s: %+v", r.NS().Name, s)
			}
		}
	}
}
