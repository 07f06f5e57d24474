package gobgp

import (
	"context"
	"errors"
	"fmt"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"netctl/bgp"
)

// Apply makes the speaker match c.
func (s *Speaker) Apply(ctx context.Context, c bgp.Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
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
	case !running:
		return s.begin(ctx, c)
	}
	changes := bgp.Diff(have, c)
	if changes.Global || s.canListenMore(c.Listen) {
		// Another AS is another router; anything else is a restart that
		// helpers bridge.
		s.log.Info("restarting all sessions", "global_change", changes.Global)
		s.halt(ctx, have.ASN != c.ASN)
		return s.begin(ctx, c)
	}
	if changes.Empty() {
		return s.listenError()
	}
	err := s.change(ctx, changes)
	s.mu.Lock()
	s.have = c
	s.mu.Unlock()
	return errors.Join(err, s.listenError())
}

// begin starts GoBGP with a whole Config: paths before peers, and both before
// the first End-of-RIB (RFC 4724 section 4.1).
func (s *Speaker) begin(ctx context.Context, c bgp.Config) error {
	if err := s.start(ctx, c); err != nil {
		return err
	}
	anchored := s.dropAnchor(ctx, c)
	empty := bgp.Config{ASN: c.ASN, RouterID: c.RouterID, RestartTime: c.RestartTime, Listen: c.Listen}
	changes := bgp.Diff(empty, c)
	peers := changes.AddPeers
	changes.AddPeers = nil
	err := s.change(ctx, changes)
	if aerr := <-anchored; aerr != nil {
		s.log.Warn("restarts may be noticed by peers", "err", aerr)
	}
	err = errors.Join(err, s.change(ctx, bgp.Changes{AddPeers: peers}))
	s.mu.Lock()
	s.have = c
	s.mu.Unlock()
	return errors.Join(err, s.listenError())
}

// change makes changes, in this order: a policy that knows every class of path,
// old and new; paths; peers that go; a policy for the peers as they will be;
// peers that change or come.
func (s *Speaker) change(ctx context.Context, changes bgp.Changes) error {
	s.mu.Lock()
	adds := make([]*class, len(changes.SetPaths))
	for i, p := range changes.SetPaths {
		adds[i] = s.scope.class(p)
	}
	err := s.setPolicy(ctx)
	srv := s.srv
	s.mu.Unlock()

	for i, p := range changes.SetPaths {
		if _, e := srv.AddPath(ctx, &api.AddPathRequest{Path: encode(p.Prefix, adds[i])}); e != nil {
			err = errors.Join(err, fmt.Errorf("announce %s: %w", p.Prefix, e))
		}
	}
	for _, p := range changes.DelPaths {
		path := encode(p, s.scope.paths[p])
		path.IsWithdraw = true
		if e := srv.DeletePath(ctx, &api.DeletePathRequest{Path: path}); e != nil {
			err = errors.Join(err, fmt.Errorf("withdraw %s: %w", p, e))
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range changes.SetPaths {
		s.scope.set(p.Prefix, adds[i])
	}
	for _, p := range changes.DelPaths {
		s.scope.set(p, nil)
	}
	s.scope.prune()
	if n := len(changes.SetPaths) + len(changes.DelPaths); n > 1000 {
		s.bulk.at = time.Now()
	}
	s.touch()
	return errors.Join(err, s.changePeers(ctx, changes))
}

// listenError returns why we do not listen where we should.
func (s *Speaker) listenError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.ListenErr == "" {
		return nil
	}
	return errors.New(s.status.ListenErr)
}
