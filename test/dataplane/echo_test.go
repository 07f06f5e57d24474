package dataplane_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Serve tells everybody who asks on a port whom it sees, and which address was
// asked.
func (a *Agent) Serve(args struct{ Network, Addr string }, _ *struct{}) error {
	answer := func(remote, local net.Addr) string { return fmt.Sprintf("%s %s", remote, local) }
	if strings.HasPrefix(args.Network, "tcp") {
		var lc net.ListenConfig
		l, err := lc.Listen(context.Background(), args.Network, args.Addr)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					// An answer for each byte, as long as the other side likes.
					defer func() { _ = c.Close() }()
					for b := make([]byte, 1); ; {
						if _, err := io.ReadFull(c, b); err != nil {
							return
						}
						if _, err := io.WriteString(c, answer(c.RemoteAddr(), c.LocalAddr())+"\n"); err != nil {
							return
						}
					}
				}()
			}
		}()
		return nil
	}
	c, err := net.ListenUDP(args.Network, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(args.Addr)))
	if err != nil {
		return err
	}
	go func() {
		for b := make([]byte, 1); ; {
			_, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(answer(from, c.LocalAddr())+"\n"), from)
		}
	}()
	return nil
}

// Dial opens a connection to a server under a name, for Ask, in the place of
// one of that name.
func (a *Agent) Dial(args struct{ Name, Network, From, Addr string }, _ *struct{}) error {
	d := net.Dialer{Timeout: time.Second}
	if args.From != "" {
		from := netip.MustParseAddrPort(args.From)
		d.LocalAddr = net.TCPAddrFromAddrPort(from)
		if strings.HasPrefix(args.Network, "udp") {
			d.LocalAddr = net.UDPAddrFromAddrPort(from)
		}
	}
	if old := a.conns[args.Name]; old != nil {
		_ = old.Close()
	}
	c, err := d.DialContext(context.Background(), args.Network, args.Addr)
	if err != nil {
		return err
	}
	if a.conns == nil {
		a.conns = map[string]net.Conn{}
	}
	a.conns[args.Name] = c
	return nil
}

// Ask asks over a connection, and returns the answer.
func (a *Agent) Ask(name string, answer *string) error {
	c := a.conns[name]
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	b := make([]byte, 200)
	n, err := c.Read(b)
	*answer = strings.TrimSpace(string(b[:n]))
	return err
}

// ask opens a connection to a server and returns whom it sees there and where
// it is.
func (h *host) ask(network, to string) (seen netip.Addr, at netip.AddrPort, err error) {
	return h.askFrom(network, "", to)
}

func (h *host) askFrom(network, from, to string) (seen netip.Addr, at netip.AddrPort, err error) {
	if err := h.try("Dial", map[string]string{"Name": "ask", "Network": network, "From": from, "Addr": to}, nil); err != nil {
		return seen, at, err
	}
	return h.again("ask")
}

// again asks over a connection that is open.
func (h *host) again(name string) (seen netip.Addr, at netip.AddrPort, err error) {
	var answer string
	if err := h.try("Ask", name, &answer); err != nil {
		return seen, at, err
	}
	remote, local, _ := strings.Cut(answer, " ")
	r, err := netip.ParseAddrPort(remote)
	if err != nil {
		return seen, at, err
	}
	at, err = netip.ParseAddrPort(local)
	return r.Addr(), at, err
}
