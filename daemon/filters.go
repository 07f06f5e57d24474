package daemon

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"netctl/network"
	"netctl/network/firewall"
)

// filters keep what comes from NICs filtered from before their links are up
// until after they are gone.
type filters struct {
	tried *firewall.Config // what the packet filter was last told to do; nil at first
}

// filterBound is how long the links wait for the filters of their NICs. When
// these take longer, or go wrong, they are tried again after the links, and an
// instance that was to start does not.
const filterBound = 2 * time.Second

// filterFirst has the packet filter know the NICs of h, and still those that go,
// before the links of h are made, when filters come or change. All else of it
// follows the links.
func (d *Daemon) filterFirst(ctx context.Context, h *network.Host) {
	next := h.Firewall
	if was := d.filters.tried; was != nil {
		if !filtersCome(was.NICs, next.NICs) {
			return
		}
		next = *was
		next.NICs = bothNICs(was.NICs, h.Firewall.NICs)
	}
	ctx, cancel := context.WithTimeout(ctx, filterBound)
	defer cancel()
	if err := d.parts.Firewall.Apply(ctx, next); err != nil {
		d.log.Debug("links do not wait for the packet filter", "err", err) // the next Apply tells
	}
}

// filter makes the packet filter what h says, links being as they should be.
func (d *Daemon) filter(ctx context.Context, h *network.Host) error {
	d.filters.tried = &h.Firewall
	return d.parts.Firewall.Apply(ctx, h.Firewall)
}

// filtersCome reports whether want has a filtered NIC that was does not have as it
// is. Both are sorted by owner and share what has not changed.
func filtersCome(was, want []*firewall.NIC) bool {
	for _, n := range want {
		for len(was) > 0 && was[0].Owner < n.Owner {
			was = was[1:]
		}
		if n.Filtered() && (len(was) == 0 || was[0] != n) {
			return true
		}
	}
	return false
}

// bothNICs returns the NICs of want, and those of was that have another
// interface or none in want; both are sorted by owner, and so is the result.
func bothNICs(was, want []*firewall.NIC) []*firewall.NIC {
	out := slices.Clone(want)
	for _, w := range was {
		i, found := slices.BinarySearchFunc(want, w.Owner, func(n *firewall.NIC, owner string) int { return strings.Compare(n.Owner, owner) })
		if found && want[i].Dev == w.Dev {
			continue
		}
		if found {
			old := *w
			old.Owner += " as " + w.Dev
			w = &old
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b *firewall.NIC) int { return cmp.Compare(a.Owner, b.Owner) })
	return out
}
