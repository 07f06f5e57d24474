package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	gobgp "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"netctl/test/lab"
)

// The senders that are compared.
const (
	ours   = "netctl"
	bird   = "BIRD"
	gobgpd = "gobgpd"
)

var senders = []string{ours, bird, gobgpd}

// A sender tells the receivers of a world its table.
type sender interface {
	// load gives it the table, and then the receivers as peers. It returns
	// when that began, and when all was given; zero if it does not tell.
	load() (given, loaded time.Time)
	// change adds the probe or withdraws it, and returns when that began.
	change(present bool) time.Time
	pid() int
}

// start starts one sender with n synthetic paths.
func (w *world) start(name string, n int) {
	w.Helper()
	switch name {
	case bird:
		w.sender = startBIRD(w, n)
	case gobgpd:
		w.sender = startGoBGP(w, n)
	default:
		w.sender = startOurs(w, n)
	}
}

// A birdSender is BIRD with static routes.
type birdSender struct {
	w    *world
	dir  string
	proc *lab.Proc
}

func startBIRD(w *world, n int) sender {
	w.Helper()
	s := &birdSender{w: w, dir: w.Dir}
	var b strings.Builder
	fmt.Fprintf(&b, "router id 10.255.0.1;\nprotocol device {}\n")
	fmt.Fprintf(&b, "protocol static probe { ipv4;\ninclude %q;\n}\n", s.file("probe"))
	fmt.Fprintf(&b, "protocol static { ipv4;\ninclude %q;\n}\n", s.file("table"))
	for i, r := range w.receivers {
		fmt.Fprintf(&b, "protocol bgp p%d { local %s as %d; neighbor %s as %d; graceful restart on; connect delay time 1; "+
			"connect retry time 1; ipv4 { import none; export all; }; }\n", i, r.local, hostASN, r.addr, routerASN)
	}
	w.write(s.file("conf"), b.String())
	w.write(s.file("probe"), "")
	b.Reset()
	for i := range n {
		fmt.Fprintf(&b, "route %s blackhole;\n", prefix(i))
	}
	w.write(s.file("table"), b.String())
	return s
}

func (s *birdSender) file(name string) string { return filepath.Join(s.dir, "sender."+name) }

func (s *birdSender) load() (given, loaded time.Time) {
	s.w.Helper()
	given = time.Now()
	s.proc = s.w.host.Start("bird", "-f", "-c", s.file("conf"), "-s", s.file("ctl"), "-P", s.file("pid"))
	return given, time.Time{}
}

