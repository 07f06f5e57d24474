package speaker_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"netctl/bgp"
	"netctl/test/lab"
)

// routes is how many paths of each family the restarts carry: enough for a
// flush at a router to be seen.
const routes = 10000

// TestRestart takes a speaker and its routers through everything that can
// interrupt a session, with a monitor of every router's BGP table and kernel
// routes. At every step one path of each family leaves the configuration and
// another one joins it while sessions are down: the first must go, which is
// how the test knows that End-of-RIB has been heard, and nothing else may, at
// no moment.
func TestRestart(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		for name, cast := range map[string][]kind{
			"one FRR":                  {frr4},
			"one BIRD":                 {bird6},
			"FRR and BIRD":             {frr6, bird4},
			"two FRR and BIRD":         {frr4, bird6, frr6},
			"BIRD, FRR and BIRD again": {bird4, frr4, bird6},
		} {
			t.Run(engine+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, engine, cast, nil)
				w.startRouters()
				w.config.Paths = w.paths(0, routes)
				w.start()
				w.waitExact("start", 60*time.Second)
				for _, step := range interruptions {
					w.interrupt(step)
				}
				w.goodbye()
			})
		}
	}
}

// An interruption is something that a session has to survive.
type interruption struct {
	name string
	// itself says that the first router restarts itself, which not every
	// router can do without losing its own routes.
	itself bool
	do     func(*world) // ends with the configuration of the world applied
}

// interrupt does something to the sessions, and says what it must not do to
// the routes.
func (w *world) interrupt(step interruption) {
	w.Helper()
	since := time.Now()
	w.replace()
	step.do(w)
	w.waitExact(step.name, 60*time.Second)
	for _, r := range w.routers {
		if !step.itself || r != w.routers[0] || r.KeepsRoutes() {
			w.mustNotLose(step.name, r, since)
		}
	}
	w.Logf("%s: %s", step.name, time.Since(since).Round(10*time.Millisecond))
}

var interruptions = []interruption{
	{"SIGTERM", false, func(w *world) {
		w.agent.kill(syscall.SIGTERM)
		w.start()
	}},
	{"kill -9", false, func(w *world) {
		w.agent.kill(syscall.SIGKILL)
		w.start()
	}},
	{"upgrade", false, func(w *world) {
		w.agent.kill(syscall.SIGTERM)
		time.Sleep(10 * time.Second) // the time that the upgrade takes
		w.start()
	}},
	{"restart with the last router late", false, func(w *world) {
		w.late(w.routers[len(w.routers)-1])
	}},
	{"restart with the first router late", false, func(w *world) {
		w.late(w.routers[0])
	}},
	{"TCP reset", false, func(w *world) {
		for _, r := range w.routers {
			w.cut(r)
		}
		w.agent.apply(w.config)
	}},
	{"TCP reset of one session", false, func(w *world) {
		w.cut(w.routers[0])
		w.agent.apply(w.config)
	}},
	{"router restarts", true, func(w *world) {
		w.routers[0].Kill()
		w.agent.apply(w.config)
		w.routers[0].Resume()
	}},
	{"router and speaker restart", true, func(w *world) {
		w.routers[0].Kill()
		w.agent.kill(syscall.SIGKILL)
		w.routers[0].Resume()
		w.start()
	}},
	{"router away while the speaker restarts", true, func(w *world) {
		w.routers[0].Kill()
		w.agent.kill(syscall.SIGKILL)
		w.start()
		for _, r := range w.routers[1:] {
			w.waitSession(r)
		}
		w.routers[0].Resume()
	}},
	{"new restart time", false, func(w *world) {
		w.config.RestartTime += time.Second
		w.agent.apply(w.config)
	}},
}

// late restarts the speaker while a router cannot be reached; it can be again
// long after the other sessions are complete.
func (w *world) late(late *router) {
	w.Helper()
	w.agent.kill(syscall.SIGKILL)
	open := w.block(late)
	w.start()
	for _, r := range w.routers {
		if r != late {
			w.waitSession(r)
		}
	}
	time.Sleep(4 * time.Second) // longer than any timer of the others
	open()
}

// cut resets the TCP connections with a router.
func (w *world) cut(r *router) {
	w.Helper()
	if out := w.host.Run("ss", "-K", "-H", "dst", "["+r.addr.String()+"]"); !strings.Contains(out, "ESTAB") {
		w.Fatalf("no connection with %s to cut: %s", r.addr, out)
	}
}

// waitSession waits until the speaker has told a router its table.
func (w *world) waitSession(r *router) {
	w.Helper()
	w.Eventually(30*time.Second, "table for "+r.NS().Name, func() error {
		s := w.agent.session(r.addr)
		if s.State != bgp.Established || s.Families[0].Advertised != s.Families[0].Desired {
			return fmt.Errorf("%s, %d of %d advertised: %s", s.State, s.Families[0].Advertised, s.Families[0].Desired, s.LastError)
		}
		return nil
	})
}

// block cuts a router off without a word to either side, until the returned
// function is called.
func (w *world) block(r *router) (open func()) {
	w.Helper()
	family := "ip"
	if r.addr.Is6() {
		family = "ip6"
	}
	rules := fmt.Sprintf(`table inet late {
	chain out { type filter hook output priority 0; %s daddr %s meta l4proto tcp drop; }
	chain in { type filter hook input priority 0; %s saddr %s meta l4proto tcp drop; }
}`, family, r.addr, family, r.addr)
	w.host.Run("sh", "-c", "printf %s \"$1\" | nft -f -", "sh", rules)
	return func() { w.host.Run("nft", "delete", "table", "inet", "late") }
}

// goodbye shuts the speaker down for good. Nothing may be left anywhere, and
// every router must have been told why.
func (w *world) goodbye() {
	w.Helper()
	const text = "host goes down for repair"
	start := time.Now()
	w.agent.must(request{Method: "stop", Mode: bgp.Withdraw, Text: text, Wait: 10 * time.Second})
	took := time.Since(start)
	w.config.Paths = nil
	for _, r := range w.routers {
		// The sessions are closed: what is left now stays.
		lab.WaitTable(r, 0, 5*time.Second, all4, all6)
		if !strings.Contains(r.Log(), text) {
			w.t.Errorf("%s has not logged the shutdown text", r.NS().Name)
		}
	}
	w.waitExact("shutdown", 30*time.Second)
	if took > 8*time.Second {
		w.t.Errorf("shutdown took %s", took)
	}
	w.Logf("shutdown: %s", took.Round(time.Millisecond))
}

// TestNeverBack looks at what is left of a speaker that crashed for good:
// nothing, once the restart time is over, and everything until then.
func TestNeverBack(t *testing.T) {
	t.Parallel()
	for engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine, []kind{frr4, bird6}, nil)
			w.config.RestartTime = 6 * time.Second
			w.startRouters()
			w.config.Paths = w.paths(0, 100)
			w.start()
			w.waitExact("start", 30*time.Second)
			since := time.Now()
			w.agent.kill(syscall.SIGKILL)
			keep := w.config.Paths
			w.config.Paths = nil
			w.waitExact("restart time over", 30*time.Second)
			for _, r := range w.routers {
				deletes := r.mon.Deletes(since, nil)
				if len(deletes) != len(keep) {
					t.Errorf("%s: %d deletes", r.NS().Name, len(deletes))
					continue
				}
				if after := deletes[0].Time.Sub(since); after < 5*time.Second {
					t.Errorf("%s dropped the first route after %s", r.NS().Name, after)
				}
			}
		})
	}
}
