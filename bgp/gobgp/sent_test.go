package gobgp

import (
	"maps"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// TestSentTable compares a table with a map.
func TestSentTable(t *testing.T) {
	prefixes := []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("0.0.0.0/32"), netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("10.0.0.0/9"), netip.MustParsePrefix("255.255.255.255/32"), netip.MustParsePrefix("::/0"),
		netip.MustParsePrefix("::/32"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2001:db8::/64"),
	}
	rapid.Check(t, func(t *rapid.T) {
		table, model := newSentTable(), map[netip.Prefix]*attributes{}
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			p := rapid.SampledFrom(prefixes).Draw(t, "prefix")
			_, there := model[p]
			if rapid.Bool().Draw(t, "remove") {
				delete(model, p)
				if removed := table.remove(p); removed != there {
					t.Fatalf("remove(%s) = %t, want %t", p, removed, there)
				}
				continue
			}
			a := &attributes{}
			model[p] = a
			if added := table.set(p, a); added == there {
				t.Fatalf("set(%s) = %t, want %t", p, added, !there)
			}
		}
		if got := maps.Collect(table.all); !maps.Equal(got, model) || table.len() != len(model) {
			t.Fatalf("%v, want %v", got, model)
		}
	})
}
