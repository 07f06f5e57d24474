package gobgp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"

	"netctl/bgp"
)

// serverAddr is where GoBGP listens, for nobody but the relays. The addresses
// after it stand for the peers.
var serverAddr = netip.AddrFrom4([4]byte{127, 79, 0, 1})

// start starts GoBGP without paths and peers.
func (s *Speaker) start(ctx context.Context, c bgp.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		s.srv = server.NewBgpServer(server.LoggerOption(logger{s.log}))
		go s.srv.Serve()
		fctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		s.cancel = cancel
		s.tasks.Go(func() { s.follow(fctx) })
	}
	if err := s.startBGP(ctx, c); err != nil {
		return fmt.Errorf("start BGP as %d: %w", c.ASN, err)
	}
	s.running, s.leaving, s.restartTime = true, false, c.RestartTime
	s.status = bgp.Status{Running: true, ASN: c.ASN, RouterID: c.RouterID, Since: time.Now()}
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
	s.log.Info("speaker started", "asn", c.ASN, "router_id", c.RouterID)
	return nil
}

// startBGP finds GoBGP a port to listen on.
func (s *Speaker) startBGP(ctx context.Context, c bgp.Config) error {
	s.secret = rand.Text()
	var err error
	for range 5 {
		var port uint16
		if port, err = freePort(ctx); err != nil {
			continue
		}
		s.server = netip.AddrPortFrom(serverAddr, port)
		err = s.srv.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
			Asn: c.ASN, RouterId: c.RouterID.String(), ListenPort: int32(port), ListenAddresses: []string{serverAddr.String()},
		}})
		if err == nil {
			return nil
		}
	}
	return err
}

// freePort returns a port that nobody listens on at serverAddr.
func freePort(ctx context.Context) (uint16, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", netip.AddrPortFrom(serverAddr, 0).String())
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), l.Close()
}

// listen takes connections where c says. What cannot be listened on is tried
// again at the next Apply; everything else works meanwhile.
func (s *Speaker) listen(ctx context.Context, want []netip.AddrPort) error {
	listening, trouble := s.listeners.set(ctx, want)
	s.mu.Lock()
	defer s.mu.Unlock()
	if trouble != "" && trouble != s.status.ListenErr {
		s.log.Warn("peers cannot connect", "err", trouble)
	}
	s.status.Listening, s.status.ListenErr = listening, trouble
	if trouble != "" {
		return errors.New(trouble)
	}
	return nil
}

// accept gives a connection to the link of the peer that made it. Nobody else
// is listened to.
func (s *Speaker) accept(c *net.TCPConn) {
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	s.mu.Lock()
	var l *link
	if p := s.peers[from]; p != nil && !s.leaving {
		l = p.link
	}
	s.mu.Unlock()
	if l == nil {
		s.log.Debug("connection from an unknown address", "peer", from)
		_ = c.Close()
		return
	}
	l.offer(c)
}

// halt stops GoBGP but not the speaker. With goodbye every session ends with
// a NOTIFICATION, on which peers forget our routes; without it the connections
// just end, and helpers keep them.
func (s *Speaker) halt(ctx context.Context, goodbye bool) {
	s.mu.Lock()
	s.leaving = true
	srv, peers := s.srv, maps.Clone(s.peers)
	s.mu.Unlock()
	s.listeners.close(ctx)
	if goodbye {
		// Nothing may be left in the tables, which stay until the next start.
		_ = srv.DeletePath(ctx, &api.DeletePathRequest{})
		_ = srv.StopBgp(ctx, &api.StopBgpRequest{})
	}
	var ending sync.WaitGroup
	for _, p := range peers {
		if p.link == nil {
			continue
		}
		if !goodbye {
			p.link.abort()
		}
		ending.Go(p.link.finish)
	}
	ending.Wait()
	if !goodbye {
		_ = srv.StopBgp(ctx, &api.StopBgpRequest{})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		s.setState(p, bgp.Idle, "the speaker stopped")
	}
	s.scope = newScope()
	s.have = bgp.Config{}
	s.status = bgp.Status{}
	s.running = false
	s.peers, s.inside = map[netip.Addr]*peer{}, map[netip.Addr]bool{}
}