func (s *birdSender) change(present bool) time.Time {
	s.w.Helper()
	text := ""
	if present {
		text = fmt.Sprintf("route %s blackhole;\n", probe)
	}
	s.w.write(s.file("probe"), text)
	c, err := net.Dial("unix", s.file("ctl"))
	if err != nil {
		s.w.Fatalf("bird: %v", err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(c)
	_, _ = in.ReadString('\n') // its greeting
	began := time.Now()
	if _, err := fmt.Fprintln(c, "configure"); err != nil {
		s.w.Fatalf("bird: %v", err)
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil || strings.HasPrefix(line, "8") || strings.HasPrefix(line, "9") {
			s.w.Fatalf("bird: %v %s(its process: %v)", err, line, s.proc.Wait(time.Second))
		}
		switch line, _, _ = strings.Cut(line, " "); line {
		case "0003", "0004", "0005": // done, being done, or to be done after another
			return began
		}
	}
}

func (s *birdSender) pid() int { return s.proc.Cmd.Process.Pid }

// A gobgpSender is gobgpd, told over gRPC.
type gobgpSender struct {
	w    *world
	n    int
	proc *lab.Proc
	api  gobgp.GobgpApiClient
}

func startGoBGP(w *world, n int) sender {
	w.Helper()
	conf, socket := filepath.Join(w.Dir, "gobgpd.toml"), filepath.Join(w.Dir, "gobgpd.sock")
	w.write(conf, fmt.Sprintf("[global.config]\nas = %d\nrouter-id = \"10.255.0.1\"\n", hostASN))
	s := &gobgpSender{w: w, n: n}
	s.proc = w.host.Start("gobgpd", "-f", conf, "--api-hosts", "unix://"+socket, "--pprof-disable")
	conn, err := grpc.Dial("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.Fatalf("gobgpd: %v", err)
	}
	w.Cleanup(func() { _ = conn.Close() })
	s.api = gobgp.NewGobgpApiClient(conn)
	w.Eventually(patience, "gobgpd", func() error {
		r, err := s.api.GetBgp(context.Background(), &gobgp.GetBgpRequest{})
		if err == nil && r.GetGlobal().GetAsn() == 0 {
			err = fmt.Errorf("no AS number yet")
		}
		return err
	})
	return s
}

// batch is how many paths go into one message.
const batch = 1000

func (s *gobgpSender) load() (given, loaded time.Time) {
	s.w.Helper()
	ctx := context.Background()
	var batches [][]*gobgp.Path
	for i := 0; i < s.n; i += batch {
		var b []*gobgp.Path
		for j := i; j < min(i+batch, s.n); j++ {
			b = append(b, apiPath(prefix(j)))
		}
		batches = append(batches, b)
	}
	given = time.Now()
	stream, err := s.api.AddPathStream(ctx)
	if err != nil {
		s.w.Fatalf("gobgpd: %v", err)
	}
	for _, b := range batches {
		if err := stream.Send(&gobgp.AddPathStreamRequest{TableType: gobgp.TableType_GLOBAL, Paths: b}); err != nil {
			s.w.Fatalf("gobgpd: %v", err)
		}
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		s.w.Fatalf("gobgpd: %v", err)
	}
	loaded = time.Now()
	for _, r := range s.w.receivers {
		if _, err := s.api.AddPeer(ctx, &gobgp.AddPeerRequest{Peer: apiPeer(r)}); err != nil {
			s.w.Fatalf("gobgpd: %v", err)
		}
	}
	return given, loaded
}

// apiPath is a path of gobgpd's own.
func apiPath(p netip.Prefix) *gobgp.Path {
	nlri, _ := anypb.New(&gobgp.IPAddressPrefix{Prefix: p.Addr().String(), PrefixLen: uint32(p.Bits())})
	origin, _ := anypb.New(&gobgp.OriginAttribute{})
	hop, _ := anypb.New(&gobgp.NextHopAttribute{NextHop: "0.0.0.0"})
	return &gobgp.Path{
		Family: &gobgp.Family{Afi: gobgp.Family_AFI_IP, Safi: gobgp.Family_SAFI_UNICAST}, Nlri: nlri, Pattrs: []*anypb.Any{origin, hop},
	}
}

func apiPeer(r *receiver) *gobgp.Peer {
	return &gobgp.Peer{
		Conf:            &gobgp.PeerConf{NeighborAddress: r.addr.String(), PeerAsn: routerASN},
		Transport:       &gobgp.Transport{LocalAddress: r.local.String(), PassiveMode: true},
		GracefulRestart: &gobgp.GracefulRestart{Enabled: true, RestartTime: 120, DeferralTime: 1},
		AfiSafis: []*gobgp.AfiSafi{{
			Config: &gobgp.AfiSafiConfig{
				Family: &gobgp.Family{Afi: gobgp.Family_AFI_IP, Safi: gobgp.Family_SAFI_UNICAST}, Enabled: true,
			},
			MpGracefulRestart: &gobgp.MpGracefulRestart{Config: &gobgp.MpGracefulRestartConfig{Enabled: true}},
		}},
	}
}

func (s *gobgpSender) change(present bool) time.Time {
	s.w.Helper()
	path := apiPath(probe)
	began := time.Now()
	var err error
	if present {
		_, err = s.api.AddPath(context.Background(), &gobgp.AddPathRequest{Path: path})
	} else {
		_, err = s.api.DeletePath(context.Background(), &gobgp.DeletePathRequest{Path: path})
	}
	if err != nil {
		s.w.Fatalf("gobgpd: %v", err)
	}
	return began
}

func (s *gobgpSender) pid() int { return s.proc.Cmd.Process.Pid }

// write writes a file of a world.
func (w *world) write(name, text string) {
	w.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		w.Fatalf("%v", err)
	}
}
