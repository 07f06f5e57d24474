package lab_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"netctl/test/lab"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func ip(s string) netip.Addr    { return netip.MustParseAddr(s) }

// TestRouters lets FRR and BIRD tell each other routes over IPv4 and IPv6
// sessions, and reads every view of them.
func TestRouters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		frr, bird netip.Addr
	}{
		{"IPv4 session", ip("10.0.0.1"), ip("10.0.0.2")},
		{"IPv6 session", ip("fd00::1"), ip("fd00::2")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			a, b := l.NS("frr"), l.NS("bird")
			l.Link(a, "eth0", b, "eth0")
			a.Addr("eth0", "10.0.0.1/24", "fd00::1/64")
			b.Addr("eth0", "10.0.0.2/24", "fd00::2/64")
			frr := lab.NewFRR(a, lab.RouterConfig{ASN: 65001, ID: ip("10.0.0.1"), Peers: []lab.RouterPeer{
				{Addr: tt.bird, ASN: 65002, Password: "secret"},
			}})
			bird := lab.NewBIRD(b, lab.RouterConfig{ASN: 65002, ID: ip("10.0.0.2"), Peers: []lab.RouterPeer{
				{Addr: tt.frr, ASN: 65001, Password: "secret", Announce: true},
			}, Raw: `
protocol static s4 { ipv4; route 192.0.2.0/24 blackhole; }
protocol static s6 { ipv6; route 2001:db8:1::/48 blackhole; }`})
			frr.Start()
			bird.Start()
			m := lab.MonitorRouter(frr)
			lab.WaitSession(frr, tt.bird, 30*time.Second)
			lab.WaitSession(bird, tt.frr, 30*time.Second)
			lab.WaitKernel(frr, 1, 10*time.Second, pfx("192.0.2.0/24"), pfx("2001:db8:1::/48"))
			table, err := frr.Table()
			if err != nil {
				t.Fatal(err)
			}
			for p, nh := range map[netip.Prefix]netip.Addr{pfx("192.0.2.0/24"): ip("10.0.0.2"), pfx("2001:db8:1::/48"): ip("fd00::2")} {
				if got := table[p]; !got.Best || got.ASPath != "65002" {
					t.Errorf("%s: %+v", p, got)
				} else if got.NextHop != nh {
					t.Errorf("%s: next hop %s, want %s", p, got.NextHop, nh)
				}
			}
			if _, err := bird.BIRDC("disable", "s4"); err != nil {
				t.Fatal(err)
			}
			lab.WaitKernel(frr, 0, 10*time.Second, pfx("192.0.2.0/24"))
			only4 := func(p netip.Prefix) bool { return p == pfx("192.0.2.0/24") }
			only6 := func(p netip.Prefix) bool { return p == pfx("2001:db8:1::/48") }
			if got := m.Deletes(time.Time{}, only4); len(got) != 1 {
				t.Errorf("kernel deletes: %v", got)
			}
			if got := m.Withdrawn(time.Time{}, only4); len(got) != 1 {
				t.Errorf("withdrawals: %v\n%s", got, frr.Log())
			}
			if got := m.Deletes(time.Time{}, only6); len(got) != 0 {
				t.Errorf("kernel deletes: %v", got)
			}
			bird.Kill()
			l.Eventually(10*time.Second, "session down", func() error {
				s, err := frr.Session(tt.bird)
				if err == nil && s.Established {
					return errors.New("still up")
				}
				return err
			})
			bird.Resume()
			lab.WaitSession(frr, tt.bird, 30*time.Second)
			bird.Stop()
			frr.Stop()
		})
	}
}
