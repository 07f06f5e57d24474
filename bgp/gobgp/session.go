package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"netctl/bgp"
)

// Sessions reports the state of every peer.
func (s *Speaker) Sessions(ctx context.Context) ([]bgp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return nil, nil
	}
	// Counting what was advertised costs as much as advertising it; so it is
	// only done when something changed.
	count := false
	for _, p := range s.peers {
		count = count || p.state == bgp.Established && !p.counted
	}
	known := map[netip.Addr]*api.Peer{}
	err := s.srv.ListPeer(ctx, &api.ListPeerRequest{EnableAdvertised: count}, func(seen *api.Peer) {
		if a, err := netip.ParseAddr(seen.GetConf().GetNeighborAddress()); err == nil {
			known[a] = seen
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list peers: %w", err)
	}
	list := make([]bgp.Session, 0, len(s.peers))
	for _, p := range s.peers {
		list = append(list, s.session(p, known[p.inner], count))
	}
	slices.SortFunc(list, func(a, b bgp.Session) int { return a.Peer.Addr.Compare(b.Peer.Addr) })
	return list, ctx.Err()
}

// session puts together what GoBGP and we know of a peer. It needs mu.
func (s *Speaker) session(p *peer, seen *api.Peer, counted bool) bgp.Session {
	out := bgp.Session{
		Peer: p.want, State: stateOf(seen), Since: p.since, LastError: p.err, Flaps: p.flaps,
		UpdatesSent: p.counters.sent.Load(), UpdatesReceived: p.counters.received.Load(),
	}
	if p.link == nil {
		out.Families = s.familyStatus(p, nil, linkStatus{})
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
		out.HoldTime = time.Duration(seen.GetTimers().GetState().GetNegotiatedHoldTime()) * time.Second
		if out.HoldTime > 0 {
			out.Keepalive = time.Duration(seen.GetTimers().GetState().GetKeepaliveInterval()) * time.Second
		}
		out.Restart = bgp.RestartStatus{
			Negotiated: link.theirs.restart, PeerRestartTime: link.theirs.restartTime,
			PeerRestarting: link.theirs.restarting, LocalRestarting: !link.theirs.restarting,
		}
		if counted {
			p.count(seen, link.theirs.restart)
		}
	} else {
		seen = nil
	}
	out.Families = s.familyStatus(p, seen, link)
	return out
}

// count keeps how many prefixes GoBGP has advertised to a peer.
func (p *peer) count(seen *api.Peer, endOfRIB bool) {
	p.counted, p.advertised = true, map[bgp.Family]int{}
	for _, af := range seen.GetAfiSafis() {
		n := int(af.GetState().GetAdvertised())
		if endOfRIB { // it is counted too
			n--
		}
		for _, f := range families {
			if af.GetConfig().GetFamily().GetAfi() == apiFamily(f).GetAfi() {
				p.advertised[f] = n
			}
		}
	}
}

// familyStatus reports on the families of a session; established is nil when
// it is not. It needs mu.
func (s *Speaker) familyStatus(p *peer, established *api.Peer, link linkStatus) []bgp.FamilyStatus {
	var list []bgp.FamilyStatus
	for _, f := range families {
		fs := bgp.FamilyStatus{Family: f, Negotiated: established != nil && link.theirs.families[f], Received: link.received[f]}
		var needy int
		fs.Desired, needy = s.scope.desired(p.want.Addr, f)
		// Whether the peer takes IPv6 next hops is known only in a session.
		extended := p.extended
		if established == nil {
			extended = true
		}
		if _, why := p.want.NextHop(f, extended); needy > 0 {
			fs.Held = why
		}
		if fs.Negotiated {
			fs.Advertised = p.advertised[f]
		} else if established != nil && fs.Desired > 0 {
			fs.Held = fmt.Sprintf("the peer does not have %s switched on for this session", f)
		}
		list = append(list, fs)
	}
	return list
}

// Advertised returns what was really sent to a peer.
func (s *Speaker) Advertised(ctx context.Context, peer netip.Addr) ([]bgp.Advertised, error) {
	s.mu.Lock()
	p, srv := s.peers[peer], s.srv
	s.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("peer %s: not configured", peer)
	}
	if stateOf(look(ctx, srv, p.inner)) != bgp.Established {
		return nil, nil
	}
	var list []bgp.Advertised
	for _, f := range families {
		var bad error
		err := srv.ListPath(ctx, &api.ListPathRequest{
			TableType: api.TableType_ADJ_OUT, Name: p.inner.String(), Family: apiFamily(f), EnableOnlyBinary: true,
		}, func(d *api.Destination) {
			prefix, err := netip.ParsePrefix(d.GetPrefix())
			if err != nil {
				bad = err
				return
			}
			for _, path := range d.GetPaths() {
				a, err := advertised(prefix, path)
				if err != nil {
					bad = err
					continue
				}
				list = append(list, a)
			}
		})
		if err == nil {
			err = bad
		}
		if err != nil {
			return nil, fmt.Errorf("advertised to %s: %w", peer, err)
		}
	}
	slices.SortFunc(list, func(a, b bgp.Advertised) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	return list, ctx.Err()
}

// advertised reads a path of GoBGP's Adj-RIB-Out.
func advertised(prefix netip.Prefix, path *api.Path) (bgp.Advertised, error) {
	out := bgp.Advertised{Prefix: prefix}
	attrs, err := apiutil.GetNativePathAttributes(path)
	if err != nil {
		return out, err
	}
	for _, a := range attrs {
		switch a := a.(type) {
		case *packet.PathAttributeNextHop:
			out.NextHop, _ = netip.AddrFromSlice(a.Value)
		case *packet.PathAttributeMpReachNLRI:
			out.NextHop, _ = netip.AddrFromSlice(a.Nexthop)
		case *packet.PathAttributeAsPath:
			for _, segment := range a.Value {
				out.ASPath = append(out.ASPath, segment.GetAS()...)
			}
		}
	}
	if prefix.Addr().Is4() {
		out.NextHop = out.NextHop.Unmap()
	}
	return out, nil
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
