package bgp_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"netctl/bgp"
)

// apply makes changes to a config the slow and obvious way.
func apply(c bgp.Config, ch bgp.Changes, global bgp.Config) bgp.Config {
	paths := map[netip.Prefix]bgp.Path{}
	for _, p := range c.Paths {
		paths[p.Prefix] = *p
	}
	for _, p := range ch.SetPaths {
		paths[p.Prefix] = p
	}
	for _, p := range ch.DelPaths {
		delete(paths, p)
	}
	peers := map[netip.Addr]bgp.Peer{}
	for _, p := range c.Peers {
		peers[p.Addr] = p
	}
	for _, a := range ch.DelPeers {
		delete(peers, a)
	}
	for _, p := range ch.SetPeers {
		peers[p.Want.Addr] = p.Want
	}
	for _, p := range ch.AddPeers {
		peers[p.Addr] = p
	}
	listen := c.Listen
	if ch.Global {
		c = global
	}
	if c.Listen = listen; ch.Listen {
		c.Listen = global.Listen
	}
	c.Paths, c.Peers = nil, nil
	for _, p := range paths {
		c.Paths = append(c.Paths, &p)
	}
	for _, p := range peers {
		c.Peers = append(c.Peers, p)
	}
	slices.SortFunc(c.Paths, func(a, b *bgp.Path) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	slices.SortFunc(c.Peers, func(a, b bgp.Peer) int { return a.Addr.Compare(b.Addr) })
	return c
}

func drawAddr(t *rapid.T, label string) netip.Addr {
	n := rapid.Uint8Range(1, 6).Draw(t, label)
	if rapid.Bool().Draw(t, label+" v6") {
		return netip.AddrFrom16([16]byte{0: 0xfd, 15: n})
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, n})
}

func drawConfig(t *rapid.T) bgp.Config {
	c := bgp.Config{
		ASN:         rapid.Uint32Range(1, 3).Draw(t, "asn"),
		RouterID:    netip.AddrFrom4([4]byte{10, 0, 0, rapid.Uint8Range(1, 2).Draw(t, "id")}),
		RestartTime: time.Duration(rapid.IntRange(1, 2).Draw(t, "restart")) * time.Second,
	}
	if rapid.Bool().Draw(t, "listen") {
		c.Listen = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:179")}
	}
	peers := map[netip.Addr]bgp.Peer{}
	for range rapid.IntRange(0, 6).Draw(t, "peers") {
		a := drawAddr(t, "peer")
		peers[a] = bgp.Peer{Addr: a, Port: 179, ASN: rapid.Uint32Range(1, 2).Draw(t, "peer asn")}
	}
	for _, p := range peers {
		c.Peers = append(c.Peers, p)
	}
	paths := map[netip.Prefix]bgp.Path{}
	for range rapid.IntRange(0, 12).Draw(t, "paths") {
		a := drawAddr(t, "prefix")
		p := bgp.Path{Prefix: netip.PrefixFrom(a, a.BitLen()-rapid.IntRange(0, 2).Draw(t, "shorter")).Masked()}
		p.Peers = bgp.NewPeerSet(drawAddr(t, "who"), drawAddr(t, "who else"))
		if rapid.Bool().Draw(t, "own next hop") && a.Is4() {
			p.NextHop = netip.AddrFrom4([4]byte{10, 9, 9, 9})
		}
		paths[p.Prefix] = p
	}
	for _, p := range paths {
		c.Paths = append(c.Paths, &p)
	}
	slices.SortFunc(c.Paths, func(a, b *bgp.Path) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	slices.SortFunc(c.Peers, func(a, b bgp.Peer) int { return a.Addr.Compare(b.Addr) })
	return c
}

var byValue = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestDiffIsWhatTurnsHaveIntoWant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		have, want := drawConfig(t), drawConfig(t)
		for _, c := range []bgp.Config{have, want} {
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		changes := bgp.Diff(have, want)
		opts := []cmp.Option{byValue, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b bgp.PeerSet) bool { return a == b })}
		if d := cmp.Diff(want, apply(have, changes, want), opts...); d != "" {
			t.Fatalf("%s\nafter\n%s", d, changes)
		}
		if d := bgp.Diff(want, want); !d.Empty() || d.String() != "" {
			t.Fatalf("want against itself: %s", d)
		}
		if changes.Empty() != cmp.Equal(have, want, opts...) {
			t.Fatalf("Empty is %t for\n%s", changes.Empty(), changes)
		}
		for _, p := range changes.SetPaths {
			if slices.ContainsFunc(have.Paths, func(have *bgp.Path) bool { return *have == p }) {
				t.Fatalf("%s is set and was already there", p)
			}
		}
	})
}

