package gobgp

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"netctl/bgp"
)

// TestMain checks that speakers leave nothing behind but the loop of GoBGP,
// which has no end.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("reflect.rselect"), // (*server.BgpServer).Serve
		goleak.IgnoreAnyFunction("github.com/osrg/gobgp/v3/pkg/server.(*BgpServer).Serve"))
}

// endOfRIB tells which family's End-of-RIB a message is (RFC 4724 section 2).
func endOfRIB(m message) (bgp.Family, bool) {
	switch {
	case m.kind() != msgUpdate:
	case len(m) == headerSize+4:
		return bgp.IPv4Unicast, true
	case len(m) == headerSize+4+6 && m.body()[5] == attrMPUnreach:
		return bgp.IPv6Unicast, true
	}
	return "", false
}

// table reads messages until each family has had its End-of-RIB, and returns
// what they announce.
func (c *conn) table(tb testing.TB) map[netip.Prefix]netip.Addr {
	tb.Helper()
	routes := map[netip.Prefix]netip.Addr{}
	done := map[bgp.Family]bool{}
	for len(done) < 2 {
		m := c.next(tb)
		if m.kind() == msgOpen {
			continue
		}
		if f, ok := endOfRIB(m); ok {
			done[f] = true
			continue
		}
		c.read(tb, m, routes)
	}
	return routes
}

// read applies an UPDATE to a table.
func (c *conn) read(tb testing.TB, m message, routes map[netip.Prefix]netip.Addr) {
	tb.Helper()
	u, ok := parseUpdate(m)
	if m.kind() != msgUpdate || !ok {
		tb.Fatalf("not a good UPDATE: %x", m)
	}
	for f, b := range u.withdrawn {
		eachPrefix(b, f, func(p netip.Prefix) { delete(routes, p) })
	}
	for f, b := range u.announced {
		nh, _ := netip.AddrFromSlice(u.nextHop)
		eachPrefix(b, f, func(p netip.Prefix) { routes[p] = nh })
	}
}

func TestTableThenEndOfRIB(t *testing.T) {
	r := newRouter(t, "127.0.0.10", nil)
	s := newSpeaker(t)
	c := config(somePaths(500), r)
	if err := s.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	routes := r.accept().table(t)
	if len(routes) != len(c.Paths) {
		t.Errorf("%d routes before End-of-RIB, want %d", len(routes), len(c.Paths))
	}
	for _, p := range c.Paths {
		want := c.Peers[0].NextHop6
		if p.Prefix.Addr().Is4() {
			want = c.Peers[0].NextHop4
		}
		if routes[p.Prefix] != want {
			t.Errorf("%s: next hop %s", p.Prefix, routes[p.Prefix])
		}
	}
	eventually(t, "advertised", func() bool {
		sent, err := s.Advertised(t.Context(), r.at.Addr())
		return err == nil && len(sent) == len(c.Paths) && slices.Equal(sent[0].ASPath, []uint32{65000})
	})
}

