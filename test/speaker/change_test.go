package speaker_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"netctl/bgp"
	"netctl/test/lab"
)

// TestChangeOnePeer changes what belongs to one peer. The others keep their
// sessions, and no route goes anywhere.
func TestChangeOnePeer(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		w := newWorld(t, engine, []kind{frr4, bird6, bird4}, func(i int, p *lab.RouterPeer, _ *lab.RouterConfig) {
			if i == 1 {
				p.Password = "secret"
			}
		})
		changed := w.routers[1]
		peer := func() *bgp.Peer {
			for i := range w.config.Peers {
				if w.config.Peers[i].Addr == changed.addr {
					return &w.config.Peers[i]
				}
			}
			return nil
		}
		w.startRouters()
		w.config.Paths = w.paths(0, 1000)
		peer().Password = "secret"
		w.start()
		for _, r := range w.routers {
			w.settled(r)
		}
		before := map[*router]bgp.Session{}
		for _, r := range w.routers {
			before[r] = w.agent.session(r.addr)
		}
		since := time.Now()
		for _, step := range []struct {
			name   string
			change func(*bgp.Peer)
			flaps  uint64
		}{
			{"hold time", func(p *bgp.Peer) { p.HoldTime = 60 * time.Second }, 0},
			{"passive", func(p *bgp.Peer) { p.Passive = true }, 0},
			{"source", func(p *bgp.Peer) { p.Source = netip.Addr{} }, 0},
			{"GTSM", func(p *bgp.Peer) { p.TTLSecurity = 255; p.Passive = false }, 0},
			{"no GTSM", func(p *bgp.Peer) { p.TTLSecurity = 0 }, 1},
		} {
			if step.name == "GTSM" {
				continue // the router would have to change too
			}
			step.change(peer())
			w.agent.apply(w.config)
			w.agent.apply(w.config)
			s := w.settled(changed)
			if s.Flaps != before[changed].Flaps {
				t.Errorf("%s: %d flaps", step.name, s.Flaps)
			}
		}
		// A wrong password keeps the session from coming back; the right one
		// brings it back before the helper gives up.
		peer().Password = "wrong"
		w.agent.apply(w.config)
		w.Eventually(10*time.Second, "session down", func() error {
			if s := w.agent.session(changed.addr); s.State == bgp.Established {
				return fmt.Errorf("still up")
			}
			return nil
		})
		peer().Password = "secret"
		w.agent.apply(w.config)
		w.settled(changed)
		for _, r := range w.routers {
			w.mustNotLose("change", r, since)
			s := w.agent.session(r.addr)
			if r != changed && (s.Since != before[r].Since || s.UpdatesSent != before[r].UpdatesSent) {
				t.Errorf("%s was touched: %+v, before %+v", r.NS().Name, s, before[r])
			}
			if r == changed && (s.Flaps != 1 || s.HoldTime != 60*time.Second) {
				t.Errorf("%+v", s)
			}
		}

		// A peer that is removed forgets us at once; the others do not care.
		since = time.Now()
		w.config.Peers = deletePeer(w.config.Peers, changed.addr)
		w.agent.apply(w.config)
		lab.WaitKernel(changed, 0, 10*time.Second, all4, all6)
		for _, r := range []*router{w.routers[0], w.routers[2]} {
			if changes := r.mon.Changes(since, nil); len(changes) > 0 {
				t.Errorf("%s heard of it: %v", r.NS().Name, changes[0])
			}
		}
		if !strings.Contains(changed.Log(), "Peer de-configured") {
			t.Error("the router was not told why")
		}
	}
}

func deletePeer(peers []bgp.Peer, a netip.Addr) []bgp.Peer {
	var out []bgp.Peer
	for _, p := range peers {
		if p.Addr != a {
			out = append(out, p)
		}
	}
	return out
}

// TestReset resets a session by hand.
func TestReset(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		w := newWorld(t, engine, []kind{frr4, bird6}, nil)
		w.startRouters()
		w.config.Paths = w.paths(0, 3)
		w.start()
		for _, r := range w.routers {
			w.settled(r)
			since := time.Now()
			w.agent.must(request{Method: "reset", Peer: r.addr})
			w.Eventually(10*time.Second, "back", func() error {
				if s := w.agent.session(r.addr); s.State != bgp.Established || s.Flaps != 1 || s.Since.Before(since) {
					return fmt.Errorf("%+v", s)
				}
				return nil
			})
			if took := time.Since(since); took > 5*time.Second {
				t.Errorf("%s took %s to come back", r.NS().Name, took)
			}
			w.settled(r)
		}
		if _, err := w.agent.call(request{Method: "reset", Peer: netip.MustParseAddr("192.0.2.1")}); err == nil || err.Error() != "reset: peer 192.0.2.1: not configured" {
			t.Errorf("unknown peer: %v", err)
		}
	}
}

// TestStopAndGo turns the speaker off and on, and changes who it is.
func TestStopAndGo(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		w := newWorld(t, engine, []kind{frr4, bird6}, nil)
		w.startRouters()
		w.config.Paths = w.paths(0, 100)
		w.start()
		for _, r := range w.routers {
			w.settled(r)
		}
		// Nothing configured: every router forgets us at once.
		w.agent.apply(bgp.Config{})
		for _, r := range w.routers {
			lab.WaitTable(r, 0, 5*time.Second, all4, all6)
		}
		for _, r := range w.routers {
			lab.WaitKernel(r, 0, 5*time.Second, all4, all6)
		}
		if s := w.agent.must(request{Method: "status"}).Status; s.Running || len(s.Listening) > 0 {
			t.Errorf("%+v", s)
		}
		if s := w.agent.must(request{Method: "sessions"}).Sessions; len(s) > 0 {
			t.Errorf("%+v", s)
		}
		w.agent.apply(w.config)
		for _, r := range w.routers {
			w.settled(r)
		}
		// Another router id restarts all sessions, with the helpers' help.
		since := time.Now()
		w.config.RouterID = netip.MustParseAddr("10.0.0.99")
		w.agent.apply(w.config)
		for _, r := range w.routers {
			w.settled(r)
			w.mustNotLose("router id", r, since)
		}
		// Other addresses to listen on concern no session.
		w.config.Listen = w.config.Listen[:1]
		w.agent.apply(w.config)
		if s := w.agent.must(request{Method: "status"}).Status; len(s.Listening) != 1 || s.RouterID != w.config.RouterID {
			t.Errorf("%+v", s)
		}
		for _, r := range w.routers {
			if s := w.agent.session(r.addr); s.Flaps != 0 || s.State != bgp.Established {
				t.Errorf("%+v", s)
			}
		}
		w.goodbye()
	}
}

// TestNewConnection loses a router without a sign of it: the connection that
// the router makes when it is back takes the place of the dead one at once,
// long before the hold timer would notice.
func TestNewConnection(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		for _, k := range []kind{bird4, bird6} {
			w := newWorld(t, engine, []kind{k}, nil)
			w.startRouters()
			w.config.Paths = w.paths(0, 100)
			w.start()
			r := w.routers[0]
			w.settled(r)
			since := time.Now()
			open := w.block(r)
			r.Kill()
			open()
			r.Resume()
			w.Eventually(10*time.Second, "new session", func() error {
				if s := w.agent.session(r.addr); s.State != bgp.Established || s.Flaps != 1 {
					return fmt.Errorf("%+v", s)
				}
				return nil
			})
			w.settled(r)
			w.mustNotLose("new connection", r, since)
		}
	}
}
