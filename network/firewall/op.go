package firewall

import (
	"fmt"
	"slices"
	"strings"
)

// A Content is what our tables hold beside their layouts.
type Content struct {
	Elements []Element // sorted, without duplicates
	Lists    []List    // sorted by Name
}

// A List is a chain that is only jumped to and whose rules depend on what is
// wanted. Lists are in the table of family inet.
type List struct {
	Name  string
	Rules []Rule
}

// Sort makes c sorted and without duplicates.
func (c *Content) Sort() {
	slices.SortFunc(c.Elements, Element.Compare)
	c.Elements = slices.Compact(c.Elements)
	slices.SortFunc(c.Lists, List.compare)
}

// A Verb is what an Op does.
type Verb string

// The verbs.
const (
	AddElement Verb = "add element"
	DelElement Verb = "delete element"
	AddChain   Verb = "add chain"
	FlushChain Verb = "flush chain"
	DelChain   Verb = "delete chain"
	AddRule    Verb = "add rule"
)

// add appends rules.
func (l *List) add(texts ...string) {
	for _, text := range texts {
		l.Rules = append(l.Rules, newRule(l.Name, len(l.Rules), text))
	}
}

func (l List) compare(o List) int { return strings.Compare(l.Name, o.Name) }

// An Op changes one element, chain or rule. It prints as the nft(8) command
// that would make the same change.
type Op struct {
	Verb    Verb
	Element Element // of AddElement and DelElement
	Chain   string  // of the other verbs
	Rule    Rule    // of AddRule
}

// Family returns the family of the table that o changes.
func (o Op) Family() string {
	if o.Chain != "" {
		return Inet.Family
	}
	return FamilyOf(o.Element.Set)
}

func (o Op) String() string {
	head := fmt.Sprintf("nft %s %s %s ", o.Verb, o.Family(), Table)
	switch o.Verb {
	case AddElement, DelElement:
		return head + o.Element.String()
	case AddRule:
		return head + o.Chain + " " + o.Rule.Text
	case AddChain, FlushChain, DelChain:
	}
	return head + o.Chain
}

// Of returns the part of c that is in the table of a layout.
func (c Content) Of(l *Layout) Content {
	out := Content{Elements: slices.DeleteFunc(slices.Clone(c.Elements), func(e Element) bool { return FamilyOf(e.Set) != l.Family })}
	if l == Inet {
		out.Lists = c.Lists
	}
	return out
}

// Diff returns the operations that turn have into want. They are one
// transaction: deletions of elements come first, because an interval cannot be
// added while it overlaps another, and a key of a map not while it has another
// value; and chains go when nothing jumps to them any more. A chain whose
// rules differ is written anew.
func Diff(have, want Content) []Op {
	del, add := diffElements(have.Elements, want.Elements)
	ops := del
	news, changed, gone := diffLists(have.Lists, want.Lists)
	for _, l := range news {
		ops = append(ops, Op{Verb: AddChain, Chain: l.Name})
	}
	for _, l := range slices.Concat(changed, gone) {
		ops = append(ops, Op{Verb: FlushChain, Chain: l.Name})
	}
	for _, l := range slices.Concat(news, changed) {
		for _, r := range l.Rules {
			ops = append(ops, Op{Verb: AddRule, Chain: l.Name, Rule: r})
		}
	}
	for _, l := range gone {
		ops = append(ops, Op{Verb: DelChain, Chain: l.Name})
	}
	return append(ops, add...)
}

func diffElements(have, want []Element) (del, add []Op) {
	merge(have, want, Element.Compare, func(h, w *Element) {
		switch {
		case w == nil:
			del = append(del, Op{Verb: DelElement, Element: *h})
		case h == nil:
			add = append(add, Op{Verb: AddElement, Element: *w})
		}
	})
	return del, add
}

// diffLists tells the lists of want apart that are not there, those that are
// there with other rules, and those that are there and not wanted.
func diffLists(have, want []List) (news, changed, gone []List) {
	merge(have, want, List.compare, func(h, w *List) {
		switch {
		case w == nil:
			gone = append(gone, *h)
		case h == nil:
			news = append(news, *w)
		case !slices.EqualFunc(h.Rules, w.Rules, func(a, b Rule) bool { return a.Comment == b.Comment }):
			changed = append(changed, *w)
		}
	})
	return news, changed, gone
}

// merge calls visit for everything that is in one of two sorted slices or in
// both.
func merge[T any](have, want []T, compare func(a, b T) int, visit func(h, w *T)) {
	for len(have) > 0 || len(want) > 0 {
		c := -1
		switch {
		case len(have) == 0:
			c = 1
		case len(want) > 0:
			c = compare(have[0], want[0])
		}
		var h, w *T
		if c <= 0 {
			h, have = &have[0], have[1:]
		}
		if c >= 0 {
			w, want = &want[0], want[1:]
		}
		visit(h, w)
	}
}
