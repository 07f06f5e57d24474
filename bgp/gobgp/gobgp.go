// Package gobgp is the embedded GoBGP engine of [bgp.Speaker].
//
// GoBGP keeps the table of our paths, runs the state machine of every session
// and writes the messages. It never meets a peer, though:
//
//	peer ── TCP ── link, relay ── loopback ── GoBGP
//
// A link owns the connection with one peer: it dials, listens, has the
// passwords and TTLs, and knows why a connection failed. A relay carries the
// messages of one connection to GoBGP, which takes each relay for a passive
// peer on the loopback, and back. What is ours on top of GoBGP:
//
//   - Graceful restart that holds for any number of peers, for resets as well
//     as restarts, and for peers that restart themselves (restart.go).
//   - Scope and next hops (scope.go): a path goes into GoBGP's table with a
//     marker for a next hop; the marker stands for the set of peers that may
//     hear the path. One export statement for each peer and family recognises
//     the markers meant for the peer and puts the real next hop in their place.
//     What no statement recognises is not sent, so a marker cannot leak.
//   - Nothing of what peers announce gets past the relay.
//   - A difference instead of a command: Apply compares with what was applied
//     before and touches only that (apply.go, peers.go).
//   - The state of a session, what was advertised in it, and in sentences why
//     it ended, all as the wire has it (relay.go, adjout.go, reason.go).
//
// Standards: RFC 4271, 4760, 4724, 4486, 2385, 5082, 8950, 9003.
package gobgp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/osrg/gobgp/v3/pkg/server"

	"netctl/bgp"
)

// A Speaker is a GoBGP server in this process and its links with the peers.
type Speaker struct {
	log       *slog.Logger
	listeners listeners

	patience time.Duration // of the links to come; tests have less

	// turn is held by whoever changes the configuration, for as long as it
	// takes.
	turn  sync.Mutex
	scope *scope // written with both turn and mu, read with either

	// mu is held shortly, never while paths are added or a link is waited
	// for: links ask for it too.
	mu          sync.Mutex
	srv         *server.BgpServer // nil until the first start
	server      netip.AddrPort    // where it listens
	secret      string            // the TCP MD5 key of its connections
	running     bool
	leaving     bool // sessions that end stay ended
	stopped     bool
	have        bgp.Config
	failed      bool // the last change did not succeed in everything
	restartTime time.Duration
	status      bgp.Status
	peers       map[netip.Addr]*peer // by address
	inside      map[netip.Addr]bool  // addresses by which GoBGP knows peers
	policy      string               // the policy that GoBGP has
	moving      bool                 // paths are changing their classes
	watchers    map[chan bgp.Event]struct{}

	fencing sync.Mutex // held by Flush
	fences  uint32     // how many there have been

	wake   chan struct{}
	dirtMu sync.Mutex
	dirty  map[netip.Addr]bool // peers to look at
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

var _ bgp.Speaker = (*Speaker)(nil)

// errStopped is what a speaker answers after Stop.
var errStopped = errors.New("the speaker has stopped")

// New returns a speaker that does not run yet; the first Apply of a Config
// with an ASN starts it. Its process needs CAP_NET_BIND_SERVICE for ports
// below 1024, CAP_NET_ADMIN for passwords, and a loopback interface that is
// up.
func New(log *slog.Logger) *Speaker {
	s := &Speaker{
		log:      log,
		scope:    newScope(),
		peers:    map[netip.Addr]*peer{},
		inside:   map[netip.Addr]bool{},
		watchers: map[chan bgp.Event]struct{}{},
		wake:     make(chan struct{}, 1),
		dirty:    map[netip.Addr]bool{},
	}
	s.listeners = listeners{accept: s.accept, open: map[netip.AddrPort]*net.TCPListener{}, passwords: map[netip.Addr]string{}}
	return s
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
