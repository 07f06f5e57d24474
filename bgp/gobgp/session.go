package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"netctl/bgp"
)

// Sessions reports the state of every peer.
func (s *Speaker) Sessions(ctx context.Context) ([]bgp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]bgp.Session, 0, len(s.peers))
	for _, p := range s.peers {
		list = append(list, s.session(p))
	}
	slices.SortFunc(list, func(a, b bgp.Session) int { return a.Peer.Addr.Compare(b.Peer.Addr) })
	return list, ctx.Err()
}

// session puts together what is known of a peer. It needs mu.
func (s *Speaker) session(p *peer) bgp.Session {
	var link linkStatus
	if p.link != nil {
		s.observe(p)
		link = p.link.status()
	}
	out := bgp.Session{
		Peer: p.want, State: p.state, Since: p.since, LocalAddr: link.local, LastError: p.err, Flaps: p.flaps,
		UpdatesSent: p.counters.sent.Load(), UpdatesReceived: p.counters.received.Load(),
	}
	if p.state == bgp.Active && p.want.Passive && p.err == "" {
		out.LastError = fmt.Sprintf("waiting for %s to connect; if it does not, check its configuration, the firewall and the password", p.want.Addr)
	}
	if p.state == bgp.Established {
		out.RemoteID = link.theirs.id
		out.HoldTime, out.Keepalive = link.holdTime, link.holdTime/3
		out.Restart = bgp.RestartStatus{
			Negotiated: link.theirs.restart, PeerRestartTime: link.theirs.restartTime,
			PeerRestarting: link.theirs.restarting, LocalRestarting: !link.theirs.restarting,
		}
	}
	out.Families = s.familyStatus(p, p.state == bgp.Established, link)
	return out
}

// familyStatus reports on the families of a session. It needs mu.
func (s *Speaker) familyStatus(p *peer, established bool, link linkStatus) []bgp.FamilyStatus {
	var list []bgp.FamilyStatus
	for _, f := range families {
		fs := bgp.FamilyStatus{Family: f, Negotiated: established && link.theirs.families[f], Received: link.received[f]}
		var needy int
		fs.Desired, needy = s.scope.desired(p.want.Addr, f)
		// Whether the peer takes IPv6 next hops is known only in a session.
		if _, why := p.want.NextHop(f, p.extended || !established); needy > 0 {
			fs.Held = why
		}
		if fs.Negotiated {
			fs.Advertised = link.advertised[f]
		} else if established && fs.Desired > 0 {
			fs.Held = fmt.Sprintf("the peer does not have %s switched on for this session", f)
		}
		list = append(list, fs)
	}
	return list
}

// Advertised returns what was really sent to a peer.
func (s *Speaker) Advertised(ctx context.Context, peer netip.Addr) ([]bgp.Advertised, error) {
	s.mu.Lock()
	var l *link
	if p := s.peers[peer]; p != nil {
		l = p.link
	}
	s.mu.Unlock()
	r := l.established()
	if r == nil {
		return nil, ctx.Err()
	}
	return r.out.list(), ctx.Err()
}
