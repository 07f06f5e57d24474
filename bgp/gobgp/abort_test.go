package gobgp

import (
	"net/netip"
	"slices"
	"testing"

	api "github.com/osrg/gobgp/v3/api"

	"netctl/bgp"
)

// TestAbortIsAtOnce ends a connection: not a word of what GoBGP says from then
// on, such as the NOTIFICATION when it is told that the peer is gone, may reach
// the peer.
func TestAbortIsAtOnce(t *testing.T) {
	r := newRouter(t, "127.0.0.10", nil)
	s := newSpeaker(t)
	if err := s.Apply(t.Context(), config(somePaths(1), r)); err != nil {
		t.Fatal(err)
	}
	r.accept().table(t)
	s.mu.Lock()
	l := s.peers[r.at.Addr()].link
	s.mu.Unlock()
	session := l.established()
	if session == nil {
		t.Fatal("no session")
	}
	l.abort()
	if !session.ended() {
		t.Error("the connection is open still")
	}
}

// TestWhatFailedIsTriedAgain has GoBGP refuse a peer, and paths, for a while.
func TestWhatFailedIsTriedAgain(t *testing.T) {
	r := newRouter(t, "127.0.0.10", nil)
	s := newSpeaker(t)
	c := config(somePaths(3), r)
	none := c
	none.Peers, none.Paths = nil, nil
	if err := s.Apply(t.Context(), none); err != nil {
		t.Fatal(err)
	}

	// Somebody has the place of the peer.
	inner := serverAddr.Next()
	squatter := &api.Peer{Conf: &api.PeerConf{NeighborAddress: inner.String(), PeerAsn: 65009}, Transport: &api.Transport{PassiveMode: true}}
	if err := s.srv.AddPeer(t.Context(), &api.AddPeerRequest{Peer: squatter}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Apply(t.Context(), c); err == nil {
			t.Error("a peer that cannot be added is no error")
		}
	}
	if err := s.srv.DeletePeer(t.Context(), &api.DeletePeerRequest{Address: inner.String()}); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if routes := r.accept().table(t); len(routes) != len(c.Paths) {
		t.Errorf("%d routes, want %d", len(routes), len(c.Paths))
	}
}

func TestFailedPathsAreTriedAgain(t *testing.T) {
	s := newSpeaker(t)
	c := config(somePaths(3))
	half := c
	half.Paths = c.Paths[:2]
	if err := s.Apply(t.Context(), half); err != nil {
		t.Fatal(err)
	}
	if err := s.srv.StopBgp(t.Context(), &api.StopBgpRequest{}); err != nil {
		t.Fatal(err)
	}
	other := c
	other.Paths = c.Paths[1:]
	for range 2 {
		if err := s.Apply(t.Context(), other); err == nil {
			t.Error("paths that cannot be announced are no error")
		}
	}
	if err := s.startBGP(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	var have []netip.Prefix
	for _, f := range families {
		err := s.srv.ListPath(t.Context(), &api.ListPathRequest{Family: apiFamily(f)}, func(d *api.Destination) {
			have = append(have, netip.MustParsePrefix(d.GetPrefix()))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range other.Paths[1:] {
		found := false
		for _, h := range have {
			found = found || h == p.Prefix
		}
		if !found {
			t.Errorf("%s is not announced: %v", p.Prefix, have)
		}
	}
	if _, still := s.scope.paths[c.Paths[0].Prefix]; still {
		t.Errorf("%s is not withdrawn", c.Paths[0].Prefix)
	}
}

// TestNextHopChangesAsTheSessionComesUp changes a next hop when the session is up
// already on the wire, and the speaker has not taken note of it yet.
func TestNextHopChangesAsTheSessionComesUp(t *testing.T) {
	r := newRouter(t, "127.0.0.10", nil)
	s := newSpeaker(t)
	c := config(somePaths(1), r)
	if err := s.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	k := r.accept()
	routes := k.table(t)
	s.mu.Lock()
	s.peers[r.at.Addr()].state = bgp.OpenConfirm
	s.mu.Unlock()
	c.Peers = slices.Clone(c.Peers)
	c.Peers[0].NextHop4 = netip.MustParseAddr("192.0.2.200")
	if err := s.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context(), bgp.Restart, ""); err != nil {
		t.Fatal(err)
	}
	for _, m := range k.ended(t) {
		k.read(t, m, routes)
	}
	for p, nextHop := range routes {
		if p.Addr().Is4() && nextHop != c.Peers[0].NextHop4 {
			t.Errorf("%s has the next hop %s", p, nextHop)
		}
	}
}

// TestUnknownPeer asks for what a peer was sent that has just been removed.
func TestUnknownPeer(t *testing.T) {
	s := newSpeaker(t)
	sent, err := s.Advertised(t.Context(), netip.MustParseAddr("192.0.2.77"))
	if err != nil || len(sent) > 0 {
		t.Errorf("%v, %v; want nothing", sent, err)
	}
}
