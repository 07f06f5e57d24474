package firewall

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// listed holds that the elements of a part are those of a list, one for each
// line.
func listed(t *testing.T, p Part, want string) {
	t.Helper()
	c, err := p.Content()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range c.Elements {
		b.WriteString("\n" + e.String())
	}
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestElements(t *testing.T) {
	v4 := Family{Subnet: prefix("10.0.0.0/24"), Filter: true, Routing: true, DHCP: true}
	v6 := Family{Subnet: prefix("fd42::/64"), Filter: true, Routing: true, DHCP: true}
	with := func(f Family, change func(*Family)) Family { change(&f); return f }
	tests := []struct {
		name string
		net  Network
		want string
	}{
		{
			name: "what a plain network needs is accepted",
			net:  Network{Name: "br0", V4: v4, V6: v6, DNS: true},
			want: `
dhcp4 { "br0" }
dhcp6 { "br0" }
dns4 { "br0" }
dns6 { "br0" }
filtered4 { "br0" }
filtered6 { "br0" }
routed4 { "br0" }
routed6 { "br0" }`,
		},
		{
			name: "a family without a subnet has no rules",
			net:  Network{Name: "br0", V6: Family{Filter: true, NAT: true}},
		},
		{
			name: "without firewall nothing is accepted, but it is translated",
			net:  Network{Name: "br0", DNS: true, V4: with(v4, func(f *Family) { f.Filter, f.NAT = false, true })},
			want: `
home4 { 10.0.0.0/24 . "br0" }
inside4 { 10.0.0.0/24 . 10.0.0.0/24 }
masquerade4_before { 10.0.0.0/24 }`,
		},
		{
			name: "without routing nothing is forwarded, but frames between ports are",
			net:  Network{Name: "br0", V4: with(v4, func(f *Family) { f.Routing, f.Filter = false, false })},
			want: `
blocked4 { "br0" }
bridged { "br0" . "br0" }`,
		},
		{
			name: "the network's routes are not elsewhere; those inside others are left out",
			net: Network{Name: "br0", V4: Family{
				Subnet: prefix("10.0.0.0/24"), Routing: true, NAT: true, After: true,
				Routes: []netip.Prefix{
					prefix("10.0.0.128/25"), prefix("192.168.0.0/16"), prefix("192.168.7.0/24"), prefix("203.0.113.9/32"),
				},
			}},
			want: `
home4 { 10.0.0.0/24 . "br0" }
inside4 { 10.0.0.0/24 . 10.0.0.0/24 }
inside4 { 10.0.0.0/24 . 192.168.0.0/16 }
inside4 { 10.0.0.0/24 . 203.0.113.9 }
masquerade4_after { 10.0.0.0/24 }`,
		},
		{
			name: "translation to an address",
			net: Network{
				Name: "br0",
				V4:   Family{Subnet: prefix("10.0.0.0/24"), Routing: true, NAT: true, NATAddr: addr("192.0.2.5")},
				V6:   Family{Subnet: prefix("fd42::/64"), Routing: true, NAT: true, NATAddr: addr("2001:db8::5"), After: true},
			},
			want: `
home4 { 10.0.0.0/24 . "br0" }
home6 { fd42::/64 . "br0" }
inside4 { 10.0.0.0/24 . 10.0.0.0/24 }
inside6 { fd42::/64 . fd42::/64 }
snat4_before { 10.0.0.0/24 : 192.0.2.5 }
snat6_after { fd42::/64 : 2001:db8::5 }
translated4 { 192.0.2.5 }
translated6 { 2001:db8::5 }`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			listed(t, &tt.net, tt.want)
		})
	}
}

// Networks may translate to the same address, which is one element.
func TestShared(t *testing.T) {
	to := func(subnet, a string) Family {
		return Family{Subnet: prefix(subnet), Routing: true, NAT: true, NATAddr: addr(a)}
	}
	off := to("10.9.0.0/24", "192.0.2.9")
	off.NAT = false
	all, err := Config{Networks: []*Network{
		{Name: "br0", V4: to("10.0.0.0/24", "192.0.2.5"), V6: to("fd42::/64", "2001:db8::5")},
		{Name: "br1", V4: to("10.1.0.0/24", "192.0.2.5")},
		{Name: "br2", V4: off, V6: Family{NAT: true, NATAddr: addr("2001:db8::9")}},
	}}.Content()
	if err != nil {
		t.Fatal(err)
	}
	got := slices.DeleteFunc(all.Elements, func(e Element) bool { return !strings.HasPrefix(e.Set, "translated") })
	want := []Element{{Set: "translated4", Key: "192.0.2.5"}, {Set: "translated6", Key: "2001:db8::5"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestBGPElements(t *testing.T) {
	if es := (*BGP)(nil).Elements(); len(es) != 0 {
		t.Errorf("without a speaker: %v", es)
	}
	b := &BGP{Port: 1179, Peers: []netip.Addr{addr("192.0.2.1"), addr("2001:db8::1"), addr("fe80::1%eth0"), addr("fe80::1%eth1")}}
	want := []Element{
		{Set: "bgp_peers4", Key: "192.0.2.1"},
		{Set: "bgp_peers6", Key: "2001:db8::1"},
		{Set: "bgp_peers6", Key: "fe80::1"},
		{Set: "bgp_ports", Key: "1179"},
	}
	if d := cmp.Diff(want, b.Elements()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// TestElementsOfOthers holds that a network with a bad name is left out and
// named, and the others are there.
func TestElementsOfOthers(t *testing.T) {
	f := Family{Subnet: prefix("10.0.0.0/24"), Filter: true, Routing: true}
	c, err := Config{Networks: []*Network{{Name: `x" drop`, V4: f}, {Name: "br0", V4: f}}}.Content()
	if err == nil || !strings.Contains(err.Error(), `network "x\" drop"`) {
		t.Errorf("err = %v", err)
	}
	if want := []Element{{Set: "filtered4", Key: `"br0"`}, {Set: "routed4", Key: `"br0"`}}; !slices.Equal(c.Elements, want) {
		t.Errorf("elements %v, want %v", c.Elements, want)
	}
}

// FuzzNetwork holds that no name can say anything to nft but itself.
func FuzzNetwork(f *testing.F) {
	for _, s := range []string{"br0", "br-1.x_y", "br*", `br"`, "br 0", "br0\n", "br\\", "é", ""} {
		f.Add(s)
	}
	fam := Family{Subnet: prefix("10.0.0.0/24"), Filter: true}
	f.Fuzz(func(t *testing.T, name string) {
		c, err := (&Network{Name: name, V4: fam}).Content()
		if err != nil {
			return
		}
		for _, e := range c.Elements {
			for word := range strings.SplitSeq(e.Key, " . ") {
				if inner := strings.Trim(word, `"`); `"`+inner+`"` != word || inner != name || strings.ContainsAny(inner, "\"*\\ \t\r\n{}:,;#$") {
					t.Errorf("name %q becomes %s", name, e)
				}
			}
		}
	})
}
