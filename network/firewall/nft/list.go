package nft

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"netctl/network/firewall"
)

// A listing is our table as it is.
type listing struct {
	chains   []firewall.Chain
	sets     []firewall.Set
	rules    []firewall.Rule // without Text
	elements []firewall.Element
	strange  bool // there is something that we never put there
}

// sound reports whether all but the elements is as it should be.
func (l *listing) sound() bool {
	fixed := firewall.Fixed
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
			return o.Name == s.Name && slices.Equal(o.Key, s.Key) && o.Value == s.Value && o.Interval == s.Interval
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

// list reads our table; nil when there is none.
func (f *Firewall) list(ctx context.Context) (*listing, error) {
	cmd := exec.CommandContext(ctx, f.path, "--json", "list", "table", "inet", firewall.Table)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if strings.Contains(stderr.String(), "No such file or directory") {
			return nil, nil
		}
		return nil, fmt.Errorf("nft list table inet %s: %w: %s", firewall.Table, err, strings.TrimSpace(stderr.String()))
	}
	l, err := parse(stdout.Bytes())
	if err != nil {
		return nil, fmt.Errorf("nft list table inet %s: %w", firewall.Table, err)
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
	slices.SortFunc(l.elements, firewall.Element.Compare)
	return l, nil
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
	if _, ours := kinds[s.Name]; !ours {
		return nil
	}
	for _, raw := range o.Elem {
		e, err := parseElement(s, raw)
		l.strange = l.strange || err != nil
		l.elements = append(l.elements, e)
	}
	return nil
}

// parseElement reads one element in the form that firewall gives it.
func parseElement(s firewall.Set, raw json.RawMessage) (firewall.Element, error) {
	e := firewall.Element{Set: s.Name}
	if s.Value != "" {
		var pair [2]json.RawMessage
		if err := json.Unmarshal(raw, &pair); err != nil {
			return e, err
		}
		v, err := parseKey(pair[1])
		if err != nil {
			return e, err
		}
		e.Value, raw = v, pair[0]
	}
	var c struct{ Concat []json.RawMessage }
	parts := []json.RawMessage{raw}
	if json.Unmarshal(raw, &c) == nil && len(c.Concat) > 0 {
		parts = c.Concat
	}
	keys := make([]string, len(parts))
	for i, p := range parts {
		k, err := parseKey(p)
		if err != nil {
			return e, err
		}
		if i < len(s.Key) && s.Key[i] == "ifname" {
			k = `"` + k + `"`
		}
		keys[i] = k
	}
	e.Key = strings.Join(keys, " . ")
	return e, nil
}

// parseKey reads a string, a number or a prefix. Other things, such as a
// range or an element with a counter, we never put into a set.
func parseKey(raw json.RawMessage) (string, error) {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		if a, err := netip.ParseAddr(s); err == nil {
			return a.String(), nil
		}
		return s, nil
	}
	var n uint16
	if json.Unmarshal(raw, &n) == nil {
		return strconv.Itoa(int(n)), nil
	}
	var o struct {
		Prefix struct {
			Addr netip.Addr
			Len  int
		}
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return "", err
	}
	p := netip.PrefixFrom(o.Prefix.Addr, o.Prefix.Len)
	if !p.IsValid() {
		return "", fmt.Errorf("not one of our elements: %s", raw)
	}
	return p.String(), nil
}
