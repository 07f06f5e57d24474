package firewall

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// contents generates what tables may hold: elements with distinct keys, and
// lists.
func contents() *rapid.Generator[Content] {
	one := rapid.Custom(func(t *rapid.T) Element {
		return Element{
			Set:   rapid.SampledFrom([]string{"routed4", "snat4_before"}).Draw(t, "set"),
			Key:   rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"),
			Value: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "value"),
		}
	})
	list := rapid.Custom(func(t *rapid.T) List {
		l := List{Name: rapid.SampledFrom([]string{"a.x", "a.y", "a.z"}).Draw(t, "name")}
		for range rapid.IntRange(0, 2).Draw(t, "rules") {
			l.add(rapid.SampledFrom([]string{"accept", "drop"}).Draw(t, "text"))
		}
		return l
	})
	return rapid.Custom(func(t *rapid.T) Content {
		c := Content{
			Elements: rapid.SliceOfDistinct(one, func(e Element) string { return e.Set + e.Key }).Draw(t, "elements"),
			Lists:    rapid.SliceOfDistinct(list, func(l List) string { return l.Name }).Draw(t, "lists"),
		}
		c.Sort()
		return c
	})
}

// tables are elements by set and key, and the rules of chains.
type tables struct {
	elements map[string]string
	chains   map[string][]string
}

func tablesOf(c Content) tables {
	t := tables{map[string]string{}, map[string][]string{}}
	for _, e := range c.Elements {
		t.elements[e.Set+e.Key] = e.Value
	}
	for _, l := range c.Lists {
		t.chains[l.Name] = []string{}
		for _, r := range l.Rules {
			t.chains[l.Name] = append(t.chains[l.Name], r.Text)
		}
	}
	return t
}

// do does what nft would, and reports whether it can be done.
func (t tables) do(o Op) bool {
	k := o.Element.Set + o.Element.Key
	v, there := t.elements[k]
	rules, exists := t.chains[o.Chain]
	switch o.Verb {
	case AddElement:
		t.elements[k] = o.Element.Value
		return !there
	case DelElement:
		delete(t.elements, k)
		return there && v == o.Element.Value
	case AddChain:
		t.chains[o.Chain] = []string{}
		return !exists
	case FlushChain:
		t.chains[o.Chain] = []string{}
		return exists
	case DelChain:
		delete(t.chains, o.Chain)
		return exists && len(rules) == 0
	case AddRule:
		t.chains[o.Chain] = append(rules, o.Rule.Text)
		return exists && o.Rule.Chain == o.Chain
	}
	return false
}

func TestDiff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := contents().Draw(t, "have"), contents().Draw(t, "want")
		got := tablesOf(have)
		ops := Diff(have, want)
		for _, o := range ops {
			if !got.do(o) {
				t.Fatalf("%s would fail", o)
			}
		}
		if d := cmp.Diff(tablesOf(want), got, cmp.AllowUnexported(tables{})); d != "" {
			t.Fatalf("(-want +got)\n%s", d)
		}
		if ops := Diff(want, want); len(ops) != 0 {
			t.Fatalf("Diff(want, want) = %v", ops)
		}
		// What is the same on both sides is left alone.
		for _, o := range ops {
			if slices.Contains(have.Elements, o.Element) && slices.Contains(want.Elements, o.Element) {
				t.Fatalf("%s is for nothing", o)
			}
		}
	})
}
