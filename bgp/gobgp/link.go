package gobgp

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"netctl/bgp"
)

// A link is the connection with one peer: it dials the peer, takes the
// connections that the peer makes, and hands one at a time to a relay.
type link struct {
	asn      uint32
	inner    inner
	counters *counters
	patience time.Duration // how long the peer may take to read; 0 for a hold time
	changed  func()        // there is something new to look at
	opened   func(open)    // the peer has sent its OPEN, which GoBGP will see next
	over     func()        // a session is over, and GoBGP must be ready for the next

	offers chan *net.TCPConn
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	peer    bgp.Peer // for the next connection
	closing bool
	relay   *relay // the present one
	dialing bool
	why     string // why the last session or attempt ended
}

// Timing of connections.
const (
	dialTimeout  = 4 * time.Second
	crossing     = time.Second           // the longest that connections of both sides may be under way together
	retryAfter   = time.Second           // and up to as much again
	returnAfter  = 50 * time.Millisecond // from the end of an established session
	refusedAfter = 3 * time.Second       // from the end of one that was never established, and at most
	steadyAfter  = 30 * time.Second      // a session that has lasted so long was a good one
	farewell     = 2 * time.Second       // for the peer to take note of a NOTIFICATION
)

// start starts to connect with the peer. Only abort and finish end that.
func (l *link) start(ctx context.Context) {
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.offers, l.done = make(chan *net.TCPConn, 1), make(chan struct{})
	go l.run(ctx)
}

// use changes the configuration of the next connection.
func (l *link) use(p bgp.Peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peer = p
}

// config is the configuration of the next connection.
func (l *link) config() bgp.Peer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer
}

// run keeps a session going until ctx is done or finish is called.
func (l *link) run(ctx context.Context) {
	defer close(l.done)
	defer l.refuse()
	var wait time.Duration
	for {
		peer, conn := l.connect(ctx, wait)
		if conn == nil {
			return
		}
		r := newRelay(l, peer, conn)
		l.mu.Lock()
		l.relay = r
		l.refuse()
		closing := l.closing
		l.mu.Unlock()
		if closing {
			_ = conn.Close()
			return
		}
		why := r.run(ctx)
		l.mu.Lock()
		l.relay = nil
		if r.established() {
			l.why = why
		} else {
			l.note(why)
		}
		closing = l.closing
		l.mu.Unlock()
		l.changed()
		if closing {
			return
		}
		l.over()
		switch {
		case !r.established():
			wait = refusedAfter
		case time.Since(r.began) > steadyAfter, wait == 0:
			wait = returnAfter
		default: // it does not last
			wait = min(4*wait, refusedAfter)
		}
	}
}

// refuse closes the connection that the peer has made, if any.
func (l *link) refuse() {
	select {
	case c := <-l.offers:
		_ = c.Close()
	default:
	}
}

// note keeps why an attempt failed. It needs mu.
func (l *link) note(why string) {
	if why != "" {
		l.why = why
	}
}

// connect returns the next connection with the peer, or nil when there will be
// none. It waits before it dials; connections of the peer are taken at any
// time.
func (l *link) connect(ctx context.Context, wait time.Duration) (bgp.Peer, *net.TCPConn) {
	peer := l.config()
	for ; ; wait = retryAfter + rand.N(retryAfter) {
		var due <-chan time.Time
		if !peer.Passive {
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return peer, nil
		case c := <-l.offers:
			return peer, c
		case <-due:
		}
		if c := l.dial(ctx, peer); c != nil {
			return peer, c
		}
	}
}

// dial tries to connect once, and returns the connection to use, if any. The
// one that the peer makes meanwhile has to wait: a helper to which ours gets
// when a session is up over the other takes it for a second restart, and
// deletes what it has not heard again (RFC 4724 section 4.2).
func (l *link) dial(ctx context.Context, peer bgp.Peer) *net.TCPConn {
	l.setDialing(true)
	defer l.setDialing(false)
	dctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var ours, theirs *net.TCPConn
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		ours, err = l.dialOnce(dctx, peer)
	}()
	select {
	case <-done:
	case theirs = <-l.offers:
		select {
		case <-done:
		case <-time.After(crossing):
			cancel()
			<-done
		}
	}
	switch {
	case ours == nil:
		if theirs == nil && ctx.Err() == nil {
			l.mu.Lock()
			l.note(dialError(peer, local(peer), err))
			l.mu.Unlock()
			l.changed()
		}
		return theirs
	case theirs != nil:
		_ = theirs.Close()
	}
	return ours
}

