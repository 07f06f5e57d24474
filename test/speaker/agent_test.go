package speaker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netctl/bgp"
	"netctl/bgp/gobgp"
	"netctl/test/lab"
)

// engines are the engines that are held to the contract.
var engines = map[string]func(*slog.Logger) bgp.Speaker{
	"gobgp": func(l *slog.Logger) bgp.Speaker { return gobgp.New(l) },
}

// Variables that turn the test binary into a process with a speaker in it.
const (
	engineVar = "NETCTL_TEST_ENGINE"
	socketVar = "NETCTL_TEST_SOCKET"
)

func TestMain(m *testing.M) {
	if engine := os.Getenv(engineVar); engine != "" {
		os.Exit(serve(engines[engine], os.Getenv(socketVar)))
	}
	os.Exit(m.Run())
}

// A request is one call of a speaker's method.
type request struct {
	Method string
	Config *wireConfig
	Peer   netip.Addr
	Mode   bgp.StopMode
	Text   string
	Wait   time.Duration
}

// A response is what came of it.
type response struct {
	Err        string
	Status     bgp.Status
	Sessions   []bgp.Session
	Advertised []bgp.Advertised
	Took       time.Duration
}

// A wireConfig is a bgp.Config that can be written as JSON.
type wireConfig struct {
	bgp.Config
	Passwords []string
	Hear      [][]netip.Addr // who may hear each path
}

func toWire(c bgp.Config) *wireConfig {
	w := &wireConfig{Config: c}
	for _, p := range c.Peers {
		w.Passwords = append(w.Passwords, string(p.Password))
	}
	for _, p := range c.Paths {
		w.Hear = append(w.Hear, p.Peers.Addrs())
	}
	return w
}

func (w *wireConfig) config() bgp.Config {
	c := w.Config
	for i := range c.Peers {
		c.Peers[i].Password = bgp.Secret(w.Passwords[i])
	}
	sets := map[string]bgp.PeerSet{}
	for i := range c.Paths {
		key := fmt.Sprint(w.Hear[i])
		if _, ok := sets[key]; !ok {
			sets[key] = bgp.NewPeerSet(w.Hear[i]...)
		}
		c.Paths[i].Peers = sets[key]
	}
	return c
}

// serve runs a speaker until SIGTERM, which makes it leave as for a restart,
// and does what it is told on a unix socket meanwhile.
func serve(engine func(*slog.Logger) bgp.Speaker, path string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	s := engine(log)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		log.Error("listen", "err", err)
		return 1
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				dec, enc := json.NewDecoder(bufio.NewReader(conn)), json.NewEncoder(conn)
				for {
					var req request
					if dec.Decode(&req) != nil {
						return
					}
					_ = enc.Encode(handle(ctx, s, req))
				}
			}()
		}
	}()
	<-ctx.Done()
	if err := s.Stop(context.Background(), bgp.Restart, ""); err != nil {
		log.Error("stop", "err", err)
		return 1
	}
	return 0
}

func handle(ctx context.Context, s bgp.Speaker, req request) (res response) {
	if req.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, req.Wait)
		defer cancel()
	}
	start := time.Now()
	var err error
	switch req.Method {
	case "apply":
		c := req.Config.config()
		start = time.Now()
		err = s.Apply(ctx, c)
	case "flush":
		err = s.Flush(ctx)
	case "status":
		res.Status = s.Status()
	case "sessions":
		res.Sessions, err = s.Sessions(ctx)
	case "advertised":
		res.Advertised, err = s.Advertised(ctx, req.Peer)
	case "reset":
		err = s.Reset(ctx, req.Peer)
	case "stop":
		err = s.Stop(ctx, req.Mode, req.Text)
	default:
		err = fmt.Errorf("no method %q", req.Method)
	}
	res.Took = time.Since(start)
	if err != nil {
		res.Err = err.Error()
	}
	return res
}

// An agent is a process with a speaker in it.
type agent struct {
	l    *lab.Lab
	proc *lab.Proc
	conn net.Conn
	dec  *json.Decoder
}

// startAgent runs a speaker in a namespace.
func startAgent(tb testing.TB, ns *lab.NS, engine string) *agent {
	tb.Helper()
	l := ns.Lab
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	sock := filepath.Join(l.Dir, fmt.Sprintf("a%d", time.Now().UnixNano()%1e9))
	a := &agent{l: l}
	a.proc = ns.StartEnv([]string{engineVar + "=" + engine, socketVar + "=" + sock}, exe)
	l.Eventually(20*time.Second, "agent", func() error {
		a.conn, err = net.Dial("unix", sock)
		return err
	})
	a.dec = json.NewDecoder(bufio.NewReaderSize(a.conn, 1<<20))
	l.Cleanup(func() {
		_ = a.conn.Close()
		if out := a.proc.Output(); strings.Contains(out, "DATA RACE") || strings.Contains(out, "panic:") {
			tb.Errorf("agent:\n%s", out)
		}
	})
	return a
}

// call calls a method; an error of it is returned.
func (a *agent) call(req request) (response, error) {
	a.l.Helper()
	var res response
	if err := json.NewEncoder(a.conn).Encode(req); err != nil {
		a.l.Fatalf("agent: %s: %v\n%s", req.Method, err, a.proc.Output())
	}
	if err := a.dec.Decode(&res); err != nil {
		a.l.Fatalf("agent: %s: %v\n%s", req.Method, err, a.proc.Output())
	}
	if res.Err != "" {
		return res, fmt.Errorf("%s: %s", req.Method, res.Err)
	}
	return res, nil
}

// must is call that fails the test on an error.
func (a *agent) must(req request) response {
	a.l.Helper()
	res, err := a.call(req)
	if err != nil {
		a.l.Fatalf("%v", err)
	}
	return res
}

func (a *agent) apply(c bgp.Config) response {
	a.l.Helper()
	return a.must(request{Method: "apply", Config: toWire(c)})
}

// session returns the state of one session.
func (a *agent) session(peer netip.Addr) bgp.Session {
	a.l.Helper()
	for _, s := range a.must(request{Method: "sessions"}).Sessions {
		if s.Peer.Addr == peer {
			return s
		}
	}
	a.l.Fatalf("no session with %s", peer)
	return bgp.Session{}
}

// kill ends the process with a signal and waits for it.
func (a *agent) kill(sig syscall.Signal) {
	a.l.Helper()
	a.proc.Signal(sig)
	if err := a.proc.Wait(20 * time.Second); err != nil && !a.proc.Exited() {
		a.l.Fatalf("agent: %v\n%s", err, a.proc.Output())
	} else if err != nil && sig == syscall.SIGTERM {
		a.l.Fatalf("agent: %v\n%s", err, a.proc.Output())
	}
}
