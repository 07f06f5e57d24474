package gobgp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"netctl/bgp"
)

// Graceful restart (RFC 4724).
//
// A helper keeps our routes while a session is down only if the OPEN of the
// next session has the forwarding bit set for the family (section 4.2), and
// keeps them until our End-of-RIB. So every OPEN of ours must have it, and
// End-of-RIB must come after the whole table. GoBGP sets the bit exactly while
// a peer's LocalRestarting is true, and clears that
//
//  1. for all peers as soon as every peer "has sent End-of-RIB", which a peer
//     that is not connected has too; so the first session that comes up takes
//     the bit from all others, whose helpers then flush;
//  2. for a peer DeferralTime (one second, its smallest) after its session
//     came up, when it sends the table and End-of-RIB. A TCP connection that
//     is cut later comes back without the bit, and the helper flushes.
//
// Against 1 there is the anchor: one more peer, on the loopback, that owes an
// End-of-RIB for ever. It needs to exist only for as long as it takes to say so:
// GoBGP remembers from its OPEN that it does graceful restart, and we shut it
// down right after. Nothing of it remains but an entry that is never reported.
// Each real peer is then released by its own deferral timer, however late its
// session comes up.
//
// Against 2 a peer whose session has ended is rearmed: deleted and added again
// with LocalRestarting set. GoBGP stays idle for seconds after a session
// ends, which is plenty of time, and a new peer connects without that delay.

// deferralTime is how long GoBGP waits between a session coming up and
// sending its table, in seconds. Zero would mean 360.
const deferralTime = 1

// anchorAddr is the loopback address of the anchor.
var anchorAddr = netip.AddrFrom4([4]byte{127, 79, 1, 79})

// anchorTimeout bounds the exchange with the anchor. GoBGP connects within
// two seconds.
const anchorTimeout = 5 * time.Second

// dropAnchor makes GoBGP wait for the anchor's End-of-RIB. It returns at once;
// the channel tells how it went, which must be awaited before the first peer
// is added.
func (s *Speaker) dropAnchor(ctx context.Context, c bgp.Config) <-chan error {
	done := make(chan error, 1)
	s.mu.Lock()
	srv, listen := s.srv, s.listen
	s.mu.Unlock()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", netip.AddrPortFrom(anchorAddr, 0).String())
	if err != nil {
		done <- fmt.Errorf("anchor: %w", err)
		return done
	}
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	err = srv.AddPeer(ctx, &api.AddPeerRequest{Peer: &api.Peer{
		Conf:            &api.PeerConf{NeighborAddress: anchorAddr.String(), PeerAsn: c.ASN},
		Timers:          &api.Timers{Config: &api.TimersConfig{ConnectRetry: 1}},
		Transport:       &api.Transport{RemotePort: uint32(port)},
		GracefulRestart: gracefulRestart(c.RestartTime),
		AfiSafis:        afiSafis(),
	}})
	if err != nil {
		_ = l.Close()
		done <- fmt.Errorf("anchor: %w", err)
		return done
	}
	go func() {
		ctx, cancel := context.WithTimeout(ctx, anchorTimeout)
		defer cancel()
		err := meetAnchor(ctx, l, knock(listen), c.ASN)
		err = errors.Join(err, srv.DisablePeer(context.WithoutCancel(ctx), &api.DisablePeerRequest{Address: anchorAddr.String()}))
		done <- err
	}()
	return done
}

// knock returns an address at which the anchor can connect to GoBGP.
func knock(listen []netip.AddrPort) string {
	for _, l := range listen {
		if l.Addr().IsUnspecified() && l.Addr().Is4() {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), l.Port()).String()
		}
		if l.Addr().Is4() {
			return l.String()
		}
	}
	return ""
}

// meetAnchor plays the anchor until GoBGP knows about its graceful restart. It
// knocks at the address where GoBGP listens, if any, which takes milliseconds,
// and waits for GoBGP to connect, which takes a second or two.
func meetAnchor(ctx context.Context, l net.Listener, address string, asn uint32) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = l.Close() })
	met := make(chan error, 2)
	parties := 1
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				met <- fmt.Errorf("anchor: %w", err)
				return
			}
			if introduce(ctx, conn, asn) == nil {
				met <- nil
				return
			}
		}
	}()
	if address != "" {
		parties++
		go func() {
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(anchorAddr, 0)), Timeout: time.Second}
			for {
				conn, err := d.DialContext(ctx, "tcp4", address)
				if err == nil {
					err = introduce(ctx, conn, asn)
				}
				if err == nil || ctx.Err() != nil {
					met <- err
					return
				}
				// GoBGP hangs up on whom it has just been told about.
				select {
				case <-ctx.Done():
				case <-time.After(5 * time.Millisecond):
				}
			}
		}()
	}
	var errs []error
	for range parties {
		err := <-met
		if err == nil {
			cancel()
			for range parties - 1 - len(errs) {
				<-met
			}
			return nil
		}
		errs = append(errs, err)
		if len(errs) < parties && ctx.Err() == nil {
			continue
		}
	}
	return errors.Join(errs...)
}

