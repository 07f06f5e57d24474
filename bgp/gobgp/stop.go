package gobgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unicode/utf8"

	api "github.com/osrg/gobgp/v3/api"

	"netctl/bgp"
)

// Bounds on a full shutdown.
const (
	drainTimeout = 5 * time.Second  // for the peers to acknowledge the withdrawals
	leaveTimeout = 10 * time.Second // for everything
)

// Stop ends all sessions.
//
// With Restart the connections end without a NOTIFICATION, so that helpers
// keep our routes (RFC 4724 section 4.2). It does what the kernel does for a
// process that exits; a process that exits at once need not call it.
//
// With Withdraw every path is withdrawn, the peers' acknowledgements are
// awaited for up to five seconds, and each session is closed with an
// administrative shutdown that carries the text (RFC 9003). Closing right away
// would not do: a peer that has not read the withdrawals when the connection
// goes away takes us for crashed, and keeps the rest.
func (s *Speaker) Stop(ctx context.Context, m bgp.StopMode, text string) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	running, stopped := s.running, s.stopped
	s.stopped, s.leaving = true, true
	s.mu.Unlock()
	if stopped {
		return nil
	}
	var err error
	if running {
		ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
		defer cancel()
		if m == bgp.Withdraw {
			err = s.withdraw(ctx, text)
		}
		s.halt(context.WithoutCancel(ctx), m == bgp.Withdraw)
	}
	if s.cancel != nil {
		s.cancel()
	}
	s.tasks.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.watchers {
		s.unwatch(ch)
	}
	return err
}

// withdraw says goodbye to every peer.
func (s *Speaker) withdraw(ctx context.Context, text string) error {
	if err := s.srv.DeletePath(ctx, &api.DeletePathRequest{}); err != nil {
		return fmt.Errorf("withdraw all paths: %w", err)
	}
	drain, cancel := context.WithTimeout(ctx, drainTimeout)
	err := s.Flush(drain)
	cancel()
	if err != nil {
		err = fmt.Errorf("withdrawals not acknowledged by every peer: %w", err)
	}
	s.mu.Lock()
	var ending []*relay
	for a, p := range s.peers {
		r := p.link.established()
		if r == nil {
			continue
		}
		ending = append(ending, r)
		e := s.srv.ShutdownPeer(ctx, &api.ShutdownPeerRequest{Address: p.inner.String(), Communication: clip(text)})
		if e != nil {
			err = errors.Join(err, fmt.Errorf("shut down the session with %s: %w", a, e))
		}
	}
	s.mu.Unlock()
	for _, r := range ending {
		for !r.ended() {
			if e := pause(ctx, 2*time.Millisecond); e != nil {
				return errors.Join(err, fmt.Errorf("close the session with %s: %w", r.peer.Addr, e))
			}
		}
	}
	return err
}

// maxText is how much of the text fits (RFC 9003 section 2).
const maxText = 255

// clip cuts a text to what fits, between characters.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Reset closes the session with a peer and lets it come back.
func (s *Speaker) Reset(ctx context.Context, a netip.Addr) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[a]
	switch {
	case s.stopped:
		return errStopped
	case p == nil:
		return fmt.Errorf("peer %s: not configured", a)
	case p.link == nil:
		return s.addPeer(ctx, p)
	case p.state != bgp.Established:
		return s.cut(ctx, p, "")
	}
	if err := s.srv.ResetPeer(ctx, &api.ResetPeerRequest{Address: p.inner.String()}); err != nil {
		return fmt.Errorf("reset peer %s: %w", a, err)
	}
	return nil
}
