package nft

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netctl/network/firewall"
)

// listed is a listing of nft 1.0.6 with a few sets and a rule.
const listed = `{"nftables": [
{"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}},
{"table": {"family": "inet", "name": "netctl", "handle": 1}},
{"set": {"family": "inet", "name": "bgp_ports", "table": "netctl", "type": "inet_service", "handle": 4, "elem": [179]}},
{"set": {"family": "inet", "name": "routed4", "table": "netctl", "type": "ifname", "handle": 5, "elem": ["br0", "br-1.x"]}},
{"set": {"family": "inet", "name": "bridged", "table": "netctl", "type": ["ifname", "ifname"], "handle": 5, "elem": [{"concat": ["br0", "br0"]}]}},
{"set": {"family": "inet", "name": "inside4", "table": "netctl", "type": ["ipv4_addr", "ipv4_addr"], "handle": 6, "flags": ["interval"], "elem": [{"concat": [{"prefix": {"addr": "10.0.0.0", "len": 24}}, "192.168.1.1"]}]}},
{"map": {"family": "inet", "name": "snat6_before", "table": "netctl", "type": "ipv6_addr", "handle": 10, "map": "ipv6_addr", "flags": ["interval"], "elem": [[{"prefix": {"addr": "fd43::", "len": 64}}, "2001:db8::1"]]}},
{"map": {"family": "inet", "name": "forward_range4", "table": "netctl", "type": ["ipv4_addr", "inet_proto", "inet_service"], "handle": 4, "map": "ipv4_addr", "flags": ["interval"], "elem": [[{"concat": ["203.0.113.1", "tcp", {"range": [90, 100]}]}, "10.0.0.5"]]}},
{"map": {"family": "inet", "name": "forward_port4", "table": "netctl", "type": ["ipv4_addr", "inet_proto", "inet_service"], "handle": 3, "map": "ipv4_addr . inet_service", "elem": [[{"concat": ["203.0.113.1", "udp", 80]}, {"concat": ["10.0.0.5", 8080]}]]}},
{"chain": {"family": "inet", "table": "netctl", "name": "nat_after", "handle": 2, "type": "nat", "hook": "postrouting", "prio": 105, "policy": "accept"}},
{"chain": {"family": "inet", "table": "netctl", "name": "bgp", "handle": 4}},
{"rule": {"family": "inet", "table": "netctl", "chain": "bgp", "handle": 12, "comment": "abc", "expr": [{"drop": null}]}}
]}`

func TestParse(t *testing.T) {
	l, err := parse([]byte(listed))
	if err != nil {
		t.Fatal(err)
	}
	if l.strange {
		t.Error("strange")
	}
	want := []firewall.Element{
		{Set: "bgp_ports", Key: "179"},
		{Set: "bridged", Key: `"br0" . "br0"`},
		{Set: "forward_port4", Key: "203.0.113.1 . udp . 80", Value: "10.0.0.5 . 8080"},
		{Set: "forward_range4", Key: "203.0.113.1 . tcp . 90-100", Value: "10.0.0.5"},
		{Set: "inside4", Key: "10.0.0.0/24 . 192.168.1.1"},
		{Set: "routed4", Key: `"br-1.x"`},
		{Set: "routed4", Key: `"br0"`},
		{Set: "snat6_before", Key: "fd43::/64", Value: "2001:db8::1"},
	}
	if d := cmp.Diff(want, l.content.Elements); d != "" {
		t.Errorf("elements (-want +got)\n%s", d)
	}
	chains := []firewall.Chain{{Name: "nat_after", Type: "nat", Hook: "postrouting", Priority: 105}, {Name: "bgp"}}
	if d := cmp.Diff(chains, l.chains); d != "" {
		t.Errorf("chains (-want +got)\n%s", d)
	}
	if !slices.ContainsFunc(l.sets, func(s firewall.Set) bool {
		return s.Name == "snat6_before" && s.Interval && s.Value == "ipv6_addr" && slices.Equal(s.Key, []string{"ipv6_addr"})
	}) {
		t.Errorf("sets %+v", l.sets)
	}
	if d := cmp.Diff([]firewall.Rule{{Chain: "bgp", Comment: "abc"}}, l.rules); d != "" {
		t.Errorf("rules (-want +got)\n%s", d)
	}
}

// TestParseStrange holds that what we would never put there is noticed.
func TestParseStrange(t *testing.T) {
	for _, tt := range []struct{ name, from, to string }{
		{"a dormant table", `"name": "netctl", "handle": 1`, `"name": "netctl", "handle": 1, "flags": ["dormant"]`},
		{"another policy", `"policy": "accept"`, `"policy": "drop"`},
		{"a set with timeouts", `"type": "ifname", "handle": 5`, `"type": "ifname", "handle": 5, "flags": ["timeout"]`},
		{"an element with a timeout", `"br-1.x"]`, `{"elem": {"val": "br-1.x", "timeout": 9}}]`},
		{"a range", `{"prefix": {"addr": "10.0.0.0", "len": 24}}`, `{"range": ["10.0.0.1", "10.0.0.9"]}`},
		{"a counter", `{"metainfo"`, `{"counter": {"family": "inet", "name": "c", "table": "netctl"}}, {"metainfo"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(listed, tt.from, tt.to, 1)
			if text == listed {
				t.Fatal("nothing replaced")
			}
			l, err := parse([]byte(text))
			if err != nil || !l.strange {
				t.Errorf("strange %v, err %v", l != nil && l.strange, err)
			}
		})
	}
}

func TestSound(t *testing.T) {
	whole := func() *listing {
		f := firewall.Inet
		return &listing{chains: slices.Clone(f.Chains), sets: slices.Clone(f.Sets), rules: slices.Clone(f.Rules)}
	}
	if !whole().sound(firewall.Inet) {
		t.Fatal("our own table is not sound")
	}
	for name, spoil := range map[string]func(*listing){
		"a rule less":          func(l *listing) { l.rules = l.rules[1:] },
		"a rule more":          func(l *listing) { l.rules = append(l.rules, firewall.Rule{Chain: "input"}) },
		"a rule elsewhere":     func(l *listing) { l.rules = append(l.rules, firewall.Rule{Chain: "other"}) },
		"another rule":         func(l *listing) { l.rules[3].Comment = "" },
		"rules in other order": func(l *listing) { slices.Reverse(l.rules) },
		"a chain less":         func(l *listing) { l.chains = l.chains[1:] },
		"another priority":     func(l *listing) { l.chains[0].Priority = 7 },
		"a set more":           func(l *listing) { l.sets = append(l.sets, firewall.Set{Name: "x"}) },
		"another set":          func(l *listing) { l.sets[0].Key = []string{"mark"} },
		"something strange":    func(l *listing) { l.strange = true },
	} {
		l := whole()
		spoil(l)
		if l.sound(firewall.Inet) {
			t.Errorf("%s is sound", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(listed))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := parse(b); err == nil {
			l.sound(firewall.Inet)
		}
	})
}
