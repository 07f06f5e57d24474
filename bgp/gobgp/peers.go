package gobgp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"netctl/bgp"
)

// A peer is one configured peer and what we know of its session.
type peer struct {
	want  bgp.Peer // as configured
	used  bgp.Peer // as GoBGP was told for the present session
	added bool     // GoBGP knows it

	state    bgp.State
	since    time.Time
	up       bool // has been established since it was last armed
	extended bool // negotiated RFC 8950 on its last session
	flaps    uint64
	err      string                    // why the last session or attempt ended
	nextHop  map[bgp.Family]netip.Addr // as GoBGP's policy has it

	sent, received             uint64 // messages of the present session
	sentBefore, receivedBefore uint64 // and of those before

	counted    bool // advertised is up to date
	advertised map[bgp.Family]int
}

// changePeers makes the sessions match, and the policy with them. It needs mu.
func (s *Speaker) changePeers(ctx context.Context, changes bgp.Changes) error {
	var errs []error
	for _, a := range changes.DelPeers {
		errs = append(errs, s.deletePeer(ctx, a))
	}
	for _, ch := range changes.SetPeers {
		errs = append(errs, s.changePeer(ctx, ch))
	}
	var added []*peer
	for _, want := range changes.AddPeers {
		p := &peer{want: want, state: bgp.Idle, since: time.Now()}
		s.peers[want.Addr] = p
		added = append(added, p)
	}
	errs = append(errs, s.setPolicy(ctx))
	for _, p := range added {
		errs = append(errs, s.addPeer(ctx, p))
	}
	return errors.Join(errs...)
}

// addPeer gives a peer to GoBGP as it is configured now.
func (s *Speaker) addPeer(ctx context.Context, p *peer) error {
	p.used, p.up, p.added = p.want, false, false
	if isOwn(p.want.Addr, p.want.LocalAddr, p.want.Source) {
		p.err = fmt.Sprintf("%s is an address of this host", p.want.Addr)
		return nil
	}
	if p.want.Password == "" {
		// GoBGP leaves the key of a deleted peer on its listeners.
		clearPassword(p.want.Addr, s.listen)
	}
	if err := s.srv.AddPeer(ctx, &api.AddPeerRequest{Peer: apiPeer(p.want, s.status.ASN, s.restartTime)}); err != nil {
		return fmt.Errorf("add peer %s: %w", p.want.Addr, err)
	}
	p.added = true
	return nil
}

// deletePeer ends the session with a NOTIFICATION (Cease, peer de-configured;
// RFC 4486 section 3): the peer forgets our routes.
func (s *Speaker) deletePeer(ctx context.Context, a netip.Addr) error {
	p := s.peers[a]
	if p == nil {
		return nil
	}
	delete(s.peers, a)
	s.setState(p, bgp.Idle, "the peer was removed from the configuration")
	s.reasons.forget(a)
	if !p.added {
		return nil
	}
	if err := s.srv.DeletePeer(ctx, &api.DeletePeerRequest{Address: a.String()}); err != nil {
		return fmt.Errorf("delete peer %s: %w", a, err)
	}
	if p.used.Password != "" {
		clearPassword(a, s.listen)
	}
	return nil
}

// changePeer makes a session match its new configuration. Who the two ends
// are makes another session; how they are connected makes another connection,
// which helpers bridge; everything else waits for the next session or is
// policy.
func (s *Speaker) changePeer(ctx context.Context, ch bgp.PeerChange) error {
	have, want := ch.Have, ch.Want
	p := s.peers[want.Addr]
	if p == nil {
		return nil
	}
	p.want = want
	identity := have.ASN != want.ASN || have.LocalAddr != want.LocalAddr
	transport := have.Password != want.Password || have.Port != want.Port ||
		have.Multihop != want.Multihop || have.TTLSecurity != want.TTLSecurity
	source := have.Source != want.Source || have.Passive != want.Passive || have.HoldTime != want.HoldTime
	switch {
	case !p.added:
		return s.addPeer(ctx, p)
	case identity:
		s.setState(p, bgp.Idle, "its configuration changed")
		return s.rearm(ctx, p)
	case transport:
		return s.cut(ctx, p, "its configuration changed")
	case source && p.state != bgp.Established && p.state != bgp.OpenConfirm:
		return s.rearm(ctx, p)
	}
	return nil
}

// cut ends the connection of a session without a NOTIFICATION, and starts
// another.
func (s *Speaker) cut(ctx context.Context, p *peer, why string) error {
	cutSessions(map[netip.Addr]uint16{p.used.Addr: p.used.Port}, s.listen)
	s.setState(p, bgp.Idle, why)
	return s.rearm(ctx, p)
}

// isOwn reports whether a is an address of this host.
func isOwn(a netip.Addr, own ...netip.Addr) bool {
	if slices.Contains(own, a) {
		return true
	}
	addrs, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(addrs, func(n net.Addr) bool {
		p, err := netip.ParsePrefix(n.String())
		return err == nil && p.Addr() == a
	})
}

