package gobgp

import (
	"bufio"
	"bytes"
	"net/netip"
	"slices"
	"testing"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"pgregory.net/rapid"

	"netctl/bgp"
)

// serialize is the wire form of one of GoBGP's messages.
func serialize(tb testing.TB, m *packet.BGPMessage) message {
	tb.Helper()
	b, err := m.Serialize()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func drawPrefix(t *rapid.T, f bgp.Family, label string) netip.Prefix {
	if f == bgp.IPv4Unicast {
		b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, label)
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(b)), rapid.IntRange(0, 32).Draw(t, label+" bits")).Masked()
	}
	b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label)
	return netip.PrefixFrom(netip.AddrFrom16([16]byte(b)), rapid.IntRange(0, 128).Draw(t, label+" bits")).Masked()
}

// TestParseUpdate takes messages apart that GoBGP has put together.
func TestParseUpdate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(families).Draw(t, "family")
		announced := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) netip.Prefix { return drawPrefix(t, f, "announced") }), 1, 20, rapid.ID).Draw(t, "announced")
		withdrawn := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) netip.Prefix { return drawPrefix(t, f, "withdrawn") }), 1, 20, rapid.ID).Draw(t, "withdrawn")
		asns := rapid.SliceOfN(rapid.Uint32(), 0, 5).Draw(t, "as path")
		nextHop := "192.0.2.1"
		attrs := []packet.PathAttributeInterface{
			packet.NewPathAttributeOrigin(0),
			packet.NewPathAttributeAsPath([]packet.AsPathParamInterface{packet.NewAs4PathParam(packet.BGP_ASPATH_ATTR_TYPE_SEQ, asns)}),
		}
		var m *packet.BGPMessage
		if f == bgp.IPv4Unicast {
			nlri := func(list []netip.Prefix) (out []*packet.IPAddrPrefix) {
				for _, p := range list {
					out = append(out, packet.NewIPAddrPrefix(uint8(p.Bits()), p.Addr().String()))
				}
				return out
			}
			attrs = append(attrs, packet.NewPathAttributeNextHop(nextHop))
			m = packet.NewBGPUpdateMessage(nlri(withdrawn), attrs, nlri(announced))
		} else {
			nlri := func(list []netip.Prefix) (out []packet.AddrPrefixInterface) {
				for _, p := range list {
					out = append(out, packet.NewIPv6AddrPrefix(uint8(p.Bits()), p.Addr().String()))
				}
				return out
			}
			nextHop = "2001:db8::1"
			attrs = append(attrs, packet.NewPathAttributeMpReachNLRI(nextHop, nlri(announced)), packet.NewPathAttributeMpUnreachNLRI(nlri(withdrawn)))
			m = packet.NewBGPUpdateMessage(nil, attrs, nil)
		}
		b, err := m.Serialize()
		if err != nil {
			t.Fatal(err)
		}
		u, ok := parseUpdate(b)
		if !ok {
			t.Fatalf("%x makes no sense", b)
		}
		read := func(b []byte) (list []netip.Prefix) {
			eachPrefix(b, f, func(p netip.Prefix) { list = append(list, p) })
			return list
		}
		if got := read(u.announced[f]); !slices.Equal(got, announced) {
			t.Errorf("announced %v, want %v", got, announced)
		}
		if got := read(u.withdrawn[f]); !slices.Equal(got, withdrawn) {
			t.Errorf("withdrawn %v, want %v", got, withdrawn)
		}
		if nh, _ := netip.AddrFromSlice(u.nextHop); nh.String() != nextHop {
			t.Errorf("next hop %s", nh)
		}
		if got := asNumbers(u.asPath, 4); !slices.Equal(got, asns) {
			t.Errorf("AS path %v, want %v", got, asns)
		}
	})
}

// TestAdjOut sends updates past an adjOut and compares with a map.
func TestAdjOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o, model := newAdjOut(), map[netip.Prefix]bool{}
		prefixes := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/9"), netip.MustParsePrefix("192.0.2.1/32")}
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			p := rapid.SampledFrom(prefixes).Draw(t, "prefix")
			n := []*packet.IPAddrPrefix{packet.NewIPAddrPrefix(uint8(p.Bits()), p.Addr().String())}
			var m *packet.BGPMessage
			want := true
			if rapid.Bool().Draw(t, "withdraw") {
				m = packet.NewBGPUpdateMessage(n, nil, nil)
				want = model[p]
				delete(model, p)
			} else {
				m = packet.NewBGPUpdateMessage(nil, []packet.PathAttributeInterface{packet.NewPathAttributeOrigin(0), packet.NewPathAttributeNextHop("192.0.2.9")}, n)
				model[p] = true
			}
			b, err := m.Serialize()
			if err != nil {
				t.Fatal(err)
			}
			if got := o.pass(b, 4); got != want {
				t.Fatalf("%s passes: %t, want %t", p, got, want)
			}
			if got := o.counts()[bgp.IPv4Unicast]; got != len(model) || len(o.list()) != len(model) {
				t.Fatalf("%d prefixes, want %d", got, len(model))
			}
		}
	})
}

