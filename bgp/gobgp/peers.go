package gobgp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"netctl/bgp"
)

// A peer is one configured peer and what we know of its session.
type peer struct {
	want  bgp.Peer   // as configured
	inner netip.Addr // as GoBGP knows it
	link  *link      // nil for a peer that cannot be one

	state    bgp.State
	since    time.Time
	session  *relay // the established one
	extended bool   // negotiated RFC 8950 on its last session
	flaps    uint64
	err      string                    // why the last session or attempt ended
	nextHop  map[bgp.Family]netip.Addr // as GoBGP's policy has it
	counters counters
}

// counters count the UPDATEs of all sessions with a peer.
type counters struct{ sent, received atomic.Uint64 }

// changePeers makes the sessions match, and the policy with them. It needs mu.
func (s *Speaker) changePeers(ctx context.Context, changes bgp.Changes) error {
	var errs []error
	for _, a := range changes.DelPeers {
		errs = append(errs, s.deletePeer(ctx, a))
	}
	for _, ch := range changes.SetPeers {
		errs = append(errs, s.changePeer(ctx, ch))
	}
	for _, want := range changes.AddPeers {
		p := &peer{want: want, inner: s.freeInner(), state: bgp.Idle, since: time.Now()}
		s.peers[want.Addr], s.inside[p.inner] = p, true
	}
	errs = append(errs, s.setPolicy(ctx))
	// Those that are new, and those that could not be added before.
	for _, a := range slices.SortedFunc(maps.Keys(s.peers), netip.Addr.Compare) {
		if p := s.peers[a]; p.link == nil {
			errs = append(errs, s.addPeer(ctx, p))
		}
	}
	return errors.Join(errs...)
}

// freeInner returns an address for GoBGP to know a new peer by. It needs mu.
func (s *Speaker) freeInner() netip.Addr {
	a := serverAddr.Next()
	for s.inside[a] {
		a = a.Next()
	}
	return a
}

// addPeer gives a peer to GoBGP and starts to connect. It needs mu.
func (s *Speaker) addPeer(ctx context.Context, p *peer) error {
	p.link = nil
	if isOwn(p.want.Addr, p.want.LocalAddr, p.want.Source) {
		p.err = fmt.Sprintf("%s is an address of this host", p.want.Addr)
		return nil
	}
	err := s.listeners.password(p.want.Addr, p.want.Password)
	if err == nil {
		err = s.srv.AddPeer(ctx, &api.AddPeerRequest{Peer: s.apiPeer(p)})
	}
	if err != nil {
		p.err = err.Error()
		return fmt.Errorf("add peer %s: %w", p.want.Addr, err)
	}
	s.connect(ctx, p)
	return nil
}

// connect gives a peer a new link. It needs mu.
func (s *Speaker) connect(ctx context.Context, p *peer) {
	ctx = context.WithoutCancel(ctx)
	addr := p.want.Addr // never changes, unlike the rest, which needs mu
	l := &link{
		peer: p.want, asn: s.status.ASN, inner: inner{p.inner, s.server, s.secret}, counters: &p.counters, patience: s.patience,
		changed: func() { s.poke(addr) },
	}
	l.opened = func(o open) { s.opened(ctx, p, l, o) }
	l.over = func() { s.renew(ctx, p, l) }
	p.link = l
	l.start(ctx)
}

// opened makes the export policy suit a session that is about to come up.
func (s *Speaker) opened(ctx context.Context, p *peer, l *link, o open) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.link != l || p.extended == o.extended {
		return
	}
	p.extended = o.extended
	if err := s.setPolicy(ctx); err != nil {
		s.log.Warn("next hops for a peer", "peer", p.want.Addr, "err", err)
	}
}

// renew gives GoBGP a peer anew, for its next session: it would rest for
// seconds after the last one.
func (s *Speaker) renew(ctx context.Context, p *peer, l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.link != l || s.leaving {
		return
	}
	err := s.srv.DeletePeer(ctx, &api.DeletePeerRequest{Address: p.inner.String()})
	if err == nil {
		err = s.srv.AddPeer(ctx, &api.AddPeerRequest{Peer: s.apiPeer(p)})
	}
	if err != nil {
		s.log.Error("prepare a peer for its return", "peer", p.want.Addr, "err", err)
	}
}

// deletePeer ends the session with a NOTIFICATION (Cease, peer de-configured;
// RFC 4486 section 3): the peer forgets our routes. It needs mu.
func (s *Speaker) deletePeer(ctx context.Context, a netip.Addr) error {
	p := s.peers[a]
	if p == nil {
		return nil
	}
	delete(s.peers, a)
	delete(s.inside, p.inner)
	s.setState(p, bgp.Idle, "the peer was removed from the configuration")
	if p.link == nil {
		return nil
	}
	s.part(p)
	err := s.srv.DeletePeer(ctx, &api.DeletePeerRequest{Address: p.inner.String()})
	if err != nil {
		err = fmt.Errorf("delete peer %s: %w", a, err)
	}
	return errors.Join(err, s.listeners.password(a, ""))
}