// holdTime is the hold time for OPEN in seconds. GoBGP cannot send 0; with
// 65535 the peer's own value decides, and its 0 turns keepalives off on both
// sides (RFC 4271 section 4.2).
func holdTime(d time.Duration) uint64 {
	if d == 0 {
		return 65535
	}
	return uint64(d / time.Second)
}

// apiPeer puts a peer into the words of GoBGP.
func apiPeer(p bgp.Peer, asn uint32, restartTime time.Duration) *api.Peer {
	out := &api.Peer{
		Conf: &api.PeerConf{
			NeighborAddress: p.Addr.String(), PeerAsn: p.ASN, AuthPassword: string(p.Password),
		},
		// One second is the least: attempts follow each other after one or
		// two.
		Timers:          &api.Timers{Config: &api.TimersConfig{ConnectRetry: 1, IdleHoldTimeAfterReset: 1, HoldTime: holdTime(p.HoldTime)}},
		Transport:       &api.Transport{RemotePort: uint32(p.Port), PassiveMode: p.Passive},
		GracefulRestart: gracefulRestart(restartTime),
		AfiSafis:        afiSafis(),
	}
	switch {
	case p.LocalAddr.IsValid():
		out.Transport.LocalAddress = p.LocalAddr.String()
	case p.Source.IsValid():
		out.Transport.LocalAddress = p.Source.String()
	}
	switch {
	case p.TTLSecurity > 0:
		out.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: uint32(p.TTLSecurity)}
	case p.Multihop > 0 && p.ASN != asn:
		out.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(p.Multihop)}
	}
	return out
}

// setPolicy gives GoBGP the export policy for the classes of paths and the
// peers as they are now. A session that has been told another next hop is told
// again, which replaces the routes at the peer; one that has been told a next
// hop and now gets none starts anew, so that End-of-RIB removes the routes
// there. It needs mu.
func (s *Speaker) setPolicy(ctx context.Context) error {
	addrs := slices.SortedFunc(maps.Keys(s.peers), netip.Addr.Compare)
	nextHops := map[netip.Addr]map[bgp.Family]netip.Addr{}
	var again, anew []*peer
	for _, a := range addrs {
		p := s.peers[a]
		now := map[bgp.Family]netip.Addr{}
		for _, f := range families {
			now[f], _ = p.want.NextHop(f, p.extended)
		}
		nextHops[a] = now
		changed, lost := false, false
		for _, f := range families {
			changed = changed || p.nextHop[f] != now[f]
			lost = lost || p.nextHop[f].IsValid() && !now[f].IsValid()
		}
		p.nextHop = now
		switch {
		case p.state != bgp.Established || !changed:
		case lost:
			anew = append(anew, p)
		default:
			again = append(again, p)
		}
	}
	rules := s.scope.rules(addrs, nextHops)
	if text := fmt.Sprint(rules); text != s.policy {
		if err := s.srv.SetPolicies(ctx, policies(rules)); err != nil {
			return fmt.Errorf("export policy: %w", err)
		}
		s.policy = text
	}
	var errs []error
	for _, p := range again {
		errs = append(errs, s.tellAgain(ctx, p))
	}
	for _, p := range anew {
		if !s.deferring(ctx, p) {
			errs = append(errs, s.cut(ctx, p, "this host lost its address toward the peer"))
		}
	}
	return errors.Join(errs...)
}

// tellAgain sends the whole table once more (soft reset out). A session that
// has not been told it at all will be, by the new policy.
func (s *Speaker) tellAgain(ctx context.Context, p *peer) error {
	if s.deferring(ctx, p) {
		return nil
	}
	s.bulk.at = time.Now()
	p.counted = false
	err := s.srv.ResetPeer(ctx, &api.ResetPeerRequest{Address: p.want.Addr.String(), Soft: true, Direction: api.ResetPeerRequest_OUT})
	if err != nil {
		return fmt.Errorf("tell peer %s again: %w", p.want.Addr, err)
	}
	return nil
}

// deferring reports whether GoBGP has not sent its table to p yet.
func (s *Speaker) deferring(ctx context.Context, p *peer) bool {
	seen := s.look(ctx, p.want.Addr)
	return seen == nil || seen.GetGracefulRestart().GetLocalRestarting()
}

// look returns what GoBGP says about a peer, or nil when it does not know it.
func (s *Speaker) look(ctx context.Context, a netip.Addr) *api.Peer {
	var seen *api.Peer
	_ = s.srv.ListPeer(ctx, &api.ListPeerRequest{Address: a.String()}, func(p *api.Peer) { seen = p })
	return seen
}

// touch forgets what was counted for the sessions. It needs mu.
func (s *Speaker) touch() {
	for _, p := range s.peers {
		p.counted = false
	}
}
