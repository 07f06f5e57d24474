package gobgp

import (
	"context"
	"net/netip"
	"time"

	"netctl/bgp"
)

// follow looks at peers whose links ask for it, until ctx is done.
func (s *Speaker) follow(ctx context.Context) {
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
		s.mu.Lock()
		for a := range dirty {
			if p := s.peers[a]; p != nil && p.link != nil {
				s.observe(p)
			}
		}
		s.mu.Unlock()
	}
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

// observe takes note of the state of a session. It needs mu.
func (s *Speaker) observe(p *peer) {
	link := p.link.status()
	if p.state == bgp.Established && link.session != p.session {
		// There may be another session already.
		s.setState(p, bgp.Idle, link.why)
	}
	if link.state == bgp.Established {
		p.session = link.session
	} else if link.why != "" {
		p.err = link.why
	}
	s.setState(p, link.state, p.err)
}

// waiting reports whether a state is one without a connection.
func waiting(s bgp.State) bool { return s == bgp.Active || s == bgp.Connect }

// setState records the state of a session and tells whoever wants to know. It
// needs mu.
func (s *Speaker) setState(p *peer, state bgp.State, why string) {
	if p.state == state {
		return
	}
	was := p.state
	if waiting(was) && waiting(state) {
		p.state = state // one attempt after the other is no news
		return
	}
	p.state, p.since = state, time.Now()
	e := bgp.Event{Time: p.since, Peer: p.want.Addr, State: state}
	switch {
	case state == bgp.Established:
		p.err = ""
		s.log.Debug("session up", "peer", p.want.Addr)
	case was == bgp.Established:
		p.flaps++
		p.err, e.Error = why, why
		s.log.Debug("session down", "peer", p.want.Addr, "err", why)
	default:
		e.Error = p.err
	}
	s.emit(e)
}
