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

// patience is how long whoever asks waits for an answer that should come, and
// brief for one that should not.
const (
	patience = 15 * time.Second
	brief    = time.Second
)

// A Dialing says whom to open a connection to, and how long to wait for that.
type Dialing struct {
	Name, Network, From, Addr string
	Wait                      time.Duration
}

// Dial opens a connection to a server under a name, for Ask, in the place of
// one of that name.
func (a *Agent) Dial(args Dialing, _ *struct{}) error {
	d := net.Dialer{Timeout: args.Wait}
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
func (a *Agent) Ask(args struct {
	Name string
	Wait time.Duration
}, answer *string,
) error {
	c := a.conns[args.Name]
	if err := c.SetDeadline(time.Now().Add(args.Wait)); err != nil {
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
	return h.dial(Dialing{Name: "ask", Network: network, Addr: to, Wait: patience})
}

// askFrom is ask from an address and port.
func (h *host) askFrom(network, from, to string) (seen netip.Addr, at netip.AddrPort, err error) {
	return h.dial(Dialing{Name: "ask", Network: network, From: from, Addr: to, Wait: patience})
}

// askBriefly is ask where no answer should come.
func (h *host) askBriefly(network, to string) (seen netip.Addr, at netip.AddrPort, err error) {
	return h.dial(Dialing{Name: "ask", Network: network, Addr: to, Wait: brief})
}

// dial opens a connection and asks over it.
func (h *host) dial(d Dialing) (seen netip.Addr, at netip.AddrPort, err error) {
	if err := h.try("Dial", d, nil); err != nil {
		return seen, at, err
	}
	return h.again(d.Name, d.Wait)
}

// again asks over a connection that is open.
func (h *host) again(name string, wait time.Duration) (seen netip.Addr, at netip.AddrPort, err error) {
	var answer string
	if err := h.try("Ask", map[string]any{"Name": name, "Wait": wait}, &answer); err != nil {
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
