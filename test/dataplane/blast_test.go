package dataplane_test

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// sinks count what arrives, by protocol.
var sinks = map[string]*atomic.Int64{"tcp": {}, "udp": {}}

// Sink takes what is sent to addr over TCP and UDP.
func (a *Agent) Sink(addr string, _ *struct{}) error {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	u, err := lc.ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go drainInto(sinks["tcp"], c.Read)
		}
	}()
	go drainInto(sinks["udp"], func(b []byte) (int, error) { n, _, err := u.ReadFrom(b); return n, err })
	return nil
}

func drainInto(count *atomic.Int64, read func([]byte) (int, error)) {
	b := make([]byte, 1<<16)
	for {
		n, err := read(b)
		count.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// A Count is how much has arrived at some time.
type Count struct {
	Bytes int64
	At    time.Time
}

// Sunk returns how much has arrived over a protocol, or starts to count anew
// when that is empty.
func (a *Agent) Sunk(network string, out *Count) error {
	if network == "" {
		for _, s := range sinks {
			s.Store(0)
		}
		return nil
	}
	*out = Count{sinks[network].Load(), time.Now()}
	return nil
}

// datagram is the payload of a full UDP packet.
const datagram = 1472

// Blast sends as much as it can for some time.
func (a *Agent) Blast(args struct {
	Network, Addr string
	For           time.Duration
}, _ *struct{},
) error {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), args.Network, args.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if t, ok := c.(*net.TCPConn); ok {
		if err := t.SetLinger(0); err != nil { // what waits does not follow
			return err
		}
	}
	end := time.Now().Add(args.For)
	if err := c.SetDeadline(end); err != nil {
		return err
	}
	b := make([]byte, datagram)
	if args.Network == "tcp" {
		b = make([]byte, 1<<16)
	}
	for time.Now().Before(end) {
		if _, err := c.Write(b); err != nil && args.Network == "tcp" {
			break // the time is over
		}
	}
	return nil
}
