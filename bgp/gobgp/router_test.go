package gobgp

import (
	"bufio"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"netctl/bgp"
)

// A router is a peer within the test: it does what the test wants, right or
// wrong, and keeps what it was sent.
type router struct {
	t  testing.TB
	l  net.Listener
	at netip.AddrPort

	asn        uint32
	restarting bool
	holdTime   uint16
	mute       bool // sends no OPEN before it has received one

	conns chan *conn
}

// A conn is one connection with a router.
type conn struct {
	net.Conn
	messages chan message // closed at the end of the connection

	mu  sync.Mutex
	err error
}

// newRouter listens on an address of the loopback network.
func newRouter(tb testing.TB, addr string, change func(*router)) *router {
	tb.Helper()
	l, err := net.Listen("tcp", addr+":0")
	if err != nil {
		tb.Fatal(err)
	}
	r := &router{t: tb, l: l, at: l.Addr().(*net.TCPAddr).AddrPort(), asn: 65001, holdTime: 90, conns: make(chan *conn, 16)}
	if change != nil {
		change(r)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(r.conns)
				return
			}
			r.conns <- r.serve(c)
		}
	}()
	return r
}

// open is the OPEN of the router.
func (r *router) open() message {
	tuples := []*packet.CapGracefulRestartTuple{
		packet.NewCapGracefulRestartTuple(packet.RF_IPv4_UC, false), packet.NewCapGracefulRestartTuple(packet.RF_IPv6_UC, false),
	}
	m, err := packet.NewBGPOpenMessage(packet.AS_TRANS, r.holdTime, "192.0.2.99", []packet.OptionParameterInterface{
		packet.NewOptionParameterCapability([]packet.ParameterCapabilityInterface{
			packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapMultiProtocol(packet.RF_IPv6_UC),
			packet.NewCapFourOctetASNumber(r.asn), packet.NewCapGracefulRestart(r.restarting, false, 120, tuples),
		}),
	}).Serialize()
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// serve speaks BGP on a connection.
func (r *router) serve(c net.Conn) *conn {
	out := &conn{Conn: c, messages: make(chan message, 1<<16)}
	r.t.Cleanup(func() { _ = c.Close() })
	if !r.mute {
		_, _ = c.Write(r.open())
	}
	go func() {
		defer close(out.messages)
		in := bufio.NewReader(c)
		for {
			m, err := readMessage(in, make([]byte, maxMessage))
			if err != nil {
				out.mu.Lock()
				out.err = err
				out.mu.Unlock()
				return
			}
			if m.kind() == msgOpen {
				if r.mute {
					_, _ = c.Write(r.open())
				}
				_, _ = c.Write(keepalive)
			}
			select {
			case out.messages <- m:
			case <-r.t.Context().Done(): // nobody looks any more
				return
			}
			if m.kind() == msgNotification {
				_ = c.Close()
				return
			}
		}
	}()
	return out
}

// peer is the configuration of a session with the router.
func (r *router) peer() bgp.Peer {
	return bgp.Peer{
		Addr: r.at.Addr(), Port: r.at.Port(), ASN: 65001, HoldTime: 90 * time.Second,
		NextHop4: netip.MustParseAddr("192.0.2.1"), NextHop6: netip.MustParseAddr("2001:db8::1"),
	}
}

// accept waits for the next connection.
func (r *router) accept() *conn {
	r.t.Helper()
	select {
	case c := <-r.conns:
		return c
	case <-time.After(10 * time.Second):
		r.t.Fatal("nobody connected")
		return nil
	}
}

// next waits for the next message other than a KEEPALIVE.
func (c *conn) next(tb testing.TB) message {
	tb.Helper()
	for {
		select {
		case m, ok := <-c.messages:
			if !ok {
				c.mu.Lock()
				defer c.mu.Unlock()
				tb.Fatalf("the connection ended: %v", c.err)
			}
			if m.kind() != msgKeepalive {
				return m
			}
		case <-time.After(10 * time.Second):
			tb.Fatal("nothing came")
		}
	}
}

// ended waits for the end of the connection, and returns what came before.
func (c *conn) ended(tb testing.TB) []message {
	tb.Helper()
	var list []message
	timeout := time.After(10 * time.Second)
	for {
		select {
		case m, ok := <-c.messages:
			if !ok {
				return list
			}
			if m.kind() != msgKeepalive {
				list = append(list, m)
			}
		case <-timeout:
			tb.Fatal("the connection does not end")
		}
	}
}

// config is a configuration with these peers, and paths for all of them.
func config(paths []*bgp.Path, routers ...*router) bgp.Config {
	c := bgp.Config{ASN: 65000, RouterID: netip.MustParseAddr("192.0.2.1"), RestartTime: time.Minute, Paths: paths}
	var addrs []netip.Addr
	for _, r := range routers {
		c.Peers = append(c.Peers, r.peer())
		addrs = append(addrs, r.at.Addr())
	}
	for i := range c.Paths {
		c.Paths[i].Peers = bgp.NewPeerSet(addrs...)
	}
	return c
}

// somePaths are n paths of each family.
func somePaths(n int) []*bgp.Path {
	var list []*bgp.Path
	for i := range n {
		list = append(list, &bgp.Path{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)}), 32)})
	}
	for i := range n {
		list = append(list, &bgp.Path{Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 6: byte(i >> 8), 7: byte(i)}), 64)})
	}
	return list
}

// newSpeaker returns a speaker that is stopped when the test ends.
func newSpeaker(t *testing.T) *Speaker {
	t.Helper()
	s := New(slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := s.Stop(t.Context(), bgp.Restart, ""); err != nil {
			t.Error(err)
		}
	})
	return s
}

// eventually waits until check is content.
func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !check(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
