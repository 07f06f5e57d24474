package speaker_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"netctl/bgp"
	"netctl/test/lab"
)

// settled waits until the session with a router is up and the router knows
// every path that it should hear.
func (w *world) settled(r *router) bgp.Session {
	w.Helper()
	w.waitSession(r)
	w.waitExact("table", 30*time.Second)
	return w.agent.session(r.addr)
}

// TestTransport brings sessions up in every way that can be configured, with
// both routers and over both families.
func TestTransport(t *testing.T) {
	t.Parallel()
	kinds := []kind{frr4, frr6, bird4, bird6}
	for _, tt := range []struct {
		name   string
		router func(*lab.RouterPeer, *lab.RouterConfig)
		host   func(*bgp.Config, *bgp.Peer)
		check  func(*testing.T, bgp.Session)
	}{
		{
			name:   "password, we dial",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) { p.Password, p.Passive = "secret", true },
			host:   func(_ *bgp.Config, p *bgp.Peer) { p.Password = "secret" },
		},
		{
			name:   "password, they dial",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) { p.Password = "secret" },
			host:   func(_ *bgp.Config, p *bgp.Peer) { p.Password, p.Passive = "secret", true },
		},
		{
			name:   "GTSM, we dial",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) { p.TTLSecurity, p.Passive = 1, true },
			host:   func(_ *bgp.Config, p *bgp.Peer) { p.TTLSecurity = 255 },
		},
		{
			name:   "GTSM, they dial",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) { p.TTLSecurity = 1 },
			host:   func(_ *bgp.Config, p *bgp.Peer) { p.TTLSecurity, p.Passive = 255, true },
		},
		{
			name:   "both dial, no time to hold",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) { p.HoldTime = -1 },
			host:   func(_ *bgp.Config, p *bgp.Peer) { p.HoldTime = 0 },
			check: func(t *testing.T, s bgp.Session) {
				t.Helper()
				if s.HoldTime != 0 || s.Keepalive != 0 {
					t.Errorf("hold time %s, keepalive %s", s.HoldTime, s.Keepalive)
				}
			},
		},
		{
			name: "hold time 9 s",
			host: func(_ *bgp.Config, p *bgp.Peer) { p.HoldTime = 9 * time.Second },
			check: func(t *testing.T, s bgp.Session) {
				t.Helper()
				if s.HoldTime != 9*time.Second || s.Keepalive != 3*time.Second {
					t.Errorf("hold time %s, keepalive %s", s.HoldTime, s.Keepalive)
				}
			},
		},
		{
			name:   "same AS",
			router: func(p *lab.RouterPeer, c *lab.RouterConfig) { c.ASN = hostASN },
			host:   func(_ *bgp.Config, p *bgp.Peer) { p.ASN = hostASN },
		},
		{
			name:   "AS numbers of four octets",
			router: func(p *lab.RouterPeer, c *lab.RouterConfig) { c.ASN, p.ASN = 4200000001, 4200000000 },
			host:   func(c *bgp.Config, p *bgp.Peer) { c.ASN, p.ASN = 4200000000, 4200000001 },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for engine := range engines {
				w := newWorld(t, engine, kinds, func(_ int, p *lab.RouterPeer, c *lab.RouterConfig) {
					if tt.router != nil {
						tt.router(p, c)
					}
				})
				for i := range w.config.Peers {
					tt.host(&w.config, &w.config.Peers[i])
				}
				w.startRouters()
				w.config.Paths = w.paths(0, 3)
				w.start()
				for _, r := range w.routers {
					s := w.settled(r)
					if tt.check != nil {
						tt.check(t, s)
					}
					if s.LocalAddr != r.local || s.Flaps != 0 || s.LastError != "" {
						t.Errorf("%s: %+v", r.NS().Name, s)
					}
				}
			}
		})
	}
}

