package daemon

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Connections beyond the limit wait until others are closed, and nobody waits
// for a listener that is closed.
func TestLocalConnections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := newLocalListener(t.Context(), path, -1, 2)
	if err != nil {
		t.Fatal(err)
	}
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

// A socket that was deleted is made again, with its mode and without a loss to
// those who are connected; one that somebody else has put there stays.
func TestRenewSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := newLocalListener(t.Context(), path, os.Getgid(), 10)
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	defer accepting.Wait()
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepting.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	defer l.Close()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	echo := func(c net.Conn) {
		t.Helper()
		b := make([]byte, 1)
		if _, err := c.Write([]byte{7}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(b); err != nil || b[0] != 7 {
			t.Fatalf("%v, %v", b, err)
		}
	}
	renew := func(want finding) {
		t.Helper()
		if got, err := l.renew(t.Context()); err != nil || got != want {
			t.Fatalf("found %v, %v, want %v", got, err, want)
		}
	}
	first := dial()
	defer first.Close()
	echo(first)
	renew(findOurs)
	for range 3 {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		renew(findNothing)
		renew(findOurs)
		second := dial()
		echo(second)
		echo(first)
		_ = second.Close()
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o660 {
			t.Errorf("%v, %v", fi.Mode(), err)
		}
	}

	if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	renew(findOther)
	echo(first)
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the other one: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	renew(findNothing) // and is not renewed: it is closed
	if _, err := os.Stat(path); err == nil {
		t.Error("made again after the end")
	}
}
