package daemon

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"netctl/db"
	"netctl/network"
	"netctl/network/link"
)

// A view is what the daemon knows: the latest snapshot of the store and the
// latest look at the host, and the Host that is derived from the two. It may
// be used by several goroutines.
//
// The kernel can hold up a look for many seconds, and nobody waits for that
// whom an older one serves: see refresh.
type view struct {
	store   db.Store
	decoder *decoder
	look    func(ctx context.Context, peers []netip.Addr) (link.Observed, error)
	looked  func() // called when a look has ended that somebody went on without, or has led to other routes

	mu      sync.Mutex
	stale   bool // the host has changed since the latest look began
	sighted bool // the latest look that has ended went well
	looking *looking
	begun   int  // how many looks have begun
	ended   int  // the latest of them that has ended well
	missed  bool // somebody went on without the look that is being taken
	seen    *network.Observed
	asked   map[netip.Addr]bool        // the peers that seen covers
	known   map[netip.Addr]link.Toward // the latest way to each peer that ever had one
	last    *network.Host
	from    struct {
		snapshot *network.Snapshot
		seen     *network.Observed
	}
}

// A looking is a look at the host that is being taken.
type looking struct {
	done chan struct{}
	err  error // to be read once done is closed
}

// How long a look is waited for when an older one serves.
const (
	glance = 100 * time.Millisecond // by the loops, and to answer questions
	check  = time.Second            // to check a write against
)

func newView(store db.Store, d *decoder, look func(context.Context, []netip.Addr) (link.Observed, error), looked func()) *view {
	return &view{store: store, decoder: d, look: look, looked: looked, stale: true, seen: &network.Observed{}, known: map[netip.Addr]link.Toward{}}
}

// changed says that the host is not as it was last seen.
func (v *view) changed() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stale = true
}

// host returns what this member must realise, as of now or, while a look at the
// host takes long, as of the look before.
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
	if err := v.refresh(ctx, s.Peers(member), glance); err != nil {
		return nil, err
	}
	if v.last != nil && v.from.snapshot == s && v.from.seen == v.seen {
		return v.last, nil
	}
	h, err := network.Derive(s, v.seen, member)
	if err != nil {
		return nil, err
	}
	// Whoever derives this may be no more than the speaker, or a question; but
	// routes over several NICs are those that are up.
	turned := v.last != nil && v.from.snapshot == s && !slices.EqualFunc(v.last.Link.Routes, h.Link.Routes, sameHops)
	v.last, v.from.snapshot, v.from.seen = h, s, v.seen
	if turned {
		v.looked()
	}
	return h, nil
}

func sameHops(a, b *link.Route) bool {
	return a == b || a.Prefix == b.Prefix && slices.Equal(a.Hops, b.Hops)
}

// observed returns the host as it is now or, while a look at it takes long, as
// it was last seen. What somebody did just before is seen even if the kernel's
// word of it is still on its way to us.
func (v *view) observed(ctx context.Context) (*network.Observed, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stale = true
	if err := v.refresh(ctx, nil, check); err != nil {
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
// for that were not before. It waits for patience at most, and what was seen
// last has to do then, unless that look failed or there was none; no patience
// at all means to wait for as long as it takes. It lets go of v.mu meanwhile.
func (v *view) refresh(ctx context.Context, peers []netip.Addr, patience time.Duration) error {
	before := v.begun
	if v.fresh(peers, before) {
		return nil
	}
	enough := ctx
	if patience > 0 && v.sighted {
		var cancel func()
		enough, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	for !v.fresh(peers, before) {
		if v.looking == nil {
			v.begin(ctx, peers)
		}
		if enough.Err() != nil {
			v.missed = true
			return ctx.Err()
		}
		if err := v.wait(enough, v.looking); err != nil {
			return err
		}
	}
	return nil
}

// wait waits for a look until ctx is done, and lets go of v.mu meanwhile. The
// error is that of the look.
func (v *view) wait(ctx context.Context, l *looking) error {
	v.mu.Unlock()
	defer v.mu.Lock()
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return nil
	}
}

// fresh reports whether v.seen serves somebody who came after so many looks
// had begun.
func (v *view) fresh(peers []netip.Addr, before int) bool {
	for _, p := range peers {
		if !v.asked[p] {
			return false
		}
	}
	return v.ended > before || !v.stale && v.looking == nil
}

// begin begins a look. Nobody waits for its end when the daemon stops: it only
// reads, and a stop is not held up by it either.
func (v *view) begin(ctx context.Context, peers []netip.Addr) {
	if peers == nil {
		peers = slices.Collect(maps.Keys(v.asked))
	}
	l := &looking{done: make(chan struct{})}
	v.begun++
	v.stale, v.looking = false, l
	no := v.begun
	go func() {
		o, err := v.look(context.WithoutCancel(ctx), peers)
		v.mu.Lock()
		missed := v.missed
		v.missed, v.looking, v.sighted = false, nil, err == nil
		if l.err = err; err != nil {
			v.stale = true
		} else {
			v.ended = no
			v.take(o, peers)
		}
		v.mu.Unlock()
		close(l.done)
		if missed {
			v.looked()
		}
	}()
}

// take takes in what was seen of the host and of the ways to peers.
func (v *view) take(o link.Observed, peers []netip.Addr) {
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
	if !same(o, v.seen.Observed) {
		v.seen = &network.Observed{Observed: o}
	}
}

// same reports whether nothing that a Host is derived from, or a write depends
// on, has changed between two looks.
func same(a, b link.Observed) bool {
	seen := func(a, b *link.Seen) bool {
		return a == b || a.Alias == b.Alias && a.Making == b.Making && a.Up == b.Up && a.Master == b.Master && slices.Equal(a.Addrs, b.Addrs) &&
			(a.Alias == "" || a.Carrier == b.Carrier && a.Blocked == b.Blocked)
	}
	routed := func(a, b *link.Route) bool { return a == b || a.Compare(b) == 0 }
	return maps.EqualFunc(a.Links, b.Links, seen) && slices.Equal(a.Routes, b.Routes) && slices.EqualFunc(a.Own, b.Own, routed) && maps.Equal(a.Toward, b.Toward)
}