// TestMultihop peers with a router behind another one, from an address of our
// own choice, and to a port of its choice.
func TestMultihop(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		l := lab.New(t)
		host, mid, far := l.NS("host"), l.NS("mid"), l.NS("far")
		l.Link(host, "eth0", mid, "eth0")
		l.Link(mid, "eth1", far, "eth0")
		mid.Forward()
		host.Addr("eth0", "10.0.1.1/24", "fd00:1::1/64")
		mid.Addr("eth0", "10.0.1.2/24", "fd00:1::2/64")
		mid.Addr("eth1", "10.0.2.1/24", "fd00:2::1/64")
		far.Addr("eth0", "10.0.2.2/24", "fd00:2::2/64")
		host.Addr("lo", "10.9.0.1/32", "fd00:9::1/128")
		for ns, via := range map[*lab.NS][2]string{host: {"10.0.1.2", "fd00:1::2"}, far: {"10.0.2.1", "fd00:2::1"}} {
			ns.Run("ip", "route", "add", "default", "via", via[0])
			ns.Run("ip", "-6", "route", "add", "default", "via", via[1])
		}
		mid.Run("ip", "route", "add", "10.9.0.1/32", "via", "10.0.1.1")
		mid.Run("ip", "-6", "route", "add", "fd00:9::1/128", "via", "fd00:1::1")
		v4, v6 := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("fd00:9::1")
		bird := lab.NewBIRD(far, lab.RouterConfig{ASN: routerASN, ID: netip.MustParseAddr("10.0.2.2"), Peers: []lab.RouterPeer{
			{Addr: v4, ASN: hostASN, Multihop: 2, Local: netip.MustParseAddr("10.0.2.2"), Raw: "local port 1179;"},
			{Addr: v6, ASN: hostASN, Multihop: 2, Local: netip.MustParseAddr("fd00:2::2"), Passive: true, Raw: "local port 1179;"},
		}})
		bird.Start()
		a := startAgent(t, host, engine)
		c := bgp.Config{
			ASN: hostASN, RouterID: v4, RestartTime: time.Minute,
			Listen: []netip.AddrPort{netip.AddrPortFrom(v4, 179), netip.AddrPortFrom(v6, 179)},
			Peers: []bgp.Peer{
				{Addr: netip.MustParseAddr("10.0.2.2"), Port: 1179, ASN: routerASN, Multihop: 2, LocalAddr: v4, NextHop4: v4, NextHop6: v6, HoldTime: 90 * time.Second},
				{Addr: netip.MustParseAddr("fd00:2::2"), Port: 1179, ASN: routerASN, Multihop: 2, LocalAddr: v6, NextHop4: v4, NextHop6: v6, HoldTime: 90 * time.Second},
			},
			Paths: []*bgp.Path{{Prefix: prefix4(1), Peers: bgp.NewPeerSet(netip.MustParseAddr("10.0.2.2"), netip.MustParseAddr("fd00:2::2"))}},
		}
		a.apply(c)
		lab.WaitSession(bird, v4, 20*time.Second)
		lab.WaitSession(bird, v6, 20*time.Second)
		lab.WaitTable(bird, 1, 10*time.Second, all4)

		// With a TTL of one hop nobody gets there.
		for i := range c.Peers {
			c.Peers[i].Multihop = 1
		}
		a.apply(c)
		l.Eventually(20*time.Second, "TTL exceeded", func() error {
			for _, p := range c.Peers {
				if s := a.session(p.Addr); s.State == bgp.Established || s.LastError == "" {
					return fmt.Errorf("%s: %s %q", p.Addr, s.State, s.LastError)
				}
			}
			return nil
		})
	}
}

