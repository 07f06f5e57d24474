package gobgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	api "github.com/osrg/gobgp/v3/api"

	"netctl/bgp"
)

// Apply makes the speaker match c.
func (s *Speaker) Apply(ctx context.Context, c bgp.Config) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	stopped, running, have := s.stopped, s.running, s.have
	s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	switch {
	case stopped:
		return errStopped
	case c.ASN == 0:
		if running {
			s.halt(ctx, true)
			s.log.Info("speaker stopped: no AS number configured")
		}
		return nil
	}
	changes, err := bgp.Next(have, c)
	if err != nil {
		return err
	}
	if running && changes.Global {
		// Another AS is another router; anything else is a restart that
		// helpers bridge.
		s.log.Info("restarting all sessions")
		s.halt(ctx, have.ASN != c.ASN)
		running, changes = false, bgp.Diff(bgp.Config{}, c)
	}
	if !running {
		if err := s.start(ctx, c); err != nil {
			return err
		}
	}
	if !changes.Empty() {
		s.log.LogAttrs(ctx, slog.LevelDebug, "bgp op", slog.Any("op", changes))
	}
	err = s.change(ctx, changes)
	s.mu.Lock()
	s.have = c
	if err != nil {
		s.have.Paths = s.scope.list() // the next Apply finds what is missing
	}
	s.mu.Unlock()
	return errors.Join(err, s.listen(ctx, c.Listen))
}

// change makes changes, in this order: a policy that knows every class of path,
// old and new; paths; peers that go; a policy for the peers as they will be;
// peers that change or come. So a peer is there only when all paths are (RFC
// 4724 section 4.1), and a path that a peer may no longer hear is withdrawn
// while GoBGP still knows that the peer has heard it.
func (s *Speaker) change(ctx context.Context, changes bgp.Changes) error {
	s.mu.Lock()
	if changes.Empty() && !s.owing() {
		s.mu.Unlock()
		return nil
	}
	adds := make([]*class, len(changes.SetPaths))
	for i, p := range changes.SetPaths {
		adds[i] = s.scope.class(p)
		s.moving = s.moving || s.scope.moves(p.Prefix, adds[i])
	}
	err := s.setPolicy(ctx)
	srv := s.srv
	s.mu.Unlock()

	undone := map[netip.Prefix]bool{}
	for i, p := range changes.SetPaths {
		if _, e := srv.AddPath(ctx, &api.AddPathRequest{Path: encode(p.Prefix, adds[i])}); e != nil {
			err = errors.Join(err, fmt.Errorf("announce %s: %w", p.Prefix, e))
			undone[p.Prefix] = true
		}
	}
	for _, p := range changes.DelPaths {
		path := encode(p, s.scope.paths[p])
		path.IsWithdraw = true
		if e := srv.DeletePath(ctx, &api.DeletePathRequest{Path: path}); e != nil {
			err = errors.Join(err, fmt.Errorf("withdraw %s: %w", p, e))
			undone[p] = true
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range changes.SetPaths {
		if !undone[p.Prefix] {
			s.scope.set(p.Prefix, adds[i])
		}
	}
	for _, p := range changes.DelPaths {
		if !undone[p] {
			s.scope.set(p, nil)
		}
	}
	s.scope.prune()
	s.moving = false
	err = errors.Join(err, s.changePeers(ctx, changes))
	s.failed = err != nil
	return err
}

// owing reports whether something is left to be done although the configuration
// has not changed: the last change went wrong, or a peer could not be one then.
// It needs mu.
func (s *Speaker) owing() bool {
	for _, p := range s.peers {
		if p.link == nil {
			return true
		}
	}
	return s.failed
}
