package firewall

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

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
inside4 { 10.0.0.0/24 . 10.0.0.0/24 }
inside6 { fd42::/64 . fd42::/64 }
snat4_before { 10.0.0.0/24 : 192.0.2.5 }
snat6_after { fd42::/64 : 2001:db8::5 }`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			es, err := tt.net.Elements()
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, e := range es {
				b.WriteString("\n" + e.String())
			}
			if d := cmp.Diff(tt.want, b.String()); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// Networks may translate to the same address, which is one element.
func TestTranslated(t *testing.T) {
	to := func(subnet, a string) Family {
		return Family{Subnet: prefix(subnet), Routing: true, NAT: true, NATAddr: addr(a)}
	}
	off := to("10.9.0.0/24", "192.0.2.9")
	off.NAT = false
	c := Config{Networks: []*Network{
		{Name: "br0", V4: to("10.0.0.0/24", "192.0.2.5"), V6: to("fd42::/64", "2001:db8::5")},
		{Name: "br1", V4: to("10.1.0.0/24", "192.0.2.5")},
		{Name: "br2", V4: off, V6: Family{NAT: true, NATAddr: addr("2001:db8::9")}},
	}}
	want := []Element{{Set: "translated4", Key: "192.0.2.5"}, {Set: "translated6", Key: "2001:db8::5"}}
	if d := cmp.Diff(want, c.Translated().Elements()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	all, err := c.Elements()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range want {
		if !slices.Contains(all, e) {
			t.Errorf("%s is missing", e)
		}
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
	es, err := Config{Networks: []*Network{{Name: `x" drop`, V4: f}, {Name: "br0", V4: f}}}.Elements()
	if err == nil || !strings.Contains(err.Error(), `network "x\" drop"`) {
		t.Errorf("err = %v", err)
	}
	if want := []Element{{Set: "filtered4", Key: `"br0"`}, {Set: "routed4", Key: `"br0"`}}; !slices.Equal(es, want) {
		t.Errorf("elements %v, want %v", es, want)
	}
}