// TestOnlyWhatDiffers applies one configuration after the other and looks at
// what is sent: nothing for the same, one UPDATE for one path.
func TestOnlyWhatDiffers(t *testing.T) {
	r := newRouter(t, "127.0.0.10", nil)
	s := newSpeaker(t)
	c := config(somePaths(10), r)
	apply := func() {
		t.Helper()
		if err := s.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	apply()
	k := r.accept()
	routes := k.table(t)
	apply()
	c.Paths = append(slices.Clone(c.Paths[:3]), c.Paths[4:]...)
	gone := somePaths(10)[3].Prefix
	apply()
	k.read(t, k.next(t), routes)
	if _, still := routes[gone]; still || len(routes) != 19 {
		t.Errorf("the first UPDATE did not withdraw %s", gone)
	}
	c = config(somePaths(10), r)
	apply()
	k.read(t, k.next(t), routes)
	if routes[gone] != c.Peers[0].NextHop4 {
		t.Errorf("the second UPDATE did not announce %s", gone)
	}
	if err := s.Stop(t.Context(), bgp.Restart, ""); err != nil {
		t.Fatal(err)
	}
	if rest := k.ended(t); len(rest) > 0 {
		t.Errorf("%d messages too many, the first is %x", len(rest), rest[0])
	}
}

// TestFailedChangeIsMadeUp has GoBGP refuse a change: the next Apply of the same
// configuration makes up for it.
func TestFailedChangeIsMadeUp(t *testing.T) {
	r := newRouter(t, "127.0.0.10", nil)
	s := newSpeaker(t)
	c := config(somePaths(2), r)
	if err := s.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	k := r.accept()
	routes := k.table(t)
	known := func(a netip.Addr) (before netip.Addr) {
		s.mu.Lock()
		defer s.mu.Unlock()
		p := s.peers[r.at.Addr()]
		before, p.inner = p.inner, a
		return before
	}
	inner := known(netip.Addr{}) // which makes no sense in a policy
	c.Peers = slices.Clone(c.Peers)
	c.Peers[0].NextHop4 = netip.MustParseAddr("192.0.2.7")
	if err := s.Apply(t.Context(), c); err == nil {
		t.Fatal("GoBGP took a peer without an address")
	}
	known(inner)
	if err := s.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for routes[c.Paths[0].Prefix] != c.Peers[0].NextHop4 {
		if m := k.next(t); m.kind() == msgUpdate {
			k.read(t, m, routes)
		}
	}
}

// TestRestartBits looks at our OPEN: forwarding state is always preserved, and
// a peer that restarts itself is not told that we do too.
func TestRestartBits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*router)
		want   bool
	}{
		{"the peer does not restart", func(*router) {}, true},
		{"the peer restarts", func(r *router) { r.restarting = true }, false},
		{"the peer waits for our OPEN", func(r *router) { r.mute = true }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRouter(t, "127.0.0.10", tt.change)
			s := newSpeaker(t)
			if err := s.Apply(t.Context(), config(nil, r)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the session is cut after the first time
				k := r.accept()
				m := k.next(t)
				o, err := parseOpen(m)
				if err != nil || o.restarting != tt.want || o.restartTime != time.Minute || o.asn != 65000 {
					t.Errorf("%v: %+v", err, o)
				}
				families := 0
				eachCapability(m, func(code byte, value []byte) {
					for i := 5; code == capGracefulRestart && i < len(value); i += 4 {
						if value[i] != forwardingStateBit {
							t.Errorf("family %x: flags %x", value[i-3:i], value[i])
						}
						families++
					}
				})
				if families != 2 {
					t.Errorf("graceful restart for %d families", families)
				}
				k.table(t)
				_ = k.Close()
			}
		})
	}
}

// TestFarewell looks at the last words of a session.
func TestFarewell(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*Speaker, bgp.Config) error
		want []byte // code, subcode and text of the NOTIFICATION
	}{
		{"restart", func(s *Speaker, _ bgp.Config) error {
			return s.Stop(t.Context(), bgp.Restart, "unheard")
		}, nil},
		{"withdraw", func(s *Speaker, _ bgp.Config) error {
			return s.Stop(t.Context(), bgp.Withdraw, "good night")
		}, append([]byte{codeCease, ceaseShutdown, 10}, "good night"...)},
		{"peer removed", func(s *Speaker, c bgp.Config) error {
			c.Peers = nil
			return s.Apply(t.Context(), c)
		}, []byte{codeCease, ceaseRemoved}},
		{"password changed", func(s *Speaker, c bgp.Config) error {
			c.Peers = slices.Clone(c.Peers)
			c.Peers[0].Password = "new"
			return s.Apply(t.Context(), c)
		}, nil},
		{"AS changed", func(s *Speaker, c bgp.Config) error {
			c.ASN++
			return s.Apply(t.Context(), c)
		}, []byte{codeCease, ceaseRemoved}},
		{"restart time changed", func(s *Speaker, c bgp.Config) error {
			c.RestartTime += time.Second
			return s.Apply(t.Context(), c)
		}, nil},
		{"reset", func(s *Speaker, c bgp.Config) error {
			return s.Reset(t.Context(), c.Peers[0].Addr)
		}, []byte{codeCease, ceaseReset}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRouter(t, "127.0.0.10", nil)
			s := newSpeaker(t)
			c := config(somePaths(100), r)
			if err := s.Apply(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			k := r.accept()
			routes := k.table(t)
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := tt.do(s, c); err != nil {
				t.Fatal(err)
			}
			var last []byte
			for _, m := range k.ended(t) {
				if m.kind() == msgNotification {
					last = m.body()
					continue
				}
				k.read(t, m, routes)
			}
			if !slices.Equal(last, tt.want) {
				t.Errorf("NOTIFICATION %q, want %q", last, tt.want)
			}
			if tt.name == "withdraw" && len(routes) > 0 {
				t.Errorf("%d routes not withdrawn", len(routes))
			}
			if tt.want == nil && len(routes) != len(c.Paths) {
				t.Errorf("%d routes left", len(routes))
			}
		})
	}
}