func (l *link) setDialing(d bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialing = d
}

// local is our end of a connection, if it is not the kernel's choice.
func local(p bgp.Peer) netip.Addr {
	if p.LocalAddr.IsValid() {
		return p.LocalAddr
	}
	return p.Source
}

func (l *link) dialOnce(ctx context.Context, p bgp.Peer) (*net.TCPConn, error) {
	out, in := ttls(p, l.asn)
	d := net.Dialer{
		Timeout: dialTimeout,
		Control: func(_, _ string, raw syscall.RawConn) error {
			return controlRaw(raw, func(fd int) error {
				if p.Password != "" {
					if err := setPassword(fd, p.Addr, string(p.Password)); err != nil {
						return err
					}
				}
				return setTTLs(fd, p.Addr.Is4(), out, in)
			})
		},
	}
	d.SetMultipathTCP(false) // it has no TCP MD5
	if a := local(p); a.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
	}
	c, err := d.DialContext(ctx, tcpNetwork(p.Addr), netip.AddrPortFrom(p.Addr, p.Port).String())
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.New("not a TCP connection")
	}
	return tcp, nil
}

// offer takes a connection that the peer has made. One that comes while a
// session is established means that the peer has lost it without us noticing,
// and takes its place (RFC 4724 section 4.2), unless the session is so young
// that both sides have connected at the same time. Otherwise the first
// connection wins.
func (l *link) offer(c *net.TCPConn) {
	p := l.config()
	out, in := ttls(p, l.asn)
	at := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	if p.LocalAddr.IsValid() && at != p.LocalAddr {
		l.mu.Lock()
		l.note("the peer connects to " + at.String() + ", but " + p.LocalAddr.String() + " is configured as our end of the session")
		l.mu.Unlock()
		l.changed()
		_ = c.Close()
		return
	}
	if err := control(c, func(fd int) error { return setTTLs(fd, p.Addr.Is4(), out, in) }); err != nil {
		_ = c.Close()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing || l.relay != nil && (!l.relay.established() || time.Since(l.relay.began) < crossing) {
		_ = c.Close()
		return
	}
	select {
	case l.offers <- c:
		if l.relay != nil {
			l.relay.abandon("the peer connected anew")
		}
	default:
		_ = c.Close()
	}
}

// abort ends the connection at once. Nothing is said to the peer, whatever
// GoBGP says from now on.
func (l *link) abort() {
	l.mu.Lock()
	l.closing = true
	r := l.relay
	l.mu.Unlock()
	if r != nil {
		r.abandon("")
	}
	l.cancel()
}

// finish ends the link when the session has ended, which is about to happen:
// what has been written to it still gets through.
func (l *link) finish() {
	l.mu.Lock()
	l.closing = true
	idle := l.relay == nil
	l.mu.Unlock()
	if !idle {
		select {
		case <-l.done:
		case <-time.After(farewell + time.Second):
		}
	}
	l.cancel()
	<-l.done
}

// A linkStatus is what a link knows about its session.
type linkStatus struct {
	state                bgp.State
	session              *relay // the established one
	local                netip.Addr
	theirs               open
	holdTime             time.Duration // negotiated
	why                  string        // the last session or attempt ended
	received, advertised map[bgp.Family]int
}

func (l *link) status() linkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := linkStatus{state: bgp.Active, why: l.why}
	if l.dialing {
		s.state = bgp.Connect
	}
	r := l.relay
	if r == nil {
		return s
	}
	s.state = r.state()
	s.local = r.outer.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	s.theirs = r.theirs()
	if s.state == bgp.Established {
		s.session = r
		if !r.timeless.Load() {
			s.holdTime = min(r.peer.HoldTime, s.theirs.holdTime)
		}
		s.received, s.advertised = r.receivedPrefixes(), r.out.counts()
	}
	return s
}

// connected reports whether there is a session that may be up within GoBGP,
// which knows it before the relay does, but not before the OPEN of the peer.
// The link may be nil.
func (l *link) connected() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.relay == nil {
		return false
	}
	select {
	case <-l.relay.opened:
		return true
	default:
		return false
	}
}

// established returns the relay of an established session, or nil. The link
// may be nil too.
func (l *link) established() *relay {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.relay == nil || !l.relay.established() {
		return nil
	}
	return l.relay
}
