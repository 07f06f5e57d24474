// Package gobgp is the embedded GoBGP engine of [bgp.Speaker].
//
// GoBGP keeps one table of our paths and a session with every peer. What is
// ours on top of it:
//
//   - Scope and next hops (scope.go): a path goes into GoBGP's table with a
//     marker for a next hop; the marker stands for the set of peers that may
//     hear the path. One export statement for each peer and family recognises
//     the markers meant for the peer and puts the real next hop in their place.
//     What no statement recognises is not sent, so a marker cannot leak.
//   - Graceful restart that holds for any number of peers (restart.go).
//   - A difference instead of a command: Apply compares with what was applied
//     before and touches only that (apply.go, peers.go).
//   - Errors as sentences, read from what GoBGP logs (reason.go).
//   - Our own sockets, found by their file descriptors, to see what peers have
//     acknowledged and to leave without a NOTIFICATION (socket.go).
//
// Standards: RFC 4271, 4760, 4724, 2385, 5082, 8950, 9003.
package gobgp

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/osrg/gobgp/v3/pkg/server"

	"netctl/bgp"
)

// A Speaker is a GoBGP server in this process.
type Speaker struct {
	log     *slog.Logger
	reasons *reasons

	// turn is held by whoever changes the configuration, for as long as it
	// takes.
	turn  sync.Mutex
	scope *scope // guarded by turn and mu: either may read, both are needed to write

	// mu is held shortly, also while paths are being added, so that a session
	// that ends then is prepared for its return in time.
	mu          sync.Mutex
	srv         *server.BgpServer // nil until the first start
	running     bool
	leaving     bool // sessions that end stay ended
	stopped     bool
	have        bgp.Config
	status      bgp.Status
	listen      []netip.AddrPort // where we really listen
	peers       map[netip.Addr]*peer
	policy      string // the policy that GoBGP has
	restartTime time.Duration
	bulk        bulk
	watchers    map[chan bgp.Event]struct{}

	wake   chan struct{}
	dirty  map[netip.Addr]bool // guarded by dirtMu
	dirtMu sync.Mutex
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

var _ bgp.Speaker = (*Speaker)(nil)

// errStopped is what a speaker answers after Stop.
var errStopped = errors.New("the speaker has stopped")

// New returns a speaker that does not run yet; the first Apply of a Config
// with an ASN starts it.
func New(log *slog.Logger) *Speaker {
	return &Speaker{
		log:      log,
		reasons:  newReasons(log),
		scope:    newScope(),
		peers:    map[netip.Addr]*peer{},
		watchers: map[chan bgp.Event]struct{}{},
		wake:     make(chan struct{}, 1),
		dirty:    map[netip.Addr]bool{},
	}
}

// Status reports the speaker itself.
func (s *Speaker) Status() bgp.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Watch delivers a value whenever a session changes its state. A reader that
// is more than 64 values behind misses some.
func (s *Speaker) Watch(ctx context.Context) <-chan bgp.Event {
	ch := make(chan bgp.Event, 64)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		close(ch)
		return ch
	}
	s.watchers[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.unwatch(ch)
	})
	return ch
}

// unwatch closes the channel of a watcher once. It needs mu.
func (s *Speaker) unwatch(ch chan bgp.Event) {
	if _, ok := s.watchers[ch]; ok {
		delete(s.watchers, ch)
		close(ch)
	}
}

// emit tells the watchers. It needs mu.
func (s *Speaker) emit(e bgp.Event) {
	for ch := range s.watchers {
		select {
		case ch <- e:
		default:
		}
	}
}

// A bulk is a transfer of many paths to a peer at once, during which GoBGP
// counts nothing for a while.
type bulk struct{ at time.Time }
