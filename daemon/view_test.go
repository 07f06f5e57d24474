package daemon

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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

// aNetwork returns a store that holds a network with a peer.
func aNetwork(t *testing.T, decoder *decoder) stillStore {
	t.Helper()
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
	return stillStore{objs: objs}
}

// TestView looks at a host that changes, and that cannot be looked at at times.
func TestView(t *testing.T) {
	decoder := &decoder{}
	peer, source := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("192.0.2.9")
	routed := link.Observed{Toward: map[netip.Addr]link.Toward{peer: {Dev: "eth0", Src: source, Via: netip.MustParseAddr("192.0.2.254")}}}
	var now link.Observed
	var blind error
	looks := 0
	v := newView(aNetwork(t, decoder), decoder, func(context.Context, []netip.Addr) (link.Observed, error) {
		looks++
		o := now
		o.Toward = map[netip.Addr]link.Toward{}
		maps.Copy(o.Toward, now.Toward)
		return o, blind
	}, func() { t.Error("nobody went on without a look") })
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

// TestSlowLook has looks at the host that take long: the first is waited for,
// and so is one after a look that failed; later, the last one that there was
// has to do, and who went without is told when there is another.
func TestSlowLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		decoder := &decoder{}
		const takes = 15 * time.Second
		up := map[string]*link.Seen{"br0": {Name: "br0", Alias: link.AliasPrefix + "br0", Up: true, Addrs: []link.Addr{{Prefix: netip.MustParsePrefix("10.1.0.1/24")}}}}
		var now map[string]*link.Seen
		var blind error
		var looks, told atomic.Int64
		v := newView(aNetwork(t, decoder), decoder, func(context.Context, []netip.Addr) (link.Observed, error) {
			looks.Add(1)
			o, err := link.Observed{Links: now, Toward: map[netip.Addr]link.Toward{}}, blind
			time.Sleep(takes)
			return o, err
		}, func() { told.Add(1) })
		step := func(what string, wantTook time.Duration, wantPaths int, wantLooks int64) {
			t.Helper()
			start := time.Now()
			h, err := v.host(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != wantTook || len(h.BGP.Paths) != wantPaths || looks.Load() != wantLooks {
				t.Errorf("%s: %d paths after %s and %d looks, want %d after %s and %d", what, len(h.BGP.Paths), took, looks.Load(), wantPaths, wantTook, wantLooks)
			}
			synctest.Wait()
		}
		step("the first", takes, 0, 1)
		step("again", 0, 0, 1)
		now = up
		v.changed()
		step("the bridge comes up", glance, 0, 2)
		step("still", glance, 0, 2)
		now = nil
		v.changed() // which that look does not see
		time.Sleep(takes)
		synctest.Wait()
		if told.Load() != 1 {
			t.Errorf("told %d times of the look that ended", told.Load())
		}
		step("that look says it is up", glance, 1, 3)
		if o, err := v.observed(t.Context()); err != nil || len(o.Links) != 1 {
			t.Errorf("%+v, %v", o, err)
		}
		s, err := decoder.snapshot(v.store.(stillStore).objs)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.risen(t.Context(), s); err != nil || !v.fresh(nil, v.begun) {
			t.Errorf("a plan did not wait for a look: %v", err)
		}
		step("it went down", 0, 0, 4)
		synctest.Wait()
		if told.Load() != 2 {
			t.Errorf("told %d times", told.Load())
		}

		blind = errors.New("no buffer space available")
		v.changed()
		step("blind", glance, 0, 5)
		time.Sleep(takes)
		synctest.Wait()
		if told.Load() != 3 {
			t.Errorf("told %d times", told.Load())
		}
		if _, err := v.host(t.Context()); !errors.Is(err, blind) {
			t.Errorf("the look failed: %v", err)
		}
		blind = nil
		step("sighted again", takes, 0, 7)
	})
}

// TestWithdrawWhileLookHangs withdraws a network although the host cannot be
// looked at, and follows the host once it can.
func TestWithdrawWhileLookHangs(t *testing.T) {
	b := newBench(t)
	b.enable()
	paths := func(want int) func() bool { return func() bool { return len(b.speaker.last().Paths) == want } }
	b.eventually("announced", paths(1))
	hang := make(chan struct{})
	resume := sync.OnceFunc(func() { close(hang) })
	defer resume()
	b.host.mu.Lock()
	b.host.hang = hang
	b.host.mu.Unlock()
	b.host.changed <- struct{}{}
	if _, err := b.DeleteNetwork(t.Context(), "br0", ""); err != nil {
		t.Fatal(err)
	}
	b.eventually("withdrawn", paths(0))
	rev, err := b.CreateNetwork(t.Context(), api.NetworksPost{Name: "br1", Config: map[string]string{
		"ipv4.address": "10.2.0.1/24", "ipv6.address": "none", "bgp.peers.tor.address": "192.0.2.1", "bgp.peers.tor.asn": "65000",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !paths(0)() {
		t.Error("announced before it was seen")
	}
	resume()
	b.applied(rev, nil)
	b.eventually("announced again", paths(1))
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