// TestReasons makes sessions fail, and reads what an operator would.
func TestReasons(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		router func(*lab.RouterPeer, *lab.RouterConfig)
		host   func(*world, *bgp.Peer)
		want   string // ADDR is the peer's address
	}{
		{
			name:   "we have the wrong password",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) { p.Password, p.Passive = "right", true },
			host:   func(_ *world, p *bgp.Peer) { p.Password = "wrong" },
			want:   "no answer from ADDR; check address, firewall and password",
		},
		{
			name:   "we have no password",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) { p.Password, p.Passive = "right", true },
			host:   func(*world, *bgp.Peer) {},
			want:   "no answer from ADDR; check address, firewall and password",
		},
		{
			name:   "they have no password",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) {},
			host:   func(_ *world, p *bgp.Peer) { p.Password, p.Passive = "right", true },
			want:   "waiting for ADDR to connect; if it does not, check its configuration, the firewall and the password",
		},
		{
			name:   "we expect another AS",
			router: func(*lab.RouterPeer, *lab.RouterConfig) {},
			host:   func(_ *world, p *bgp.Peer) { p.ASN = 65009 },
			want:   "the peer is AS 65001, but AS 65009 is configured for it",
		},
		{
			name:   "they expect another AS",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) { p.ASN = 65009 },
			host:   func(*world, *bgp.Peer) {},
			want:   "the peer says that our AS is wrong: it expects another one than 65000",
		},
		{
			name:   "another port",
			router: func(*lab.RouterPeer, *lab.RouterConfig) {},
			host: func(w *world, p *bgp.Peer) {
				p.Port = 1179
				w.config.Listen = nil
			},
			want: "ADDR refuses connections on port 1179; is BGP running there?",
		},
		{
			name:   "nobody there",
			router: func(*lab.RouterPeer, *lab.RouterConfig) {},
			host: func(_ *world, p *bgp.Peer) {
				p.Source = netip.Addr{}
				if p.Addr.Is4() {
					p.Addr = netip.MustParseAddr("10.0.1.77")
				} else {
					p.Addr = netip.MustParseAddr("fd00:1::77")
				}
			},
			want: "ADDR does not answer on its link (no route to host)",
		},
		{
			name:   "no route",
			router: func(*lab.RouterPeer, *lab.RouterConfig) {},
			host: func(_ *world, p *bgp.Peer) {
				p.Source = netip.Addr{}
				if p.Addr.Is4() {
					p.Addr = netip.MustParseAddr("198.51.100.1")
				} else {
					p.Addr = netip.MustParseAddr("2001:db8:fffe::1")
				}
			},
			want: "this host has no route to ADDR",
		},
		{
			name:   "not our address",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) { p.Passive = true },
			host: func(_ *world, p *bgp.Peer) {
				if p.LocalAddr = netip.MustParseAddr("10.0.1.9"); p.Addr.Is6() {
					p.LocalAddr = netip.MustParseAddr("fd00:1::9")
				}
			},
			want: "this host does not have the address LOCAL",
		},
		{
			name:   "they connect to another address",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) {},
			host: func(w *world, p *bgp.Peer) {
				w.host.Addr("eth1", "10.0.1.9/24", "fd00:1::9/64")
				if p.LocalAddr = netip.MustParseAddr("10.0.1.9"); p.Addr.Is6() {
					p.LocalAddr = netip.MustParseAddr("fd00:1::9")
				}
				p.Passive = true
			},
			want: "the peer connects to OURS, but LOCAL is configured as our end of the session",
		},
		{
			name:   "ourselves",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) {},
			host: func(w *world, p *bgp.Peer) {
				p.Addr, p.Source = p.Source, netip.Addr{}
			},
			want: "ADDR is an address of this host",
		},
		{
			name:   "nobody knows us",
			router: func(p *lab.RouterPeer, _ *lab.RouterConfig) { p.Addr = p.Addr.Next().Next().Next() },
			host:   func(*world, *bgp.Peer) {},
			want:   "ADDR closed the connection before the session was up; is this host configured there as a neighbor?",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for engine := range engines {
				for _, k := range []kind{frr4, bird6} {
					w := newWorld(t, engine, []kind{k}, func(_ int, p *lab.RouterPeer, c *lab.RouterConfig) { tt.router(p, c) })
					w.startRouters()
					p := &w.config.Peers[0]
					tt.host(w, p)
					w.start()
					want := strings.NewReplacer("ADDR", p.Addr.String(), "LOCAL", p.LocalAddr.String(), "OURS", p.Source.String()).Replace(tt.want)
					w.Eventually(20*time.Second, k.name, func() error {
						if s := w.agent.session(p.Addr); s.LastError != want || s.State == bgp.Established {
							return fmt.Errorf("%s: %q, want %q", s.State, s.LastError, want)
						}
						return nil
					})
				}
			}
		})
	}
}

// TestPortInUse starts a speaker whose port is taken. Sessions that it dials
// come up all the same, and once the port is free the next Apply takes it,
// without touching them.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		w := newWorld(t, engine, []kind{frr4, bird6}, nil)
		w.startRouters()
		w.config.Paths = w.paths(0, 3)
		thief := w.host.Start("busybox", "nc", "-l", "-p", "179")
		w.Eventually(5*time.Second, "thief", func() error {
			if out := w.host.Run("ss", "-Hltn", "sport = :179"); out == "" {
				return fmt.Errorf("not listening")
			}
			return nil
		})
		w.agent = startAgent(t, w.host, engine)
		_, err := w.agent.call(request{Method: "apply", Config: toWire(w.config)})
		const want = "listen on 0.0.0.0:179: the port is in use by another program; listen on [::]:179: the port is in use by another program"
		if err == nil || err.Error() != "apply: "+want {
			t.Fatalf("got %v", err)
		}
		if s := w.agent.must(request{Method: "status"}).Status; s.ListenErr != want || len(s.Listening) != 0 || !s.Running {
			t.Fatalf("%+v", s)
		}
		for _, r := range w.routers {
			w.settled(r)
		}
		thief.Signal(9)
		_ = thief.Wait(5 * time.Second)
		w.agent.apply(w.config)
		if s := w.agent.must(request{Method: "status"}).Status; s.ListenErr != "" || len(s.Listening) != 2 {
			t.Fatalf("%+v", s)
		}
		for _, r := range w.routers {
			if s := w.agent.session(r.addr); s.State != bgp.Established || s.Flaps != 0 {
				t.Errorf("%+v", s)
			}
		}
	}
}
