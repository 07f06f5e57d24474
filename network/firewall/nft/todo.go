package nft

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"sigs.k8s.io/knftables"

	"netctl/network/firewall"
)

// A todo is what turns our tables into what is wanted.
type todo struct {
	del, add []*firewall.Layout // tables to remove, and to make
	ops      []firewall.Op
	changes  []change
	config   firewall.Config // all parts of which are there then; none unless whole
	whole    bool            // no part is left out
	blind    bool            // some table could not be listed, and is left alone
}

// A change is what becomes of a part.
type change struct {
	label         string
	before, after firewall.Content
	gone          bool
}

func (t *todo) empty() bool { return len(t.del)+len(t.add)+len(t.ops) == 0 }

// diff compares the tables with what is wanted. The error is about parts and
// tables that are left out.
func (f *Firewall) diff(ctx context.Context, want firewall.Config) (*todo, error) {
	if n, err := f.drain(); err != nil || n > 0 {
		f.dirty = true
	}
	if !f.dirty {
		return compare(f.have, nil, want)
	}
	f.have = empty()
	var errs []error
	got := map[string]*listing{}
	for _, l := range firewall.Layouts {
		listed, err := f.list(ctx, l)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got[l.Family], f.have.present[l.Family] = listed, listed != nil
	}
	t, err := compare(f.have, got, want)
	t.blind = len(errs) > 0
	return t, errors.Join(append(errs, err)...)
}

// compare compares a picture of the tables with what is wanted, or if there are
// listings the tables that have been listed. The error is about parts that are
// left out.
func compare(have picture, got map[string]*listing, want firewall.Config) (*todo, error) {
	t := &todo{}
	err := t.parts(have, want)
	before, after := t.contents(have)
	for _, l := range firewall.Layouts {
		listed, known := got[l.Family]
		if got != nil && !known {
			continue
		}
		needed, present := want.Needs(l), have.present[l.Family]
		there, wanted := before.Of(l), after.Of(l)
		switch {
		case !needed && present:
			t.del, there, wanted = append(t.del, l), firewall.Content{}, firewall.Content{}
		case needed && (!present || listed != nil && !listed.sound(l)):
			t.del, t.add, there = append(t.del, l), append(t.add, l), firewall.Content{}
		case listed != nil:
			there = listed.content
		}
		there.Sort()
		wanted.Sort()
		t.ops = append(t.ops, firewall.Diff(there, wanted)...)
	}
	return t, err
}

// parts finds out which parts change, and how. Those that are left out are
// named by the error, and taken to be gone.
func (t *todo) parts(have picture, want firewall.Config) error {
	now, then := want.Since(have.config) // of all when that is none
	labels := make(map[string]bool, len(now))
	var errs []error
	for _, p := range now {
		label := p.Label()
		content, err := p.Content()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		labels[label] = true
		if before, ok := have.parts[label]; !ok || !reflect.DeepEqual(before, content) {
			t.changes = append(t.changes, change{label: label, before: before, after: content})
		}
	}
	gone := func(label string) {
		if before, ok := have.parts[label]; ok && !labels[label] {
			t.changes = append(t.changes, change{label: label, before: before, gone: true})
			labels[label] = true
		}
	}
	for _, p := range then {
		gone(p.Label())
	}
	if !have.whole {
		for label := range have.parts {
			gone(label)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t.config, t.whole = want, true
	return nil
}

// contents returns what the parts that change have contributed and will, as
// far as they are the only ones to contribute it.
func (t *todo) contents(have picture) (before, after firewall.Content) {
	delta := map[firewall.Element]int{}
	for _, c := range t.changes {
		for _, e := range c.before.Elements {
			delta[e]--
		}
		for _, e := range c.after.Elements {
			delta[e]++
		}
		before.Lists, after.Lists = append(before.Lists, c.before.Lists...), append(after.Lists, c.after.Lists...)
	}
	for e, d := range delta {
		n := have.count[e]
		if n > 0 {
			before.Elements = append(before.Elements, e)
		}
		if n+d > 0 {
			after.Elements = append(after.Elements, e)
		}
	}
	return before, after
}

// commit makes a picture show what t has done.
func (t *todo) commit(p *picture) {
	for _, l := range t.del {
		p.present[l.Family] = false
	}
	for _, l := range t.add {
		p.present[l.Family] = true
	}
	for _, c := range t.changes {
		for _, e := range c.before.Elements {
			if p.count[e]--; p.count[e] == 0 {
				delete(p.count, e)
			}
		}
		for _, e := range c.after.Elements {
			p.count[e]++
		}
		if c.gone {
			delete(p.parts, c.label)
		} else {
			p.parts[c.label] = c.after
		}
	}
	p.config, p.whole = t.config, t.whole
}

// commands returns what t does as commands of nft(8).
func (t *todo) commands() []string {
	cs := []string{}
	for _, l := range t.del {
		if !slices.Contains(t.add, l) {
			cs = append(cs, "nft delete table "+l.Family+" "+firewall.Table)
		}
	}
	for _, l := range t.add {
		cs = append(cs, "nft add table "+l.Family+" "+firewall.Table)
	}
	for _, op := range t.ops {
		cs = append(cs, op.String())
	}
	return cs
}

// transaction returns what t does to the table of a layout, as one transaction;
// nil when that is nothing.
func (f *Firewall) transaction(t *todo, l *firewall.Layout) *knftables.Transaction {
	tx := f.nft.NewTransaction()
	if slices.Contains(t.del, l) {
		tx.Add(table(l)) // so that there is one to delete
		tx.Delete(table(l))
	}
	if slices.Contains(t.add, l) {
		tx.Add(table(l))
		for _, c := range l.Chains {
			tx.Add(chain(l, c))
		}
		for _, s := range l.Sets {
			tx.Add(set(l, s))
		}
		for _, r := range l.Rules {
			tx.Add(rule(l, r))
		}
	}
	for _, op := range t.ops {
		if op.Family() == l.Family {
			add(tx, l, op)
		}
	}
	if tx.NumOperations() == 0 {
		return nil
	}
	return tx
}

// add appends an operation to a transaction.
func add(tx *knftables.Transaction, l *firewall.Layout, op firewall.Op) {
	list := chain(l, firewall.Chain{Name: op.Chain})
	switch op.Verb {
	case firewall.AddElement:
		tx.Add(element(op))
	case firewall.DelElement:
		tx.Delete(element(op))
	case firewall.AddChain:
		tx.Add(list)
	case firewall.FlushChain:
		tx.Flush(list)
	case firewall.DelChain:
		tx.Delete(list)
	case firewall.AddRule:
		tx.Add(rule(l, op.Rule))
	}
}

// same reports whether two configurations want the same.
func same(a, b firewall.Config) bool {
	now, then := a.Since(b)
	return slices.EqualFunc(now, then, func(p, q firewall.Part) bool { return reflect.DeepEqual(p, q) })
}
