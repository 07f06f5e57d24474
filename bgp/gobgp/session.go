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
	list := make([]bgp.Session, 0, len(s.peers))
	err := s.srv.ListPeer(ctx, &api.ListPeerRequest{EnableAdvertised: count}, func(seen *api.Peer) {
		a, err := netip.ParseAddr(seen.GetConf().GetNeighborAddress())
		if p := s.peers[a]; err == nil && p != nil {
			list = append(list, s.session(p, seen, count))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list peers: %w", err)
	}
	for _, p := range s.peers {
		if !p.added {
			list = append(list, s.session(p, &api.Peer{}, false))
		}
	}
	slices.SortFunc(list, func(a, b bgp.Session) int { return a.Peer.Addr.Compare(b.Peer.Addr) })
	return list, ctx.Err()
}

// session puts together what GoBGP and we know of a peer. It needs mu.
func (s *Speaker) session(p *peer, seen *api.Peer, counted bool) bgp.Session {
	state := stateOf(seen)
	if state != p.state {
		// An event is on its way.
		s.poke(p.want.Addr)
	}
	p.sent, p.received = seen.GetState().GetMessages().GetSent().GetUpdate(), seen.GetState().GetMessages().GetReceived().GetUpdate()
	out := bgp.Session{
		Peer: p.want, State: state, Since: p.since, LastError: p.err, Flaps: p.flaps,
		UpdatesSent: p.sentBefore + p.sent, UpdatesReceived: p.receivedBefore + p.received,
	}
	if out.LastError == "" && state == bgp.Active && p.want.Passive {
		out.LastError = fmt.Sprintf("waiting for %s to connect; when it does not, check its configuration, the firewall and the password", p.want.Addr)
	}
	up := state == bgp.Established
	caps := capabilitiesOf(seen)
	if up {
		out.LocalAddr, _ = netip.ParseAddr(seen.GetTransport().GetLocalAddress())
		out.RemoteID, _ = netip.ParseAddr(seen.GetState().GetRouterId())
		out.HoldTime = time.Duration(seen.GetTimers().GetState().GetNegotiatedHoldTime()) * time.Second
		out.Keepalive = time.Duration(seen.GetTimers().GetState().GetKeepaliveInterval()) * time.Second
		out.Restart = bgp.RestartStatus{
			Negotiated: caps.restart, PeerRestartTime: caps.restartTime, PeerRestarting: caps.restarting,
			LocalRestarting: true, // every OPEN of ours says so, see restart.go
		}
		if out.HoldTime == 0 {
			out.Keepalive = 0
		}
	}
	deferring := seen.GetGracefulRestart().GetLocalRestarting()
	if counted && up && !deferring {
		p.counted, p.advertised = true, map[bgp.Family]int{}
	}
	for _, f := range families {
		fs := bgp.FamilyStatus{Family: f, Negotiated: up && caps.families[f]}
		var needsNextHop int
		fs.Desired, needsNextHop = s.scope.desired(p.want.Addr, f)
		if _, why := p.want.NextHop(f, p.extended); needsNextHop > 0 && (up || !p.want.NextHop6.IsValid()) {
			fs.Held = why
		}
		for _, af := range seen.GetAfiSafis() {
			if af.GetConfig().GetFamily().GetAfi() != apiFamily(f).GetAfi() {
				continue
			}
			fs.Received = int(af.GetState().GetReceived())
			if counted && up && !deferring {
				p.advertised[f] = int(af.GetState().GetAdvertised())
				if caps.restart { // End-of-RIB was counted too
					p.advertised[f]--
				}
			}
		}
		if up && !deferring {
			fs.Advertised = p.advertised[f]
		}
		out.Families = append(out.Families, fs)
	}
	return out
}

// Advertised returns what was really sent to a peer.
func (s *Speaker) Advertised(ctx context.Context, peer netip.Addr) ([]bgp.Advertised, error) {
	s.mu.Lock()
	p, srv := s.peers[peer], s.srv
	s.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("peer %s: not configured", peer)
	}
	seen := s.look(ctx, peer)
	if stateOf(seen) != bgp.Established || seen.GetGracefulRestart().GetLocalRestarting() {
		return nil, nil
	}
	var list []bgp.Advertised
	for _, f := range families {
		var bad error
		err := srv.ListPath(ctx, &api.ListPathRequest{
			TableType: api.TableType_ADJ_OUT, Name: peer.String(), Family: apiFamily(f), EnableOnlyBinary: true,
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

// capabilities are what a peer announced in its OPEN.
type capabilities struct {
	families    map[bgp.Family]bool
	restart     bool // RFC 4724
	restarting  bool // its Restart State bit
	restartTime time.Duration
	extended    bool // IPv6 next hops for IPv4 unicast (RFC 8950)
}

// restartState is the Restart State bit (RFC 4724 section 3) as GoBGP has it.
const restartState = 0x08

func capabilitiesOf(p *api.Peer) capabilities {
	c := capabilities{families: map[bgp.Family]bool{}}
	list, err := apiutil.UnmarshalCapabilities(p.GetState().GetRemoteCap())
	if err != nil {
		return c
	}
	for _, remote := range list {
		switch remote := remote.(type) {
		case *packet.CapMultiProtocol:
			switch remote.CapValue {
			case packet.RF_IPv4_UC:
				c.families[bgp.IPv4Unicast] = true
			case packet.RF_IPv6_UC:
				c.families[bgp.IPv6Unicast] = true
			}
		case *packet.CapGracefulRestart:
			c.restart = true
			c.restarting = remote.Flags&restartState != 0
			c.restartTime = time.Duration(remote.Time) * time.Second
		case *packet.CapExtendedNexthop:
			for _, t := range remote.Tuples {
				c.extended = c.extended || t.NLRIAFI == packet.AFI_IP && t.NLRISAFI == packet.SAFI_UNICAST && t.NexthopAFI == packet.AFI_IP6
			}
		}
	}
	return c
}