func TestWatch(t *testing.T) {
	r := newRouter(t, "127.0.0.10", nil)
	s := newSpeaker(t)
	ctx, cancel := context.WithCancel(t.Context())
	events := s.Watch(ctx)
	next := func(state bgp.State) bgp.Event {
		t.Helper()
		timeout := time.After(10 * time.Second)
		for {
			select {
			case e := <-events:
				if e.Peer != r.at.Addr() || e.Time.IsZero() {
					t.Fatalf("%+v", e)
				}
				if e.State == state {
					return e
				}
			case <-timeout:
				t.Fatalf("no event %s", state)
			}
		}
	}
	if err := s.Apply(t.Context(), config(nil, r)); err != nil {
		t.Fatal(err)
	}
	k := r.accept()
	if e := next(bgp.Established); e.Error != "" {
		t.Errorf("%+v", e)
	}
	shutdown := append(slices.Clone(keepalive[:16]), 0, headerSize+2+1+5, msgNotification, codeCease, ceaseShutdown, 5, 'n', 'i', 'g', 'h', 't')
	if _, err := k.Write(shutdown); err != nil {
		t.Fatal(err)
	}
	if e := next(bgp.Idle); e.Error != "the peer shut the session down administratively: night" {
		t.Errorf("%+v", e)
	}
	_ = k.Close()
	r.accept().table(t)
	next(bgp.Established)
	sessions, err := s.Sessions(t.Context())
	if err != nil || len(sessions) != 1 || sessions[0].Flaps != 1 || sessions[0].LastError != "" {
		t.Errorf("%+v, %v", sessions, err)
	}
	cancel()
	for range events {
	}
}

// TestStrangers connects from addresses that are no peer's, and sends what is
// not BGP from one that is.
func TestStrangers(t *testing.T) {
	s := newSpeaker(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	_ = l.Close()
	peer := bgp.Peer{Addr: netip.MustParseAddr("127.0.0.10"), Port: 179, ASN: 65001, Passive: true}
	c := bgp.Config{
		ASN: 65000, RouterID: netip.MustParseAddr("192.0.2.1"), RestartTime: time.Minute,
		Listen: []netip.AddrPort{at}, Peers: []bgp.Peer{peer},
	}
	if err := s.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		return conn
	}
	stranger := dial("127.0.0.11")
	if n, err := stranger.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("a stranger was talked to")
	}
	_ = stranger.Close()
	known := dial("127.0.0.10")
	_, _ = known.Write([]byte("GET / HTTP/1.0\r\n\r\n....................."))
	eventually(t, "reason", func() bool {
		list, err := s.Sessions(t.Context())
		return err == nil && list[0].LastError == "127.0.0.10 sends something that is not BGP"
	})
	_ = known.Close()
}

// TestInvalid checks that a Config that breaks the rules changes nothing.
func TestInvalid(t *testing.T) {
	r := newRouter(t, "127.0.0.10", nil)
	s := newSpeaker(t)
	c := config(somePaths(2), r)
	if err := s.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	k := r.accept()
	k.table(t)
	bad := c
	bad.Paths = slices.Clone(c.Paths)
	slices.Reverse(bad.Paths)
	if err := s.Apply(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("got %v", err)
	}
	if err := s.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context(), bgp.Restart, ""); err != nil {
		t.Fatal(err)
	}
	if rest := k.ended(t); len(rest) > 0 {
		t.Errorf("%d messages", len(rest))
	}
	if err := s.Apply(t.Context(), c); err == nil {
		t.Error("a stopped speaker took a configuration")
	}
}
