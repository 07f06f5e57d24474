package gobgp

import (
	"context"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"netctl/bgp"
)

// observeAll starts to follow the sessions. GoBGP's events only say where to
// look: what counts is the state that is found there. It needs mu.
func (s *Speaker) observeAll() error {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	err := s.srv.WatchEvent(ctx, &api.WatchEventRequest{Peer: &api.WatchEventRequest_Peer{}}, func(r *api.WatchEventResponse) {
		if a, err := netip.ParseAddr(r.GetPeer().GetPeer().GetConf().GetNeighborAddress()); err == nil {
			s.poke(a)
		}
	})
	if err != nil {
		cancel()
		return err
	}
	s.tasks.Add(1)
	go func() {
		defer s.tasks.Done()
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.wake:
			}
			s.dirtMu.Lock()
			dirty := s.dirty
			s.dirty = map[netip.Addr]bool{}
			s.dirtMu.Unlock()
			for a := range dirty {
				s.observe(ctx, a)
			}
		}
	}()
	return nil
}

// poke asks for a look at a peer.
func (s *Speaker) poke(a netip.Addr) {
	s.dirtMu.Lock()
	s.dirty[a] = true
	s.dirtMu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// observe looks at a session and does what its state asks for.
func (s *Speaker) observe(ctx context.Context, a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[a]
	if p == nil || !p.added {
		return
	}
	seen := s.look(ctx, a)
	if seen == nil {
		return
	}
	state := stateOf(seen)
	p.sent, p.received = seen.GetState().GetMessages().GetSent().GetUpdate(), seen.GetState().GetMessages().GetReceived().GetUpdate()
	why := s.reasons.last(a)
	if state == bgp.OpenConfirm || state == bgp.Established {
		// Known in time for the table, which goes out a second after this.
		if extended := capabilitiesOf(seen).extended; extended != p.extended {
			p.extended = extended
			if err := s.setPolicy(ctx); err != nil {
				s.log.Warn("next hops for a peer", "peer", a, "err", err)
			}
		}
	}
	if why != "" && state != bgp.Established {
		p.err = why
	}
	s.setState(p, state, why)
	idle := state == bgp.Idle && (p.up || !seen.GetGracefulRestart().GetLocalRestarting())
	if idle && !s.leaving {
		if err := s.rearm(ctx, p); err != nil {
			s.log.Error("prepare a peer for its return", "peer", a, "err", err)
		}
	}
}

// setState records the state of a session and tells whoever wants to know. It
// needs mu.
func (s *Speaker) setState(p *peer, state bgp.State, why string) {
	if p.state == state {
		return
	}
	was := p.state
	p.state, p.since = state, time.Now()
	e := bgp.Event{Time: p.since, Peer: p.want.Addr, State: state}
	switch {
	case state == bgp.Established:
		p.up, p.err, p.counted = true, "", false
		s.reasons.forget(p.want.Addr)
		s.bulk.at = p.since
		s.log.Info("session up", "peer", p.want.Addr)
	case was == bgp.Established:
		p.flaps++
		p.err, e.Error = why, why
		s.log.Info("session down", "peer", p.want.Addr, "err", why)
	default:
		e.Error = why
	}
	s.emit(e)
}
