package gobgp

import (
	"context"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"

	"netctl/bgp"
)

// observeAll starts to follow the sessions. GoBGP's events only say where to
// look: what counts is the state that is found there. It needs mu.
func (s *Speaker) observeAll(ctx context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
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
	s.tasks.Go(func() {
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
	})
	return nil
}

// poke asks for a look at a peer.
func (s *Speaker) poke(inner netip.Addr) {
	s.dirtMu.Lock()
	s.dirty[inner] = true
	s.dirtMu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// look returns what GoBGP says about a peer, or nil when it does not know it.
func look(ctx context.Context, srv *server.BgpServer, inner netip.Addr) *api.Peer {
	var seen *api.Peer
	_ = srv.ListPeer(ctx, &api.ListPeerRequest{Address: inner.String()}, func(p *api.Peer) { seen = p })
	return seen
}

// observe looks at a session and does what its state asks for.
func (s *Speaker) observe(ctx context.Context, inner netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.inside[inner]
	if p == nil || p.link == nil {
		return
	}
	seen := look(ctx, s.srv, inner)
	if seen == nil {
		return
	}
	state := stateOf(seen)
	link := p.link.status()
	why := link.why
	if p.state == bgp.Established && state != bgp.Established && link.carrying {
		// What GoBGP has said last is still on its way to the relay.
		time.AfterFunc(5*time.Millisecond, func() { s.poke(inner) })
		return
	}
	if state != bgp.Established && why != "" {
		p.err = why
	}
	s.setState(p, state, why)
	if state == bgp.Idle && !s.leaving {
		if err := s.renew(ctx, p); err != nil {
			s.log.Error("prepare a peer for its return", "peer", p.want.Addr, "err", err)
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
		p.err = ""
		s.log.Info("session up", "peer", p.want.Addr)
	case was == bgp.Established:
		p.flaps++
		p.err, e.Error = why, why
		s.log.Info("session down", "peer", p.want.Addr, "err", why)
	default:
		e.Error = p.err
	}
	s.emit(e)
}
