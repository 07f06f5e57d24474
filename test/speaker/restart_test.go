package speaker_test

import (
	"syscall"
	"testing"
	"time"

	"netctl/bgp"
)

// TestSmoke is removed.
func TestSmoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "gobgp", []kind{frr4, bird6}, nil)
	w.startRouters()
	w.config.Paths = w.paths(0, 10000)
	t0 := time.Now()
	w.start()
	t.Log("applied", time.Since(t0))
	w.waitTold(10000)
	t.Log("told", time.Since(t0))
	for _, s := range w.agent.must(request{Method: "sessions"}).Sessions {
		t.Logf("%+v", s)
	}
	adv := w.agent.must(request{Method: "advertised", Peer: w.routers[0].addr}).Advertised
	t.Log(len(adv), adv[0], adv[len(adv)-1])
	since := time.Now()
	w.agent.kill(syscall.SIGTERM)
	t.Log("down", time.Since(since))
	w.start()
	t.Log("back", time.Since(since))
	time.Sleep(8 * time.Second)
	w.mustNotLose("SIGTERM", since)
	for _, s := range w.agent.must(request{Method: "sessions"}).Sessions {
		t.Logf("%+v", s)
	}
	since = time.Now()
	w.agent.must(request{Method: "stop", Mode: bgp.Withdraw, Text: "bye"})
	t.Log("stopped", time.Since(since))
	w.waitTold(0)
	t.Log("zero", time.Since(since))
	t.Log(w.agent.proc.Output())
}
