package gobgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"

	"netctl/bgp"
)

// start starts GoBGP without paths and peers. Addresses that it cannot listen
// on are left out and reported by listenError.
func (s *Speaker) start(ctx context.Context, c bgp.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		s.srv = server.NewBgpServer(server.LoggerOption(s.reasons))
		go s.srv.Serve()
		if err := s.observeAll(); err != nil {
			return err
		}
	}
	can, cannot := bindable(ctx, c.Listen)
	err := s.startBGP(ctx, c, can)
	if err != nil && len(can) > 0 {
		cannot = append(cannot, fmt.Errorf("listen on %s: %w", can[0], err))
		_ = s.srv.StopBgp(ctx, &api.StopBgpRequest{})
		can = nil
		err = s.startBGP(ctx, c, nil)
	}
	if err != nil {
		return fmt.Errorf("start BGP as %d: %w", c.ASN, err)
	}
	s.listen = can
	s.running, s.leaving, s.restartTime = true, false, c.RestartTime
	s.status = bgp.Status{
		Running: true, ASN: c.ASN, RouterID: c.RouterID, Listening: can,
		ListenErr: joined(cannot), Since: time.Now(),
	}
	s.policy = ""
	if err := s.setPolicy(ctx); err != nil {
		return err
	}
	for name, dir := range map[string]api.PolicyDirection{importPolicy: api.PolicyDirection_IMPORT, exportPolicy: api.PolicyDirection_EXPORT} {
		err := s.srv.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name: globalTable, Direction: dir, Policies: []*api.Policy{{Name: name}}, DefaultAction: api.RouteAction_REJECT,
		}})
		if err != nil {
			return fmt.Errorf("policy %s: %w", name, err)
		}
	}
	s.log.Info("speaker started", "asn", c.ASN, "router_id", c.RouterID, "listening", can)
	return nil
}

func (s *Speaker) startBGP(ctx context.Context, c bgp.Config, listen []netip.AddrPort) error {
	g := &api.Global{Asn: c.ASN, RouterId: c.RouterID.String(), ListenPort: -1}
	for _, l := range listen {
		g.ListenPort = int32(l.Port())
		g.ListenAddresses = append(g.ListenAddresses, l.Addr().String())
	}
	return s.srv.StartBgp(ctx, &api.StartBgpRequest{Global: g})
}

// bindable tells the addresses that can be listened on from the others.
// GoBGP knows one port for all of them.
func bindable(ctx context.Context, want []netip.AddrPort) (can []netip.AddrPort, cannot []error) {
	for _, a := range want {
		if len(can) > 0 && can[0].Port() != a.Port() {
			cannot = append(cannot, fmt.Errorf("listen on %s: all addresses must have the same port", a))
			continue
		}
		if err := tryListen(ctx, a); err != nil {
			cannot = append(cannot, err)
			continue
		}
		can = append(can, a)
	}
	return can, cannot
}

func tryListen(ctx context.Context, a netip.AddrPort) error {
	network := "tcp6"
	if a.Addr().Is4() {
		network = "tcp4"
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, a.String())
	switch {
	case err == nil:
		return l.Close()
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: the port is in use by another program", a)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: this host does not have that address", a)
	}
	return fmt.Errorf("listen on %s: %w", a, err)
}

// joined puts errors into one line.
func joined(errs []error) string {
	list := make([]string, len(errs))
	for i, err := range errs {
		list[i] = err.Error()
	}
	return strings.Join(list, "; ")
}

// canListenMore reports whether we could listen on an address that was not to
// be had before.
func (s *Speaker) canListenMore(want []netip.AddrPort) bool {
	s.mu.Lock()
	have, failed := s.listen, s.status.ListenErr != ""
	s.mu.Unlock()
	return failed && slices.ContainsFunc(want, func(a netip.AddrPort) bool {
		return !slices.Contains(have, a) && (len(have) == 0 || have[0].Port() == a.Port()) && tryListen(context.Background(), a) == nil
	})
}

// halt stops GoBGP but not the speaker. With goodbye every session ends with
// a NOTIFICATION, on which peers forget our routes; without it the connections
// just end, and helpers keep them.
func (s *Speaker) halt(ctx context.Context, goodbye bool) {
	s.mu.Lock()
	s.leaving = true
	srv := s.srv
	s.mu.Unlock()
	if !goodbye {
		s.slipAway(ctx)
	}
	// Without paths the old tables hold no memory.
	_ = srv.DeletePath(ctx, &api.DeletePathRequest{})
	_ = srv.StopBgp(ctx, &api.StopBgpRequest{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scope = newScope()
	s.have = bgp.Config{}
	s.status = bgp.Status{}
	s.running = false
	for addr, p := range s.peers {
		s.setState(p, bgp.Idle, "the speaker restarts")
		delete(s.peers, addr)
	}
	s.listen = nil
}
