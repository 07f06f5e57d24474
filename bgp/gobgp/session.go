package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"netctl/bgp"
)

// Sessions reports the state of every peer.
func (s *Speaker) Sessions(ctx context.Context) ([]bgp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return nil, nil
	}
	known := map[netip.Addr]*api.Peer{}
	err := s.srv.ListPeer(ctx, &api.ListPeerRequest{}, func(seen *api.Peer) {
		if a, err := netip.ParseAddr(seen.GetConf().GetNeighborAddress()); err == nil {
			known[a] = seen
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list peers: %w", err)
	}
	list := make([]bgp.Session, 0, len(s.peers))
	for _, p := range s.peers {
		list = append(list, s.session(p, known[p.inner]))
	}
	slices.SortFunc(list, func(a, b bgp.Session) int { return a.Peer.Addr.Compare(b.Peer.Addr) })
	return list, ctx.Err()
}

// session puts together what GoBGP and we know of a peer. It needs mu.
func (s *Speaker) session(p *peer, seen *api.Peer) bgp.Session {
	out := bgp.Session{
		Peer: p.want, State: stateOf(seen), Since: p.since, LastError: p.err, Flaps: p.flaps,
		UpdatesSent: p.counters.sent.Load(), UpdatesReceived: p.counters.received.Load(),
	}
	if p.link == nil {
		out.Families = s.familyStatus(p, false, linkStatus{})
		return out
	}
	if out.State != p.state {
		s.poke(p.inner) // an event is on its way
	}
	link := p.link.status()
	out.LocalAddr = link.local
	switch {
	case out.State == bgp.Active && link.dialing:
		out.State = bgp.Connect
	case out.State == bgp.Active && p.want.Passive && p.err == "":
		out.LastError = fmt.Sprintf("waiting for %s to connect; if it does not, check its configuration, the firewall and the password", p.want.Addr)
	}
	if out.State == bgp.Established {
		out.RemoteID = link.theirs.id
		if !link.timeless {
			out.HoldTime = time.Duration(seen.GetTimers().GetState().GetNegotiatedHoldTime()) * time.Second
			out.Keepalive = time.Duration(seen.GetTimers().GetState().GetKeepaliveInterval()) * time.Second
		}
		out.Restart = bgp.RestartStatus{
			Negotiated: link.theirs.restart, PeerRestartTime: link.theirs.restartTime,
			PeerRestarting: link.theirs.restarting, LocalRestarting: !link.theirs.restarting,
		}
	}
	out.Families = s.familyStatus(p, out.State == bgp.Established, link)
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
	p := s.peers[peer]
	s.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("peer %s: not configured", peer)
	}
	r := p.link.established()
	if r == nil {
		return nil, ctx.Err()
	}
	return r.out.list(), ctx.Err()
}

// stateOf translates a state of GoBGP; a peer that it does not know is idle.
func stateOf(p *api.Peer) bgp.State {
	switch p.GetState().GetSessionState() {
	case api.PeerState_CONNECT:
		return bgp.Connect
	case api.PeerState_ACTIVE:
		return bgp.Active
	case api.PeerState_OPENSENT:
		return bgp.OpenSent
	case api.PeerState_OPENCONFIRM:
		return bgp.OpenConfirm
	case api.PeerState_ESTABLISHED:
		return bgp.Established
	case api.PeerState_UNKNOWN, api.PeerState_IDLE:
	}
	return bgp.Idle
}
