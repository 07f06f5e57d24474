package daemon

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"testing"

	"netctl/api"
	"netctl/db"
	"netctl/network/link"
)

// A still store is always at one revision.
type stillStore struct {
	db.Store
	objs *db.Objects
}

func (s stillStore) Snapshot(context.Context) (*db.Objects, error) { return s.objs, nil }

// TestView looks at a host that changes, and that cannot be looked at at times.
func TestView(t *testing.T) {
	decoder := &decoder{}
	objs, _, err := db.Apply(t.Context(), db.NewObjects(0, nil), decoder.check, func(tx *db.Tx) error {
		return errors.Join(
			tx.Put(serverKey, schemaVersion, storedServer{map[string]string{"core.bgp_asn": "65000"}}),
			tx.Put(serverMemberKey, schemaVersion, storedServer{map[string]string{"core.bgp_address": "192.0.2.9"}}),
			tx.Put(networkKey("br0"), schemaVersion, storedNetwork{Type: "bridge", Config: map[string]string{
				"ipv4.address": "10.1.0.1/24", "ipv6.address": "none", "bgp.peers.x.address": "198.51.100.1", "bgp.peers.x.asn": "65001",
			}}))
	})
	if err != nil {
		t.Fatal(err)
	}
	peer, source := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("192.0.2.9")
	routed := link.Observed{Toward: map[netip.Addr]link.Toward{peer: {Dev: "eth0", Src: source, Via: netip.MustParseAddr("192.0.2.254")}}}
	var now link.Observed
	var blind error
	looks := 0
	v := newView(stillStore{objs: objs}, decoder, func(context.Context, []netip.Addr) (link.Observed, error) {
		looks++
		o := now
		o.Toward = map[netip.Addr]link.Toward{}
		maps.Copy(o.Toward, now.Toward)
		return o, blind
	})
	host := func(wantLooks int) (multihop uint8) {
		t.Helper()
		h, err := v.host(t.Context())
		if err != nil || len(h.BGP.Peers) != 1 {
			t.Fatalf("%+v, %v", h, err)
		}
		if looks != wantLooks {
			t.Errorf("looked %d times, want %d", looks, wantLooks)
		}
		return h.BGP.Peers[0].Multihop
	}
	now = routed
	if got := host(1); got != 255 {
		t.Errorf("multihop %d", got)
	}
	host(1) // nothing has changed

	// The route goes for a moment: the session is left as it is.
	now = link.Observed{}
	v.changed()
	if got := host(2); got != 255 {
		t.Errorf("without a route: multihop %d", got)
	}

	// A look that fails is taken again.
	v.changed()
	blind = errors.New("no buffer space available")
	if _, err := v.host(t.Context()); !errors.Is(err, blind) {
		t.Errorf("the look failed: %v", err)
	}
	blind, now = nil, link.Observed{Toward: map[netip.Addr]link.Toward{peer: {Dev: "eth0", Src: source}}}
	if got := host(4); got != 0 {
		t.Errorf("on the link: multihop %d", got)
	}
}

// TestSpoken holds the speaker back for as long as something is held back.
func TestSpoken(t *testing.T) {
	var s spoken
	for _, tt := range []struct {
		rev   int64
		lacks string
		want  int64 // what has been followed
	}{{3, "", 3}, {5, "10.1.0.0/24 is held", 3}, {6, "10.1.0.0/24 is held", 3}, {6, "", 6}, {7, "", 7}} {
		s.set(tt.rev, tt.lacks)
		got := s.limit(api.Target{Applied: tt.rev})
		if got.Applied != tt.want || got.Error != tt.lacks {
			t.Errorf("after revision %d, %q: %+v, want %d", tt.rev, tt.lacks, got, tt.want)
		}
	}
	// What the speaker was given is not what it has applied.
	if got := s.limit(api.Target{Applied: 2}); got.Applied != 2 {
		t.Errorf("%+v", got)
	}
}