// What is valid next to something valid is what is valid, wherever a path is out
// of place or no network.
func TestNextFindsWhatIsInvalid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		have, want := drawConfig(t), drawConfig(t)
		if n := len(have.Paths); n > 0 && rapid.Bool().Draw(t, "alike") {
			want.Paths = slices.Clone(have.Paths)
		}
		if n := len(want.Paths); n > 0 {
			i, j := rapid.IntRange(0, n-1).Draw(t, "swap"), rapid.IntRange(0, n-1).Draw(t, "with")
			want.Paths[i], want.Paths[j] = want.Paths[j], want.Paths[i]
			if rapid.Bool().Draw(t, "twice") {
				want.Paths = slices.Insert(want.Paths, i, want.Paths[i])
			}
			if k := rapid.IntRange(0, n-1).Draw(t, "broken"); rapid.Bool().Draw(t, "break") {
				broken := *want.Paths[k]
				broken.NextHop = netip.IPv6Unspecified()
				want.Paths[k] = &broken
			}
		}
		changes, err := bgp.Next(have, want)
		if valid := want.Validate(); (err == nil) != (valid == nil) {
			t.Fatalf("Next says %v, Validate %v, of\n%v\nafter\n%v", err, valid, want.Paths, have.Paths)
		}
		if d := bgp.Diff(have, want); err == nil && changes.String() != d.String() {
			t.Fatalf("Next:\n%s\nDiff:\n%s", changes, d)
		}
	})
}

func BenchmarkDiffSame(b *testing.B) {
	c := manyPaths(50000)
	d := bgp.Config{Paths: slices.Clone(c.Paths)}
	for b.Loop() {
		if !bgp.Diff(c, d).Empty() {
			b.Fatal("not the same")
		}
	}
}

func manyPaths(n int) bgp.Config {
	var c bgp.Config
	to := bgp.NewPeerSet(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"))
	for i := range n {
		c.Paths = append(c.Paths, &bgp.Path{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), Peers: to})
	}
	return c
}

