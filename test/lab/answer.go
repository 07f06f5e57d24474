package lab

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Answer answers every UDP datagram that reaches an address of the namespace
// with a name, until the test ends or the namespace is gone.
func (ns *NS) Answer(at netip.AddrPort, name string) {
	l := ns.Lab
	l.Helper()
	var conn *net.UDPConn
	var err error
	ns.Do(func() { conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) })
	if err != nil {
		l.Fatalf("%s: %v", ns.Name, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := make([]byte, 64); ; {
			_, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort([]byte(name), from)
		}
	}()
	l.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
}

// Ask sends a UDP datagram from an address and port of the namespace and
// returns the name of who answers.
//
// The socket is not connected: a connected one has a random hash, which the
// kernel leaves on its packets, and by which a router in another namespace, not
// being on another machine, would choose among the paths of a route.
func (ns *NS) Ask(from, to netip.AddrPort) (string, error) {
	var conn *net.UDPConn
	var err error
	ns.Do(func() {
		// A process that is just being started may hold one that was closed.
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(from))
			if !errors.Is(err, unix.EADDRINUSE) || time.Now().After(deadline) {
				return
			}
		}
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	b := make([]byte, 64)
	for range 3 {
		if _, err = conn.WriteToUDPAddrPort([]byte{'?'}, to); err != nil {
			return "", err
		}
		if err = conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return "", err
		}
		var n int
		if n, err = conn.Read(b); err == nil {
			return string(b[:n]), nil
		}
	}
	return "", err
}
