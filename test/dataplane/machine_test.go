package dataplane_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"strings"
	"testing"

	"netctl/test/lab"
)

// A host is a namespace with an agent in it.
type host struct {
	*lab.NS
	t     *testing.T
	dir   string
	agent *rpc.Client
	kill  func()
}

// newHost makes a namespace with an agent.
func newHost(t *testing.T, l *lab.Lab, name string) *host {
	t.Helper()
	h := &host{NS: l.NS(name), t: t, dir: l.Dir + "/" + name}
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.Sysctl("net/ipv6/conf/default/accept_dad", "0") // usable at once
	h.start()
	return h
}

// start starts the agent, and stops what it leaves when the test ends.
func (h *host) start() {
	h.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := h.Command(ctx, exe)
	cmd.Env = append(os.Environ(), agentEnv+"="+h.dir, "GORACE=halt_on_error=1")
	var log strings.Builder
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.agent = jsonrpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	done := false
	h.kill = func() {
		if done {
			return
		}
		done = true
		cancel() // SIGKILL
		_ = cmd.Wait()
		if h.t.Failed() {
			h.t.Logf("agent of %s:\n%s", h.Name, log.String())
		}
	}
	h.t.Cleanup(h.kill)
}

// agentIn starts an agent in a namespace that the host has made.
func (h *host) agentIn(space string) *host {
	h.t.Helper()
	g := &host{NS: &lab.NS{Lab: h.Lab, Name: space, Full: space}, t: h.t, dir: h.dir + "/" + space}
	if err := os.MkdirAll(g.dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	g.start()
	return g
}

// restart kills the agent as kill -9 does, and starts another.
func (h *host) restart() {
	h.t.Helper()
	h.kill()
	h.start()
}

// try calls the agent.
func (h *host) try(method string, args, reply any) error {
	return h.agent.Call("Agent."+method, args, reply)
}

// call is try that fails the test.
func (h *host) call(method string, args, reply any) {
	h.t.Helper()
	if err := h.try(method, args, reply); err != nil {
		h.t.Fatalf("%s: %s: %v", h.Name, method, err)
	}
}

// apply makes the host what w says, and checks that nothing is left to do.
func (h *host) apply(w World) {
	h.t.Helper()
	h.call("Apply", w, nil)
	h.settled(w)
}

// settled checks that the host is what w says.
func (h *host) settled(w World) {
	h.t.Helper()
	var plan []string
	h.call("Plan", w, &plan)
	if len(plan) > 0 {
		h.t.Errorf("%s: still to do:\n%s", h.Name, strings.Join(plan, "\n"))
	}
}

// look connects to a mirror and returns whom it sees.
func (h *host) look(addr string, port int) (netip.Addr, error) {
	return h.lookFrom("", net.JoinHostPort(addr, fmt.Sprint(port)))
}

func (h *host) lookFrom(from, addr string) (netip.Addr, error) {
	var seen string
	if err := h.try("Look", map[string]string{"From": from, "Addr": addr}, &seen); err != nil {
		return netip.Addr{}, err
	}
	return netip.ParseAddr(seen)
}
