package nft

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"netctl/network/firewall"
)

// A listing is one of our tables as it is. Its rules are without Text.
type listing struct {
	chains  []firewall.Chain // but those of the lists
	sets    []firewall.Set
	rules   []firewall.Rule // but those of the lists
	content firewall.Content
	strange bool // there is something that we never put there
}

// sound reports whether all but the content is as it should be.
func (l *listing) sound(fixed *firewall.Layout) bool {
	if l.strange || len(l.chains) != len(fixed.Chains) || len(l.sets) != len(fixed.Sets) {
		return false
	}
	for _, c := range fixed.Chains {
		if !slices.Contains(l.chains, c) {
			return false
		}
	}
	for _, s := range fixed.Sets {
		if !slices.ContainsFunc(l.sets, func(o firewall.Set) bool {
			return o.Name == s.Name && slices.Equal(o.Key, s.Key) && o.Value == s.Value && o.Interval == s.Interval // TypeOf is not listed
		}) {
			return false
		}
	}
	// Rules of one chain are listed in order; chains may come in any.
	byChain := func(rs []firewall.Rule) map[string][]string {
		m := map[string][]string{}
		for _, r := range rs {
			m[r.Chain] = append(m[r.Chain], r.Comment)
		}
		return m
	}
	want, got := byChain(fixed.Rules), byChain(l.rules)
	for c, comments := range want {
		if !slices.Equal(comments, got[c]) {
			return false
		}
	}
	return len(want) == len(got)
}

// list reads our table of a layout; nil when there is none.
func (f *Firewall) list(ctx context.Context, layout *firewall.Layout) (*listing, error) {
	cmd := exec.CommandContext(ctx, f.path, "--json", "list", "table", layout.Family, firewall.Table)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if strings.Contains(stderr.String(), "No such file or directory") {
			return nil, nil
		}
		return nil, fmt.Errorf("nft list table %s %s: %w: %s", layout.Family, firewall.Table, err, strings.TrimSpace(stderr.String()))
	}
	l, err := parse(stdout.Bytes())
	if err != nil {
		return nil, fmt.Errorf("nft list table %s %s: %w", layout.Family, firewall.Table, err)
	}
	return l, nil
}

// The entries of nft's listing; see libnftables-json(5).
type (
	tableObject struct{ Flags any }
	chainObject struct {
		Name, Type, Hook, Policy string
		Prio                     int
	}
	ruleObject struct{ Chain, Comment string }
	setObject  struct {
		Name  string
		Type  json.RawMessage // a string, or a list of strings
		Map   string
		Flags any // a string, or a list of strings
		Elem  []json.RawMessage
	}
)

// parse reads the output of nft --json list table.
func parse(b []byte) (*listing, error) {
	var doc struct{ Nftables []map[string]json.RawMessage }
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	l := &listing{}
	for _, m := range doc.Nftables {
		for kind, raw := range m {
			if err := l.take(kind, raw); err != nil {
				return nil, err
			}
		}
	}
	l.split()
	l.content.Sort()
	return l, nil
}

// split tells the chains and rules of lists from the others.
func (l *listing) split() {
	lists := map[string]*firewall.List{}
	l.chains = slices.DeleteFunc(l.chains, func(c firewall.Chain) bool {
		if c.Hook == "" && firewall.IsList(c.Name) {
			lists[c.Name] = &firewall.List{Name: c.Name}
		}
		return lists[c.Name] != nil
	})
	l.rules = slices.DeleteFunc(l.rules, func(r firewall.Rule) bool {
		list := lists[r.Chain]
		if list != nil {
			list.Rules = append(list.Rules, r)
		}
		return list != nil
	})
	for _, list := range lists {
		l.content.Lists = append(l.content.Lists, *list)
	}
}

// take adds one object to l.
func (l *listing) take(kind string, raw json.RawMessage) error {
	switch kind {
	case "metainfo":
	case "table":
		var t tableObject
		if err := json.Unmarshal(raw, &t); err != nil {
			return err
		}
		l.strange = l.strange || t.Flags != nil // dormant: switched off
	case "chain":
		var c chainObject
		if err := json.Unmarshal(raw, &c); err != nil {
			return err
		}
		l.strange = l.strange || c.Hook != "" && c.Policy != "accept"
		l.chains = append(l.chains, firewall.Chain{Name: c.Name, Type: c.Type, Hook: c.Hook, Priority: c.Prio})
	case "rule":
		var r ruleObject
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		l.rules = append(l.rules, firewall.Rule{Chain: r.Chain, Comment: r.Comment})
	case "set", "map":
		var s setObject
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		return l.set(&s)
	default:
		l.strange = true
	}
	return nil
}

// set adds a set and its elements to l.
func (l *listing) set(o *setObject) error {
	s := firewall.Set{Name: o.Name, Value: o.Map}
	if err := json.Unmarshal(o.Type, &s.Key); err != nil {
		s.Key = make([]string, 1)
		if err := json.Unmarshal(o.Type, &s.Key[0]); err != nil {
			return err
		}
	}
	flags := fmt.Sprint(o.Flags)
	s.Interval = strings.Trim(flags, "[]") == "interval"
	l.strange = l.strange || !s.Interval && o.Flags != nil
	l.sets = append(l.sets, s)
	if firewall.FamilyOf(s.Name) == "" {
		return nil
	}
	for _, raw := range o.Elem {
		e, err := parseElement(s, raw)
		l.strange = l.strange || err != nil
		l.content.Elements = append(l.content.Elements, e)
	}
	return nil
}