// part lets the link of a peer end with the session that GoBGP is about to
// close.
func (s *Speaker) part(p *peer) {
	l := p.link
	p.link = nil
	s.tasks.Go(l.finish)
}

// changePeer makes a session match its new configuration. Who the two ends
// are makes another session; how they are connected makes another connection,
// which helpers bridge; everything else waits for the next session or is
// policy. It needs mu.
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
	next := have.Source != want.Source || have.Passive != want.Passive || have.HoldTime != want.HoldTime
	switch {
	case p.link == nil: // changePeers adds it
	case identity:
		s.setState(p, bgp.Idle, "its configuration changed")
		s.part(p)
		if err := s.srv.DeletePeer(ctx, &api.DeletePeerRequest{Address: p.inner.String()}); err != nil {
			return fmt.Errorf("change peer %s: %w", want.Addr, err)
		}
		return s.addPeer(ctx, p)
	case transport, next && p.state != bgp.Established:
		return s.cut(ctx, p, "its configuration changed")
	case next:
		p.link.use(want)
	}
	return nil
}

// cut ends the connection of a session without a NOTIFICATION, and starts
// another. It needs mu.
func (s *Speaker) cut(ctx context.Context, p *peer, why string) error {
	p.link.abort()
	p.link = nil
	s.setState(p, bgp.Idle, why)
	if err := s.srv.DeletePeer(ctx, &api.DeletePeerRequest{Address: p.inner.String()}); err != nil {
		return fmt.Errorf("peer %s: %w", p.want.Addr, err)
	}
	return s.addPeer(ctx, p)
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

// neverExpires is the hold time that GoBGP has instead of 0: the longest.
const neverExpires = 65535 * time.Second

// apiPeer puts a peer into the words of GoBGP.
func (s *Speaker) apiPeer(p *peer) *api.Peer {
	hold := p.want.HoldTime
	if hold == 0 {
		hold = neverExpires
	}
	out := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: p.inner.String(), PeerAsn: p.want.ASN, AuthPassword: s.secret},
		Timers:    &api.Timers{Config: &api.TimersConfig{HoldTime: uint64(hold / time.Second)}},
		Transport: &api.Transport{PassiveMode: true},
		// Without NotificationEnabled (the N bit of RFC 8538) a NOTIFICATION
		// makes peers forget our routes.
		GracefulRestart: &api.GracefulRestart{Enabled: true, RestartTime: uint32(s.restartTime / time.Second)},
	}
	for _, f := range families {
		out.AfiSafis = append(out.AfiSafis, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: apiFamily(f), Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}},
		})
	}
	return out
}

// setPolicy gives GoBGP the export policy for the classes of paths and the
// peers as they are now. A session that may have been told another next hop is told
// again, which replaces the routes at the peer; one that has been told a next
// hop and now gets none starts anew, so that End-of-RIB removes the routes
// there. It needs mu.
func (s *Speaker) setPolicy(ctx context.Context) error {
	addrs := slices.SortedFunc(maps.Keys(s.peers), netip.Addr.Compare)
	var hear []audience
	var again, anew []*peer
	next := make(map[*peer]map[bgp.Family]netip.Addr, len(addrs))
	for _, a := range addrs {
		p := s.peers[a]
		now := map[bgp.Family]netip.Addr{}
		changed, lost := false, false
		for _, f := range families {
			now[f], _ = p.want.NextHop(f, p.extended)
			changed = changed || p.nextHop[f] != now[f]
			lost = lost || p.nextHop[f].IsValid() && !now[f].IsValid()
		}
		next[p] = now
		hear = append(hear, audience{addr: a, inner: p.inner, nextHop: now})
		switch {
		case !changed || !p.link.connected(): // the table is yet to come
		case lost:
			anew = append(anew, p)
		default:
			again = append(again, p)
		}
	}
	rules := s.scope.rules(hear, s.moving)
	if text := fmt.Sprint(rules); text != s.policy {
		if err := s.srv.SetPolicies(ctx, policies(rules)); err != nil {
			return fmt.Errorf("export policy: %w", err)
		}
		s.policy = text
	}
	for p, now := range next {
		p.nextHop = now
	}
	var errs []error
	for _, p := range again {
		errs = append(errs, s.tellAgain(ctx, p))
	}
	for _, p := range anew {
		errs = append(errs, s.cut(ctx, p, "this host lost its address toward the peer"))
	}
	return errors.Join(errs...)
}

// tellAgain sends the whole table once more (soft reset out). It needs mu.
func (s *Speaker) tellAgain(ctx context.Context, p *peer) error {
	err := s.srv.ResetPeer(ctx, &api.ResetPeerRequest{Address: p.inner.String(), Soft: true, Direction: api.ResetPeerRequest_OUT})
	if err != nil {
		return fmt.Errorf("tell peer %s again: %w", p.want.Addr, err)
	}
	return nil
}
