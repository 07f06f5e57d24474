package firewall

import (
	"strings"
	"testing"
)

func TestForward(t *testing.T) {
	tcp := func(first, last uint16, target string, to, toLast uint16) Port {
		return Port{"tcp", first, last, addr(target), to, toLast}
	}
	for _, tt := range []struct {
		name string
		f    Forward
		want string
	}{
		{"without a target", Forward{Listen: addr("192.0.2.1")}, `
listens4 { 192.0.2.1 }`},
		{"of everything", Forward{Listen: addr("2001:db8::1"), Target: addr("fd42::5"), Subnet: prefix("fd42::/64")}, `
forward_rest6 { 2001:db8::1 : fd42::5 }
hairpin6 { fd42::/64 . fd42::/64 }
listens6 { 2001:db8::1 }`},
		{"of a port", Forward{Listen: addr("192.0.2.1"), Ports: []Port{tcp(80, 80, "10.0.0.5", 80, 80)}}, `
forward_port4 { 192.0.2.1 . tcp . 80 : 10.0.0.5 . 80 }
listens4 { 192.0.2.1 }`},
		{"of a range", Forward{Listen: addr("192.0.2.1"), Ports: []Port{tcp(1, 65535, "10.0.0.5", 1, 65535)}}, `
forward_range4 { 192.0.2.1 . tcp . 1-65535 : 10.0.0.5 }
listens4 { 192.0.2.1 }`},
		{"of a range to one port", Forward{Listen: addr("192.0.2.1"), Ports: []Port{tcp(80, 89, "10.0.0.5", 80, 80)}}, `
forward_into4 { 192.0.2.1 . tcp . 80-89 : 10.0.0.5 . 80 }
listens4 { 192.0.2.1 }`},
		{"of a range to another", Forward{Listen: addr("192.0.2.1"), Ports: []Port{tcp(65534, 65535, "10.0.0.5", 7, 8)}}, `
forward_port4 { 192.0.2.1 . tcp . 65534 : 10.0.0.5 . 7 }
forward_port4 { 192.0.2.1 . tcp . 65535 : 10.0.0.5 . 8 }
listens4 { 192.0.2.1 }`},
	} {
		t.Run(tt.name, func(t *testing.T) { listed(t, &tt.f, tt.want) })
	}
}

func TestBadForward(t *testing.T) {
	listen := addr("192.0.2.1")
	for _, tt := range []struct {
		f    Forward
		want string
	}{
		{Forward{}, `forward "invalid IP": not an address to listen on`},
		{Forward{Listen: addr("fe80::1%x")}, `forward "fe80::1%x": not an address to listen on`},
		{Forward{Listen: listen, Target: addr("fd42::5")}, "forward 192.0.2.1: fd42::5 is no target for it"},
		{Forward{Listen: addr("fd42::1"), Target: addr("fe80::1%x")}, "forward fd42::1: fe80::1%x is no target for it"},
		{Forward{Listen: listen, Ports: []Port{{Protocol: "sctp"}}}, `forward 192.0.2.1: protocol "sctp" has no ports`},
		{Forward{Listen: listen, Ports: []Port{{Protocol: "udp"}}}, "forward 192.0.2.1: invalid IP is no target for it"},
		{Forward{Listen: listen, Ports: []Port{{"udp", 2, 1, listen, 1, 1}}}, "ports 2-1 do not go to 1-1"},
		{Forward{Listen: listen, Ports: []Port{{"udp", 1, 2, listen, 1, 3}}}, "ports 1-2 do not go to 1-3"},
	} {
		if _, err := tt.f.Content(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.f, err, tt.want)
		}
	}
}

// TestSince holds that what is found to differ is a superset of what does, and
// little more.
func TestSince(t *testing.T) {
	f := func(a string) *Forward { return &Forward{Listen: addr(a)} }
	a, b, c, d := f("192.0.2.1"), f("192.0.2.2"), f("192.0.2.3"), f("192.0.2.4")
	again := f("192.0.2.2")
	n := &Network{Name: "br0"}
	speaker := &BGP{Port: 179}
	for _, tt := range []struct {
		name      string
		c, before Config
		now, then string
	}{
		{"all", Config{Forwards: []*Forward{a, b}, BGP: speaker}, Config{}, "bgp, forward 192.0.2.1, forward 192.0.2.2", ""},
		{"nothing", Config{Forwards: []*Forward{a, b}, Networks: []*Network{n}}, Config{Forwards: []*Forward{a, b}, Networks: []*Network{n}}, "", ""},
		{"one more", Config{Forwards: []*Forward{a, b, c, d}}, Config{Forwards: []*Forward{a, b, d}}, "forward 192.0.2.3", ""},
		{"one less", Config{Forwards: []*Forward{b, c}}, Config{Forwards: []*Forward{a, b, c}}, "", "forward 192.0.2.1"},
		{"another", Config{Forwards: []*Forward{a, again, c}}, Config{Forwards: []*Forward{a, b, c}}, "forward 192.0.2.2", "forward 192.0.2.2"},
		{"none left", Config{}, Config{Networks: []*Network{n}, BGP: speaker}, "", "bgp, network br0"},
	} {
		labels := func(ps []Part) string {
			var out []string
			for _, p := range ps {
				out = append(out, p.Label())
			}
			return strings.Join(out, ", ")
		}
		now, then := tt.c.Since(tt.before)
		if labels(now) != tt.now || labels(then) != tt.then {
			t.Errorf("%s: %s and %s, want %s and %s", tt.name, labels(now), labels(then), tt.now, tt.then)
		}
	}
}
