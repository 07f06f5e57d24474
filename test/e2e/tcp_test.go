package e2e

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"netctl/test/lab"
)

// tell listens on a TCP port of an address and tells each client who it is.
func tell(t *testing.T, ns *lab.NS, addr netip.Addr, port uint16) {
	t.Helper()
	var l net.Listener
	var err error
	at := netip.AddrPortFrom(addr, port).String()
	ns.Do(func() { l, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", at) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "%s for %s", c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(), at)
			c.Close()
		}
	}()
}

// told connects to a TCP port of an address and returns what it is told.
func told(t *testing.T, ns *lab.NS, addr string, port uint16) (string, error) {
	t.Helper()
	var c net.Conn
	var err error
	ns.Do(func() {
		d := net.Dialer{Timeout: time.Second}
		c, err = d.DialContext(t.Context(), "tcp", netip.AddrPortFrom(netip.MustParseAddr(addr), port).String())
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	text, err := io.ReadAll(c)
	return string(text), err
}
