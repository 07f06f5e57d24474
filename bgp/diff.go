package bgp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
)

// Changes are what turns one Config into another. The zero Changes turns a
// Config into itself.
type Changes struct {
	// Global is set when ASN, RouterID or RestartTime differ, which takes new
	// sessions with everybody.
	Global bool
	Listen bool // other addresses to listen on

	SetPaths []Path         // new, or different from the path of the same prefix; sorted
	DelPaths []netip.Prefix // no longer announced; sorted
	AddPeers []Peer         // new; sorted
	SetPeers []PeerChange   // different from the peer of the same address; sorted
	DelPeers []netip.Addr   // gone; sorted
}

// A PeerChange is a peer whose configuration changed.
type PeerChange struct{ Have, Want Peer }

// Diff returns what turns have into want. Both are valid (see
// [Config.Validate]). It walks both sides once: paths that are the same pointers
// cost hardly more than that, and no memory.
func Diff(have, want Config) Changes {
	return diff(have, want, func(int) {})
}

// Next is Diff of a want of which it is not known whether it is valid, and the
// error of [Config.Validate]. It looks at what differs from have alone, which
// is valid: one path that comes to 50,000 costs little more than finding it.
func Next(have, want Config) (Changes, error) {
	if want.ASN == 0 {
		return Diff(have, want), nil
	}
	errs := want.validateHead()
	c := diff(have, want, func(i int) {
		errs = append(errs, want.validatePath(i)...)
		// The one behind it may be one that have has too.
		if i+1 < len(want.Paths) && ComparePrefix(want.Paths[i].Prefix, want.Paths[i+1].Prefix) >= 0 {
			errs = append(errs, outOfOrder(want.Paths[i+1].Prefix))
		}
	})
	return c, errors.Join(errs...)
}

// diff is Diff that calls set with the index of each of the SetPaths in want.
func diff(have, want Config, set func(i int)) Changes {
	c := Changes{
		Global: have.ASN != want.ASN || have.RouterID != want.RouterID || have.RestartTime != want.RestartTime,
		Listen: !slices.Equal(have.Listen, want.Listen),
	}
	c.SetPaths = slices.Grow(c.SetPaths, max(0, len(want.Paths)-len(have.Paths)))
	merge(have.Paths, want.Paths,
		func(a, b **Path) bool { return *a == *b || **a == **b },
		func(a, b **Path) int { return ComparePrefix((*a).Prefix, (*b).Prefix) },
		func(gone **Path) { c.DelPaths = append(c.DelPaths, (*gone).Prefix) },
		func(_ **Path, i int) {
			c.SetPaths = append(c.SetPaths, *want.Paths[i])
			set(i)
		})
	merge(have.Peers, want.Peers,
		func(a, b *Peer) bool { return *a == *b },
		func(a, b *Peer) int { return a.Addr.Compare(b.Addr) },
		func(gone *Peer) { c.DelPeers = append(c.DelPeers, gone.Addr) },
		func(old *Peer, i int) {
			if old == nil {
				c.AddPeers = append(c.AddPeers, want.Peers[i])
			} else {
				c.SetPeers = append(c.SetPeers, PeerChange{*old, want.Peers[i]})
			}
		})
	return c
}

// merge walks two sorted lists and calls gone for what is only in have, and set
// with the index of what is only in want (with a nil first argument) or differs.
func merge[T any](have, want []T, same func(a, b *T) bool, compare func(a, b *T) int, gone func(*T), set func(old *T, i int)) {
	i, j := 0, 0
	for i < len(have) && j < len(want) {
		h, w := &have[i], &want[j]
		if same(h, w) {
			i, j = i+1, j+1
			continue
		}
		switch n := compare(h, w); {
		case n < 0:
			gone(h)
			i++
		case n > 0:
			set(nil, j)
			j++
		default:
			set(h, j)
			i, j = i+1, j+1
		}
	}
	for ; i < len(have); i++ {
		gone(&have[i])
	}
	for ; j < len(want); j++ {
		set(nil, j)
	}
}

// Empty reports whether there is nothing to change.
func (c Changes) Empty() bool {
	return !c.Global && !c.Listen && len(c.SetPaths)+len(c.DelPaths)+len(c.AddPeers)+len(c.SetPeers)+len(c.DelPeers) == 0
}

// String lists the changes, one on a line, in the order in which a speaker
// makes them.
func (c Changes) String() string {
	var b strings.Builder
	if c.Global {
		b.WriteString("restart all sessions\n")
	}
	if c.Listen {
		b.WriteString("listen elsewhere\n")
	}
	for _, p := range c.SetPaths {
		fmt.Fprintf(&b, "announce %s\n", p)
	}
	for _, p := range c.DelPaths {
		fmt.Fprintf(&b, "withdraw %s\n", p)
	}
	for _, a := range c.DelPeers {
		fmt.Fprintf(&b, "delete peer %s\n", a)
	}
	for _, p := range c.SetPeers {
		fmt.Fprintf(&b, "change peer %s\n", p.Want.Addr)
	}
	for _, p := range c.AddPeers {
		fmt.Fprintf(&b, "add peer %s as %d\n", p.Addr, p.ASN)
	}
	return b.String()
}

// few is how many changes a log record lists.
const few = 20

// LogValue is String, or only the numbers when there are many changes.
func (c Changes) LogValue() slog.Value {
	if n := len(c.SetPaths) + len(c.DelPaths) + len(c.AddPeers) + len(c.SetPeers) + len(c.DelPeers); n > few {
		return slog.StringValue(fmt.Sprintf("announce %d, withdraw %d, add %d peers, change %d, delete %d",
			len(c.SetPaths), len(c.DelPaths), len(c.AddPeers), len(c.SetPeers), len(c.DelPeers)))
	}
	return slog.StringValue(strings.ReplaceAll(strings.TrimSpace(c.String()), "\n", "; "))
}

// String describes the path.
func (p Path) String() string {
	s := p.Prefix.String()
	if p.NextHop.IsValid() {
		s += " via " + p.NextHop.String()
	}
	return s + " to " + p.Peers.String()
}
