package gobgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"netctl/bgp"
)

// acceptRest is the pause after a connection that could not be taken.
const acceptRest = 10 * time.Millisecond

// listeners take the connections of peers.
type listeners struct {
	accept func(*net.TCPConn)

	mu        sync.Mutex
	open      map[netip.AddrPort]*net.TCPListener
	passwords map[netip.Addr]string
	tasks     sync.WaitGroup
}

// set listens on the wanted addresses and on no others. It returns where it
// listens, and why not elsewhere.
func (l *listeners) set(ctx context.Context, want []netip.AddrPort) (listening []netip.AddrPort, trouble string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for a, s := range l.open {
		if !slices.Contains(want, a) {
			_ = s.Close()
			delete(l.open, a)
		}
	}
	var errs []string
	for _, a := range want {
		if l.open[a] == nil {
			if err := l.listen(ctx, a); noSuchFamily(a, err) {
				continue
			} else if err != nil {
				errs = append(errs, err.Error())
				continue
			}
		}
		listening = append(listening, a)
	}
	return listening, strings.Join(errs, "; ")
}

// noSuchFamily reports whether a cannot be listened on because it stands for all
// addresses of a family that this host does not have.
func noSuchFamily(a netip.AddrPort, err error) bool {
	return a.Addr() == netip.IPv6Unspecified() && errors.Is(err, syscall.EAFNOSUPPORT)
}

// listen opens one socket. It needs mu.
func (l *listeners) listen(ctx context.Context, a netip.AddrPort) error {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// The answer to a SYN has the TTL of the listener, and GTSM peers
		// want the greatest (RFC 5082 section 3).
		return controlRaw(raw, func(fd int) error { return setTTLs(fd, a.Addr().Is4(), maxTTL, 0) })
	}}
	lc.SetMultipathTCP(false) // it has no TCP MD5
	s, err := lc.Listen(ctx, tcpNetwork(a.Addr()), a.String())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: the port is in use by another program", a)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: this host does not have that address", a)
	case err != nil:
		return fmt.Errorf("listen on %s: %w", a, err)
	}
	tcp := s.(*net.TCPListener)
	for peer, password := range l.passwords {
		if peer.Is4() == a.Addr().Is4() {
			if err := control(tcp, func(fd int) error { return setPassword(fd, peer, password) }); err != nil {
				_ = tcp.Close()
				return fmt.Errorf("listen on %s: password of %s: %w", a, peer, err)
			}
		}
	}
	l.open[a] = tcp
	l.tasks.Go(func() {
		for {
			c, err := tcp.AcceptTCP()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // most likely there are too many open files
				time.Sleep(acceptRest)
				continue
			}
			l.accept(c)
		}
	})
	return nil
}

// password sets the TCP MD5 key of a peer; the empty one removes it.
func (l *listeners) password(a netip.Addr, password bgp.Secret) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.passwords[a] == string(password) {
		return nil
	}
	for at, s := range l.open {
		if at.Addr().Is4() != a.Is4() {
			continue
		}
		if err := control(s, func(fd int) error { return setPassword(fd, a, string(password)) }); err != nil {
			return fmt.Errorf("password of %s: %w", a, err)
		}
	}
	if password == "" {
		delete(l.passwords, a)
	} else {
		l.passwords[a] = string(password)
	}
	return nil
}

// close stops listening and waits for connections that are being taken.
func (l *listeners) close(ctx context.Context) {
	l.set(ctx, nil)
	l.tasks.Wait()
}
