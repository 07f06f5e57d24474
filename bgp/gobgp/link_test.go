package gobgp

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netctl/bgp"
)

// accepted returns both ends of a connection to a listener, as that has
// accepted it.
func accepted(t *testing.T, at *net.TCPListener) (there, here *net.TCPConn) {
	t.Helper()
	there, err := net.DialTCP("tcp", nil, at.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = there.Close() })
	if here, err = at.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = here.Close() })
	return there, here
}

// ended reports whether the other end of a connection has closed it.
func ended(c *net.TCPConn) bool {
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

func listener(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestCrossing has both sides connect at the same time.
func TestCrossing(t *testing.T) {
	t.Parallel()
	router, us := listener(t), listener(t)
	at := router.Addr().(*net.TCPAddr).AddrPort()
	l := &link{asn: 65001, changed: func() {}, offers: make(chan *net.TCPConn, 1), peer: bgp.Peer{Addr: at.Addr(), Port: at.Port(), ASN: 65000}}

	// What reaches the peer counts, and what the peer has made ends.
	there, here := accepted(t, us)
	l.offer(here)
	c := l.dial(t.Context(), l.peer)
	if c == nil || netip.MustParseAddrPort(c.RemoteAddr().String()) != at {
		t.Fatalf("the connection is %v", c)
	}
	defer c.Close()
	l.relay = newRelay(l, l.peer, c)
	l.refuse() // whichever was first
	if !ended(there) {
		t.Error("the peer's connection goes on")
	}

	// One that comes when the session is up was under way already, at first.
	l.relay.heard.Store(true)
	l.relay.spoke.Store(true)
	there, here = accepted(t, us)
	l.offer(here)
	if len(l.offers) > 0 || !ended(there) {
		t.Error("a young session is given up")
	}
	l.relay.began = time.Now().Add(-2 * crossing)
	_, here = accepted(t, us)
	l.offer(here)
	if len(l.offers) != 1 || l.relay.reason() != "the peer connected anew" {
		t.Errorf("an old session goes on: %q", l.relay.reason())
	}

	// When ours does not get through, the peer's does.
	_ = router.Close()
	if c := l.dial(t.Context(), l.peer); c != here && c != nil {
		t.Errorf("the connection is %v", c)
	}
}

// TestCrossingNowhere dials a peer that answers nothing and connects itself.
func TestCrossingNowhere(t *testing.T) {
	t.Parallel()
	us := listener(t)
	l := &link{asn: 65001, changed: func() {}, offers: make(chan *net.TCPConn, 1)}
	at := deaf(t)
	l.peer = bgp.Peer{Addr: at.Addr(), Port: at.Port(), ASN: 65000}
	_, here := accepted(t, us)
	l.offer(here)
	start := time.Now()
	if c := l.dial(t.Context(), l.peer); c != here {
		t.Errorf("the connection is %v", c)
	}
	if took := time.Since(start); took > dialTimeout {
		t.Errorf("after %v", took)
	}
}

// deaf returns an address where nobody answers, as its queue is full.
func deaf(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
	for range 10 {
		c, err := net.DialTimeout("tcp", at.String(), 200*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the queue does not fill")
	return at
}