// introduce sends the anchor's OPEN and waits for GoBGP to have taken it in,
// which its KEEPALIVE shows.
func introduce(ctx context.Context, conn net.Conn, asn uint32) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	as16 := uint16(packet.AS_TRANS)
	if asn <= 65535 {
		as16 = uint16(asn)
	}
	open, err := packet.NewBGPOpenMessage(as16, 90, anchorAddr.String(), []packet.OptionParameterInterface{
		packet.NewOptionParameterCapability([]packet.ParameterCapabilityInterface{
			packet.NewCapMultiProtocol(packet.RF_IPv4_UC),
			packet.NewCapMultiProtocol(packet.RF_IPv6_UC),
			packet.NewCapFourOctetASNumber(asn),
			packet.NewCapGracefulRestart(false, false, 1, []*packet.CapGracefulRestartTuple{
				packet.NewCapGracefulRestartTuple(packet.RF_IPv4_UC, false),
				packet.NewCapGracefulRestartTuple(packet.RF_IPv6_UC, false),
			}),
		}),
	}).Serialize()
	if err != nil {
		return fmt.Errorf("anchor: %w", err)
	}
	if _, err := conn.Write(open); err != nil {
		return fmt.Errorf("anchor: %w", err)
	}
	for {
		header := make([]byte, packet.BGP_HEADER_LENGTH)
		if _, err := io.ReadFull(conn, header); err != nil {
			return fmt.Errorf("anchor: %w", err)
		}
		body := int64(binary.BigEndian.Uint16(header[16:])) - packet.BGP_HEADER_LENGTH
		if _, err := io.CopyN(io.Discard, conn, body); err != nil {
			return fmt.Errorf("anchor: %w", err)
		}
		switch header[18] {
		case packet.BGP_MSG_KEEPALIVE:
			return nil
		case packet.BGP_MSG_NOTIFICATION:
			return errors.New("anchor: refused")
		}
	}
}

// gracefulRestart is what every peer gets. NotificationEnabled (the N bit of
// RFC 8538) stays off, so that a NOTIFICATION makes peers forget our routes.
func gracefulRestart(restartTime time.Duration) *api.GracefulRestart {
	return &api.GracefulRestart{
		Enabled: true, RestartTime: uint32(restartTime / time.Second), DeferralTime: deferralTime, LocalRestarting: true,
	}
}

// afiSafis are the families of every session, all with graceful restart.
func afiSafis() []*api.AfiSafi {
	var list []*api.AfiSafi
	for _, f := range families {
		list = append(list, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: apiFamily(f), Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}},
		})
	}
	return list
}

// rearm prepares a peer whose session has ended for the next one. It needs mu.
func (s *Speaker) rearm(ctx context.Context, p *peer) error {
	p.sentBefore += p.sent
	p.receivedBefore += p.received
	p.sent, p.received = 0, 0
	if err := s.srv.DeletePeer(ctx, &api.DeletePeerRequest{Address: p.want.Addr.String()}); err != nil {
		return fmt.Errorf("peer %s: %w", p.want.Addr, err)
	}
	return s.addPeer(ctx, p)
}

// slipAway ends all sessions without a word: helpers take it for a crash and
// keep our routes. It stops listening first, so that no session comes up
// behind its back.
func (s *Speaker) slipAway(ctx context.Context) {
	s.mu.Lock()
	listen := s.listen
	peers := make(map[netip.Addr]uint16, len(s.peers))
	for a, p := range s.peers {
		peers[a] = p.used.Port
	}
	s.mu.Unlock()
	deadline := time.Now().Add(2 * time.Second)
	for delay := time.Millisecond; ; delay = min(2*delay, 50*time.Millisecond) {
		closeListeners(listen)
		cutSessions(peers, listen)
		if s.quiet(ctx) || time.Now().After(deadline) {
			return
		}
		time.Sleep(delay)
	}
}

// quiet reports whether no peer has a connection.
func (s *Speaker) quiet(ctx context.Context) bool {
	quiet := true
	_ = s.srv.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) {
		switch p.GetState().GetSessionState() {
		case api.PeerState_OPENSENT, api.PeerState_OPENCONFIRM, api.PeerState_ESTABLISHED:
			quiet = false
		case api.PeerState_IDLE, api.PeerState_CONNECT, api.PeerState_ACTIVE, api.PeerState_UNKNOWN:
		}
	})
	return quiet
}
