package daemon

import (
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Connections beyond the limit wait until others are closed, and nobody waits
// for a listener that is closed.
func TestLocalConnections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	u, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l := newLocalListener(u, 2)
	accepted := make(chan net.Conn)
	ended := make(chan error)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c
		}
	}()
	for range 3 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, second := <-accepted, <-accepted
	select {
	case <-accepted:
		t.Fatal("three were accepted")
	case <-time.After(50 * time.Millisecond):
	}
	_ = first.Close()
	_ = first.Close() // which gives one place, not two
	third := <-accepted
	if c, err := net.Dial("unix", path); err != nil {
		t.Fatal(err)
	} else {
		defer c.Close()
	}
	select {
	case <-accepted:
		t.Fatal("another was accepted")
	case <-time.After(50 * time.Millisecond):
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener ended with %v", err)
	}
	_, _ = second.Close(), third.Close()
}