// TestFence checks that a fence stops at the relay, and is recognised.
func TestFence(t *testing.T) {
	o := newAdjOut()
	for _, n := range []uint32{1, 2, 300, maxClass} {
		for _, f := range families {
			p := fencePrefix(n, f)
			if got, ok := fenceNumber(p); got != n || !ok {
				t.Errorf("%s is number %d", p, got)
			}
		}
		p := fencePrefix(n, bgp.IPv6Unicast)
		m := serialize(t, packet.NewBGPUpdateMessage(nil, []packet.PathAttributeInterface{
			packet.NewPathAttributeMpReachNLRI("::1", []packet.AddrPrefixInterface{packet.NewIPv6AddrPrefix(128, p.Addr().String())}),
		}, nil))
		if o.pass(m, 4) || !o.passed(bgp.IPv6Unicast, n) || o.passed(bgp.IPv6Unicast, n+1) || len(o.list()) > 0 {
			t.Errorf("fence %d", n)
		}
	}
	for _, s := range []string{"0.0.0.0/0", "10.0.0.1/32", "100::/64", "2001:db8::1/128"} {
		if _, ok := fenceNumber(netip.MustParsePrefix(s)); ok {
			t.Errorf("%s is taken for a fence", s)
		}
	}
}

// TestNoImproperNextHop checks that a next hop that is none does not get out.
func TestNoImproperNextHop(t *testing.T) {
	for nh, want := range map[string]bool{
		"192.0.2.1": true, "0.0.0.0": false, "0.0.0.7": false, "2001:db8::1": true, "fe80::1": true,
		"::": false, "::ffff:192.0.2.1": false, "100::7": false,
	} {
		a := netip.MustParseAddr(nh)
		raw := append([]byte{1, 0, 2, 1, byte(a.BitLen() / 8)}, a.AsSlice()...)
		value := append(raw[1:], 0, 8, 0x20) // the rest of MP_REACH_NLRI: 2000::/8
		body := append([]byte{0, 0, 0, byte(3 + len(value)), attrOptional, attrMPReach, byte(len(value))}, value...)
		m := append(slices.Clone(keepalive), body...)
		m[17], m[18] = byte(len(m)), msgUpdate
		if got := newAdjOut().pass(m, 4); got != want {
			t.Errorf("%s passes: %t", nh, got)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(keepalive))
	f.Add([]byte(serialize(f, packet.NewEndOfRib(packet.RF_IPv6_UC))))
	f.Add([]byte(serialize(f, packet.NewBGPOpenMessage(65000, 90, "192.0.2.1", []packet.OptionParameterInterface{
		packet.NewOptionParameterCapability([]packet.ParameterCapabilityInterface{
			packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapFourOctetASNumber(65000),
			packet.NewCapGracefulRestart(false, false, 1, []*packet.CapGracefulRestartTuple{packet.NewCapGracefulRestartTuple(packet.RF_IPv4_UC, false)}),
			packet.NewCapExtendedNexthop([]*packet.CapExtendedNexthopTuple{packet.NewCapExtendedNexthopTuple(packet.RF_IPv4_UC, packet.AFI_IP6)}),
		}),
	}))))
	f.Add([]byte(serialize(f, packet.NewBGPNotificationMessage(codeCease, ceaseShutdown, []byte("\x05night")))))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		for buf := make([]byte, maxMessage); ; {
			m, err := readMessage(r, buf)
			if err != nil {
				return
			}
			before := len(m)
			_, _ = parseOpen(m)
			setRestartBits(m, true)
			setHoldTime(m, 0)
			_, _ = announcements(m)
			_, _, _ = notificationOf(m)
			_ = newAdjOut().pass(m, 2)
			if len(m) != before {
				t.Fatal("the length changed")
			}
		}
	})
}