func TestNextHop(t *testing.T) {
	t.Parallel()
	peer := netip.MustParseAddr("fd00::1")
	v4, v6 := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")
	for _, tt := range []struct {
		nh4, nh6 netip.Addr
		family   bgp.Family
		extended bool
		want     netip.Addr
		held     string
	}{
		{v4, v6, bgp.IPv4Unicast, false, v4, ""},
		{v4, v6, bgp.IPv4Unicast, true, v4, ""},
		{v4, v6, bgp.IPv6Unicast, false, v6, ""},
		{netip.Addr{}, v6, bgp.IPv4Unicast, true, v6, ""},
		{netip.Addr{}, v6, bgp.IPv4Unicast, false, netip.Addr{}, "this host has no IPv4 address toward fd00::1, and the peer does not take IPv6 next hops for IPv4 (RFC 8950); give it one, or set bgp.ipv4.nexthop"},
		{netip.Addr{}, netip.Addr{}, bgp.IPv4Unicast, true, netip.Addr{}, "this host has no IPv4 address toward fd00::1; give it one, or set bgp.ipv4.nexthop"},
		{v4, netip.Addr{}, bgp.IPv6Unicast, true, netip.Addr{}, "this host has no IPv6 address toward fd00::1; give it one, or set bgp.ipv6.nexthop"},
	} {
		got, held := bgp.Peer{Addr: peer, NextHop4: tt.nh4, NextHop6: tt.nh6}.NextHop(tt.family, tt.extended)
		if got != tt.want || held != tt.held {
			t.Errorf("%+v: %s, %q", tt, got, held)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	ok := func() bgp.Config {
		return bgp.Config{
			ASN: 65000, RouterID: netip.MustParseAddr("192.0.2.1"), RestartTime: time.Minute,
			Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:179"), netip.MustParseAddrPort("[::]:179")},
			Peers: []bgp.Peer{
				{Addr: netip.MustParseAddr("192.0.2.2"), Port: 179, ASN: 65001},
				{Addr: netip.MustParseAddr("fd00::2"), Port: 179, ASN: 65001, HoldTime: 9 * time.Second},
			},
			Paths: []*bgp.Path{{Prefix: netip.MustParsePrefix("10.0.0.0/24")}, {Prefix: netip.MustParsePrefix("2001:db8::/64")}},
		}
	}
	if err := ok().Validate(); err != nil {
		t.Fatal(err)
	}
	if err := (bgp.Config{Peers: make([]bgp.Peer, 1)}).Validate(); err != nil {
		t.Errorf("not running: %v", err)
	}
	for want, breakIt := range map[string]func(*bgp.Config){
		"router id fd00::1 is not an IPv4 address":                                  func(c *bgp.Config) { c.RouterID = netip.MustParseAddr("fd00::1") },
		"restart time 0s is not between 1 and 4095 seconds":                         func(c *bgp.Config) { c.RestartTime = 0 },
		"cannot listen on 0.0.0.0:0":                                                func(c *bgp.Config) { c.Listen[0] = netip.MustParseAddrPort("0.0.0.0:0") },
		"listen address 0.0.0.0:179 is out of order":                                func(c *bgp.Config) { slices.Reverse(c.Listen) },
		"peer 192.0.2.2 is out of order":                                            func(c *bgp.Config) { slices.Reverse(c.Peers) },
		"peer 224.0.0.1: not the address of a router":                               func(c *bgp.Config) { c.Peers[0].Addr = netip.MustParseAddr("224.0.0.1") },
		"peer 192.0.2.2: AS 0 (RFC 7607)":                                           func(c *bgp.Config) { c.Peers[0].ASN = 0 },
		"peer 192.0.2.2: port 0":                                                    func(c *bgp.Config) { c.Peers[0].Port = 0 },
		"peer 192.0.2.2: hold time 2s is neither 0 nor between 3 and 65535 seconds": func(c *bgp.Config) { c.Peers[0].HoldTime = 2 * time.Second },
		"peer 192.0.2.2: a password has at most 80 bytes":                           func(c *bgp.Config) { c.Peers[0].Password = bgp.Secret(make([]byte, 81)) },
		"peer 192.0.2.2: local address fd00::9 is of the other family":              func(c *bgp.Config) { c.Peers[0].LocalAddr = netip.MustParseAddr("fd00::9") },
		"peer fd00::2: source address 192.0.2.9 is of the other family":             func(c *bgp.Config) { c.Peers[1].Source = netip.MustParseAddr("192.0.2.9") },
		"peer 192.0.2.2: IPv4 next hop 0.0.0.0":                                     func(c *bgp.Config) { c.Peers[0].NextHop4 = netip.IPv4Unspecified() },
		"peer 192.0.2.2: IPv6 next hop ::ffff:192.0.2.9":                            func(c *bgp.Config) { c.Peers[0].NextHop6 = netip.MustParseAddr("::ffff:192.0.2.9") },
		"path 10.0.0.1/24: not a network":                                           func(c *bgp.Config) { c.Paths[0].Prefix = netip.MustParsePrefix("10.0.0.1/24") },
		"path 10.0.0.0/24: next hop ::1":                                            func(c *bgp.Config) { c.Paths[0].NextHop = netip.MustParseAddr("::1") },
		"path 10.0.0.0/24 is out of order":                                          func(c *bgp.Config) { slices.Reverse(c.Paths) },
	} {
		c := ok()
		breakIt(&c)
		if err := c.Validate(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
