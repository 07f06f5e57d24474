package config

import (
	"slices"
	"strings"
)

// Names returns the keys that start with prefix, sorted, for completion. A key
// with a name of the user's choice ends before that name until prefix has one:
// "bgp.p" gives "bgp.peers.", and "bgp.peers.tor.a" gives
// "bgp.peers.tor.address" and "bgp.peers.tor.asn". Keys that the daemon sets
// are left out.
func (s *Schema[T]) Names(prefix string) []string {
	var out []string
	for name, e := range s.plain {
		if strings.HasPrefix(name, prefix) && !e.Internal {
			out = append(out, name)
		}
	}
	for _, e := range s.named {
		rest, chosen := strings.CutPrefix(prefix, e.prefix)
		name, tail, complete := strings.Cut(rest, ".")
		switch {
		case chosen && complete && name != "" && strings.HasPrefix(e.suffix, "."+tail):
			out = append(out, e.prefix+name+e.suffix)
		case !chosen && strings.HasPrefix(e.prefix, prefix):
			out = append(out, e.prefix)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Values returns the values that key can have when they are few, for
// completion.
func (s *Schema[T]) Values(key string) []string {
	k, _ := s.Lookup(key)
	return k.Values
}

// nearest returns the key that was probably meant by a misspelt one, or
// nothing when no key is near.
func (s *Schema[T]) nearest(key string) string {
	best, limit := "", max(1, len(key)/5)+1
	consider := func(name string) {
		if d := distance(key, name, limit); d < limit {
			best, limit = name, d
		}
	}
	elements := strings.Split(key, ".")
	for i := range s.entries {
		e := &s.entries[i]
		if e.prefix == e.Name {
			consider(e.Name)
			continue
		}
		// The user's own name stands in the suggestion.
		if at := strings.Count(e.prefix, "."); at < len(elements) && checkChosen(elements[at]) == nil {
			consider(e.prefix + elements[at] + e.suffix)
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with
// the next one to turn a into b (optimal string alignment). It may return any
// number from limit on when the distance is at least limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