// TestLayout holds the layout together: rules name what exists, and no two
// rules of a chain can be taken for each other.
func TestLayout(t *testing.T) {
	chains, sets, used := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, c := range Fixed.Chains {
		chains[c.Name] = true
	}
	for _, s := range Fixed.Sets {
		sets[s.Name] = true
	}
	comments := map[string]bool{}
	for _, r := range Fixed.Rules {
		if !chains[r.Chain] {
			t.Errorf("rule %q is in no chain", r.Text)
		}
		if comments[r.Comment] {
			t.Errorf("rule %q has the digest of another", r.Text)
		}
		comments[r.Comment] = true
		for word := range strings.FieldsSeq(r.Text) {
			name, ok := strings.CutPrefix(word, "@")
			if ok && !sets[name] {
				t.Errorf("rule %q: no set %s", r.Text, name)
			}
			used[name] = true
		}
	}
	for name := range sets {
		if !used[name] {
			t.Errorf("set %s is used by no rule", name)
		}
	}
	var b strings.Builder
	for _, r := range Fixed.Rules {
		b.WriteString(r.Chain + ": " + r.Text + "\n")
	}
	if d := cmp.Diff(rules, b.String()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// rules is what the layout does to packets.
const rules = `input: iifname != "lo" tcp dport @bgp_ports tcp flags & (fin | syn | rst | ack) == syn jump bgp
bgp: ip saddr @bgp_peers4 return
bgp: ip6 saddr @bgp_peers6 return
bgp: drop
forward: iifname . oifname @bridged accept
forward: ip daddr @translated4 drop
forward: ip6 daddr @translated6 drop
forward: meta nfproto ipv4 iifname @blocked4 drop
forward: meta nfproto ipv4 oifname @blocked4 drop
forward: meta nfproto ipv6 iifname @blocked6 drop
forward: meta nfproto ipv6 oifname @blocked6 drop
input: meta nfproto ipv4 iifname @filtered4 icmp type { destination-unreachable, echo-request, time-exceeded, parameter-problem } accept
input: meta nfproto ipv4 iifname @dhcp4 udp dport 67 accept
input: meta nfproto ipv4 iifname @dns4 meta l4proto { tcp, udp } th dport 53 accept
forward: meta nfproto ipv4 iifname @routed4 accept
forward: meta nfproto ipv4 oifname @routed4 accept
input: meta nfproto ipv6 iifname @filtered6 icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, mld-listener-report, mld-listener-done, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept
input: meta nfproto ipv6 iifname @dhcp6 udp dport 547 accept
input: meta nfproto ipv6 iifname @dns6 meta l4proto { tcp, udp } th dport 53 accept
forward: meta nfproto ipv6 iifname @routed6 accept
forward: meta nfproto ipv6 oifname @routed6 accept
nat_before: oifname "lo" return
nat_before: ip daddr { 224.0.0.0/4, 255.255.255.255 } return
nat_before: ip saddr . ip daddr @inside4 return
nat_before: ip saddr @masquerade4_before masquerade
nat_before: snat ip to ip saddr map @snat4_before
nat_before: ip6 daddr ff00::/8 return
nat_before: ip6 saddr . ip6 daddr @inside6 return
nat_before: ip6 saddr @masquerade6_before masquerade
nat_before: snat ip6 to ip6 saddr map @snat6_before
nat_after: oifname "lo" return
nat_after: ip daddr { 224.0.0.0/4, 255.255.255.255 } return
nat_after: ip saddr . ip daddr @inside4 return
nat_after: ip saddr @masquerade4_after masquerade
nat_after: snat ip to ip saddr map @snat4_after
nat_after: ip6 daddr ff00::/8 return
nat_after: ip6 saddr . ip6 daddr @inside6 return
nat_after: ip6 saddr @masquerade6_after masquerade
nat_after: snat ip6 to ip6 saddr map @snat6_after
`

func elements() *rapid.Generator[[]Element] {
	one := rapid.Custom(func(t *rapid.T) Element {
		return Element{
			Set:   rapid.SampledFrom([]string{"routed4", "snat4_before"}).Draw(t, "set"),
			Key:   rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"),
			Value: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "value"),
		}
	})
	return rapid.Custom(func(t *rapid.T) []Element {
		es := rapid.SliceOfDistinct(one, func(e Element) string { return e.Set + e.Key }).Draw(t, "elements")
		slices.SortFunc(es, Element.Compare)
		return es
	})
}

func TestDiff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := elements().Draw(t, "have"), elements().Draw(t, "want")
		got := map[string]string{}
		for _, e := range have {
			got[e.Set+e.Key] = e.Value
		}
		for _, o := range Diff(have, want) {
			k := o.Element.Set + o.Element.Key
			v, ok := got[k]
			switch {
			case o.Delete && (!ok || v != o.Element.Value), !o.Delete && ok:
				t.Fatalf("%s would fail", o)
			case o.Delete:
				delete(got, k)
			default:
				got[k] = o.Element.Value
			}
		}
		wanted := map[string]string{}
		for _, e := range want {
			wanted[e.Set+e.Key] = e.Value
		}
		if d := cmp.Diff(wanted, got); d != "" {
			t.Fatalf("(-want +got)\n%s", d)
		}
		if ops := Diff(want, want); len(ops) != 0 {
			t.Fatalf("Diff(want, want) = %v", ops)
		}
	})
}

// FuzzNetwork holds that no name can say anything to nft but itself.
func FuzzNetwork(f *testing.F) {
	for _, s := range []string{"br0", "br-1.x_y", "br*", `br"`, "br 0", "br0\n", "br\\", "é", ""} {
		f.Add(s)
	}
	fam := Family{Subnet: prefix("10.0.0.0/24"), Filter: true}
	f.Fuzz(func(t *testing.T, name string) {
		es, err := Network{Name: name, V4: fam}.Elements()
		if err != nil {
			return
		}
		for _, e := range es {
			for word := range strings.SplitSeq(e.Key, " . ") {
				if inner := strings.Trim(word, `"`); `"`+inner+`"` != word || inner != name || strings.ContainsAny(inner, "\"*\\ \t\r\n{}:,;#$") {
					t.Errorf("name %q becomes %s", name, e)
				}
			}
		}
	})
}
