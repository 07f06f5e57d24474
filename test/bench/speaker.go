package main

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"time"

	"netctl/bgp"
	"netctl/bgp/gobgp"
)

// agentArg turns this program into a process with a speaker in it.
const agentArg = "speaker"

// An order is what the process with the speaker is told, one in a line.
type order struct {
	Config bgp.Config // without paths
	Paths  int        // synthetic ones
	Probe  bool       // one path more
}

// An outcome is what came of it.
type outcome struct {
	Begin, End time.Time // of Apply
	Err        string
}

// serveAgent follows orders until there are none any more. What a
// configuration takes to be made up is not measured, and is done once, so that
// the garbage of that is not collected while something is.
func serveAgent() int {
	s := gobgp.New(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})))
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	var paths, more []*bgp.Path // more has the probe
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			if err := s.Stop(context.Background(), bgp.Restart, ""); err != nil {
				return 1
			}
			return 0
		}
		if len(paths) != o.Paths {
			to := everyone(o.Config.Peers)
			paths, more = synthetic(o.Paths, to), nil
		}
		o.Config.Paths = paths
		if o.Probe {
			if more == nil {
				more = insert(paths, &bgp.Path{Prefix: probe, Peers: everyone(o.Config.Peers)})
			}
			o.Config.Paths = more
		}
		r := outcome{Begin: time.Now()}
		if err := s.Apply(context.Background(), o.Config); err != nil {
			r.Err = err.Error()
		}
		r.End = time.Now()
		if err := out.Encode(r); err != nil {
			return 1
		}
	}
}

// everyone is the set of all peers.
func everyone(peers []bgp.Peer) bgp.PeerSet {
	addrs := make([]netip.Addr, 0, len(peers))
	for _, p := range peers {
		addrs = append(addrs, p.Addr)
	}
	return bgp.NewPeerSet(addrs...)
}

// probe is the path that changes.
var probe = netip.MustParsePrefix("203.0.113.0/24")

// prefix is the i-th synthetic prefix: 32.0.0.0/4 in pieces.
func prefix(i int) netip.Prefix {
	n := uint32(i)<<8 | 0x20000000
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), 0}), 24)
}

// synthetic returns n paths for everybody.
func synthetic(n int, to bgp.PeerSet) []*bgp.Path {
	paths := make([]*bgp.Path, n)
	for i := range paths {
		paths[i] = &bgp.Path{Prefix: prefix(i), Peers: to}
	}
	return paths
}

// insert returns paths with one more, in order.
func insert(paths []*bgp.Path, p *bgp.Path) []*bgp.Path {
	i, _ := slices.BinarySearchFunc(paths, p, func(a, b *bgp.Path) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	return slices.Concat(paths[:i], []*bgp.Path{p}, paths[i:])
}

// An agent is a process with a speaker in it, seen from outside.
type agent struct {
	w    *world
	cmd  *exec.Cmd
	in   *json.Encoder
	out  *json.Decoder
	conf bgp.Config
	n    int
}

// startOurs runs our speaker.
func startOurs(w *world, n int) sender {
	w.Helper()
	self, err := os.Executable()
	if err != nil {
		w.Fatalf("%v", err)
	}
	cmd := w.host.Command(context.Background(), self, agentArg)
	in, err := cmd.StdinPipe()
	if err != nil {
		w.Fatalf("%v", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.Fatalf("%v", err)
	}
	if err := cmd.Start(); err != nil {
		w.Fatalf("%v", err)
	}
	w.Cleanup(func() {
		_ = in.Close()
		stop := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer stop.Stop()
		_ = cmd.Wait()
	})
	a := &agent{w: w, cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(out), n: n}
	a.conf = bgp.Config{
		ASN: hostASN, RouterID: netip.MustParseAddr("10.255.0.1"), RestartTime: 2 * time.Minute,
		Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:179")},
	}
	for _, r := range w.receivers {
		a.conf.Peers = append(a.conf.Peers, bgp.Peer{
			Addr: r.addr, Port: 179, ASN: routerASN, HoldTime: 90 * time.Second, Source: r.local, NextHop4: r.local,
		})
	}
	return a
}

func (a *agent) order(o order) outcome {
	a.w.Helper()
	o.Config, o.Paths = a.conf, a.n
	if err := a.in.Encode(o); err != nil {
		a.w.Fatalf("speaker: %v", err)
	}
	var r outcome
	if err := a.out.Decode(&r); err != nil || r.Err != "" {
		a.w.Fatalf("speaker: %v %s", err, r.Err)
	}
	return r
}

func (a *agent) load() (given, loaded time.Time) {
	r := a.order(order{})
	return r.Begin, r.End
}

func (a *agent) change(present bool) time.Time { return a.order(order{Probe: present}).Begin }

func (a *agent) pid() int { return a.cmd.Process.Pid }
