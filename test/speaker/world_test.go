package speaker_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"netctl/bgp"
	"netctl/test/lab"
)

// A kind says what router is at the other end of a session, and how.
type kind struct {
	name   string
	router string // frr or bird
	v6     bool   // the session runs over IPv6
}

var (
	frr4  = kind{"frr4", "frr", false}
	frr6  = kind{"frr6", "frr", true}
	bird4 = kind{"bird4", "bird", false}
	bird6 = kind{"bird6", "bird", true}
)

// A world is a host with a speaker, and routers around it, each on a link of
// its own.
type world struct {
	*lab.Lab
	t       testing.TB
	engine  string
	host    *lab.NS
	routers []*router
	config  bgp.Config
	agent   *agent
	fresh   int // paths made by replace
}

// A router is a peer of the speaker.
type router struct {
	lab.Router
	mon   *lab.Monitor
	addr  netip.Addr // its end of the session
	local netip.Addr // our end of the session
	nh    map[bgp.Family]netip.Addr
}

const (
	hostASN   = 65000
	routerASN = 65001
)

// newWorld makes a host and routers. Change may alter the configuration of a
// router before it starts.
func newWorld(tb testing.TB, engine string, kinds []kind, change func(i int, p *lab.RouterPeer, c *lab.RouterConfig)) *world {
	tb.Helper()
	l := lab.New(tb)
	w := &world{Lab: l, t: tb, engine: engine, host: l.NS("host")}
	w.config = bgp.Config{
		ASN: hostASN, RouterID: netip.MustParseAddr("10.0.0.1"), RestartTime: 120 * time.Second,
		Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:179"), netip.MustParseAddrPort("[::]:179")},
	}
	for i, k := range kinds {
		w.add(i, k, change)
	}
	slices.SortFunc(w.config.Peers, func(a, b bgp.Peer) int { return a.Addr.Compare(b.Addr) })
	return w
}

func (w *world) add(i int, k kind, change func(int, *lab.RouterPeer, *lab.RouterConfig)) {
	w.Helper()
	n := i + 1
	ns := w.NS(fmt.Sprintf("r%d%s", n, k.name))
	dev := fmt.Sprintf("eth%d", n)
	w.Link(w.host, dev, ns, "eth0")
	v4 := func(h byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(n), h}) }
	v6 := func(h byte) netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfd, 3: byte(n), 15: h}) }
	w.host.Addr(dev, v4(1).String()+"/24", v6(1).String()+"/64")
	ns.Addr("eth0", v4(2).String()+"/24", v6(2).String()+"/64")
	r := &router{addr: v4(2), local: v4(1), nh: map[bgp.Family]netip.Addr{bgp.IPv4Unicast: v4(1), bgp.IPv6Unicast: v6(1)}}
	if k.v6 {
		r.addr, r.local = v6(2), v6(1)
	}
	cfg := lab.RouterConfig{ASN: routerASN, ID: v4(2), Peers: []lab.RouterPeer{{Addr: r.local, ASN: hostASN}}}
	if change != nil {
		change(i, &cfg.Peers[0], &cfg)
	}
	if k.router == "frr" {
		r.Router = lab.NewFRR(ns, cfg)
	} else {
		r.Router = lab.NewBIRD(ns, cfg)
	}
	r.mon = lab.MonitorRouter(r)
	w.routers = append(w.routers, r)
	w.config.Peers = append(w.config.Peers, bgp.Peer{
		Addr: r.addr, Port: 179, ASN: routerASN, HoldTime: 90 * time.Second, Source: r.local,
		NextHop4: v4(1), NextHop6: v6(1),
	})
}

// everybody is the set of all peers.
func (w *world) everybody() bgp.PeerSet {
	var addrs []netip.Addr
	for _, p := range w.config.Peers {
		addrs = append(addrs, p.Addr)
	}
	return bgp.NewPeerSet(addrs...)
}

// Synthetic prefixes: 100.64.0.0/10 and 2001:db8::/32 in pieces.
func prefix4(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64 | byte(i>>14), byte(i >> 6), byte(i << 2)}), 30)
}

func prefix6(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 6: byte(i >> 8), 7: byte(i)}), 64)
}

var all4, all6 = netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("2001:db8::/32")

// paths returns n IPv4 and n IPv6 paths, starting with number from, for all
// peers.
func (w *world) paths(from, n int) []*bgp.Path {
	to := w.everybody()
	var list []*bgp.Path
	for i := from; i < from+n; i++ {
		list = append(list, &bgp.Path{Prefix: prefix4(i), Peers: to})
	}
	for i := from; i < from+n; i++ {
		list = append(list, &bgp.Path{Prefix: prefix6(i), Peers: to})
	}
	return list
}

// start runs a speaker with the configuration.
func (w *world) start() {
	w.Helper()
	w.agent = startAgent(w.t, w.host, w.engine)
	w.agent.apply(w.config)
}

// startRouters starts all routers.
func (w *world) startRouters() {
	w.Helper()
	for _, r := range w.routers {
		r.Start()
	}
}

// mustNotLose fails the test when a path that is still announced has left the
// BGP table of a router since a time, or its route the kernel.
func (w *world) mustNotLose(what string, r *router, since time.Time) {
	w.Helper()
	still := map[netip.Prefix]bool{}
	for _, p := range w.config.Paths {
		still[p.Prefix] = p.Peers.Contains(r.addr)
	}
	keep := func(p netip.Prefix) bool { return still[p] }
	if lost := r.mon.Deletes(since, keep); len(lost) > 0 {
		w.t.Errorf("%s: %s lost %d routes, from %s to %s", what, r.NS().Name, len(lost), lost[0], lost[len(lost)-1])
	}
	if lost := r.mon.Withdrawn(since, keep); len(lost) > 0 {
		w.t.Errorf("%s: %s dropped %d paths, from %s to %s", what, r.NS().Name, len(lost), lost[0], lost[len(lost)-1])
	}
}

// replace takes the first path of each family out of the configuration and
// puts a new one in.
func (w *world) replace() {
	w.fresh++
	for _, f := range []func(int) netip.Prefix{prefix4, prefix6} {
		add := &bgp.Path{Prefix: f(1<<15 + w.fresh), Peers: w.everybody()}
		first := slices.IndexFunc(w.config.Paths, func(p *bgp.Path) bool { return bgp.FamilyOf(p.Prefix) == bgp.FamilyOf(add.Prefix) })
		w.config.Paths = append(slices.Delete(slices.Clone(w.config.Paths), first, first+1), add)
	}
	slices.SortFunc(w.config.Paths, func(a, b *bgp.Path) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
}

// waitExact waits until the kernel of every router has exactly the prefixes
// that it should hear.
func (w *world) waitExact(what string, timeout time.Duration) {
	w.Helper()
	for _, r := range w.routers {
		want := map[netip.Prefix]bool{}
		for _, p := range w.config.Paths {
			if p.Peers.Contains(r.addr) {
				want[p.Prefix] = true
			}
		}
		w.Eventually(timeout, what+": routes of "+r.NS().Name, func() error {
			have, err := r.NS().Routes(r.Protocol())
			if err != nil {
				return err
			}
			for p := range have {
				if !want[p] {
					return fmt.Errorf("still has %s, and %d routes for %d", p, len(have), len(want))
				}
			}
			if len(have) != len(want) {
				return fmt.Errorf("%d routes for %d", len(have), len(want))
			}
			return nil
		})
	}
}
