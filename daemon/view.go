package daemon

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"netctl/db"
	"netctl/network"
	"netctl/network/link"
)

// A view is what the daemon knows: the latest snapshot of the store and the
// latest look at the host, and the Host that is derived from the two. It may
// be used by several goroutines.
type view struct {
	store   db.Store
	decoder *decoder
	look    func(ctx context.Context, peers []netip.Addr) (link.Observed, error)

	mu    sync.Mutex
	stale bool // the host has changed since seen
	seen  *network.Observed
	asked map[netip.Addr]bool        // the peers that seen covers
	known map[netip.Addr]link.Toward // the latest way to each peer that ever had one
	last  *network.Host
	from  struct {
		snapshot *network.Snapshot
		seen     *network.Observed
	}
}

func newView(store db.Store, d *decoder, look func(context.Context, []netip.Addr) (link.Observed, error)) *view {
	return &view{store: store, decoder: d, look: look, stale: true, seen: &network.Observed{}, known: map[netip.Addr]link.Toward{}}
}

// changed says that the host is not as it was last seen.
func (v *view) changed() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stale = true
}

// host returns what this member must realise, as of now.
func (v *view) host(ctx context.Context) (*network.Host, error) {
	objs, err := v.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	s, err := v.decoder.snapshot(objs)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.refresh(ctx, s.Peers(member)); err != nil {
		return nil, err
	}
	if v.last != nil && v.from.snapshot == s && v.from.seen == v.seen {
		return v.last, nil
	}
	h, err := network.Derive(s, v.seen, member)
	if err != nil {
		return nil, err
	}
	v.last, v.from.snapshot, v.from.seen = h, s, v.seen
	return h, nil
}

// observed returns the host as it is now.
func (v *view) observed(ctx context.Context) (*network.Observed, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.refresh(ctx, nil); err != nil {
		return nil, err
	}
	return v.seen, nil
}

// lastObserved returns the host as it was last seen.
func (v *view) lastObserved() *network.Observed {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen
}

// refresh looks at the host again when it has changed, or when peers are asked
// for that were not before.
func (v *view) refresh(ctx context.Context, peers []netip.Addr) error {
	fresh := !v.stale
	for _, p := range peers {
		fresh = fresh && v.asked[p]
	}
	if fresh {
		return nil
	}
	if peers == nil {
		for p := range v.asked {
			peers = append(peers, p)
		}
	}
	o, err := v.look(ctx, peers)
	if err != nil {
		return err
	}
	v.asked = make(map[netip.Addr]bool, len(peers))
	for _, p := range peers {
		v.asked[p] = true
		// A peer whose route has gone for now keeps the way that it had: its
		// session lives or dies by TCP, not by what we would choose today.
		if t, ok := o.Toward[p]; ok {
			v.known[p] = t
		} else if t, ok := v.known[p]; ok {
			o.Toward[p] = t
		}
	}
	v.stale = false
	if !same(o, v.seen.Observed) {
		v.seen = &network.Observed{Observed: o}
	}
	return nil
}

// same reports whether nothing that a Host is derived from has changed between
// two looks.
func same(a, b link.Observed) bool {
	seen := func(a, b *link.Seen) bool {
		return a == b || a.Alias == b.Alias && a.Up == b.Up && slices.Equal(a.Addrs, b.Addrs)
	}
	return maps.EqualFunc(a.Links, b.Links, seen) && slices.Equal(a.Routes, b.Routes) && maps.Equal(a.Toward, b.Toward)
}
