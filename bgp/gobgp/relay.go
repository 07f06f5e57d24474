package gobgp

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netctl/bgp"
)

// A relay carries one connection with a peer to GoBGP and back, message by
// message. It is where the wire and GoBGP are kept apart:
//
//   - Our OPEN gets the restart bits that a helper needs (restart.go).
//   - A hold time of 0, which means no keepalives (RFC 4271 section 4.4), stays
//     between the peer and the relay: GoBGP does not get along with it.
//   - The peer's OPEN is seen before GoBGP sees it, so that the export policy
//     suits the session before the first path is sent.
//   - UPDATEs of the peer end here. We take no routes from peers, so they need
//     neither memory nor GoBGP's parser, whatever is in them.
//   - What the peer is told is kept track of, and it is not told what it need
//     not know (adjout.go).
//   - NOTIFICATIONs of both sides are read for the operator.
type relay struct {
	link  *link
	peer  bgp.Peer
	outer *net.TCPConn // to the peer
	began time.Time

	out    *adjOut
	opened chan struct{} // closed when the peer's OPEN has been read

	pending      atomic.Int64 // bytes read from GoBGP and not yet written
	in4, in6     atomic.Int64 // prefixes that the peer announced
	introduced   atomic.Bool  // our OPEN went out
	heard, spoke atomic.Bool  // a KEEPALIVE went in, and out
	timeless     atomic.Bool  // one side has a hold time of 0
	parting      atomic.Bool  // GoBGP has sent a NOTIFICATION

	mu     sync.Mutex
	inside *net.TCPConn // to GoBGP
	remote open
	why    string
	over   bool
}

// An inner is GoBGP's end of a session: the loopback address by which it knows
// the peer, where it listens, and the TCP MD5 key that keeps everybody else in
// this host away from there.
type inner struct {
	addr   netip.Addr
	server netip.AddrPort
	secret string
}

// openTimeout is how long the peer may take to send its OPEN. RFC 4271 section
// 8.2.2 suggests four minutes; a router that is alive takes milliseconds.
const openTimeout = 30 * time.Second

// bufferSize suits the many small messages of a table.
const bufferSize = 64 << 10

func newRelay(l *link, p bgp.Peer, outer *net.TCPConn) *relay {
	return &relay{link: l, peer: p, outer: outer, began: time.Now(), out: newAdjOut(), opened: make(chan struct{})}
}

// run carries messages until the session ends, and returns why it did; nothing
// when it ended because we wanted it to.
func (r *relay) run(ctx context.Context) string {
	stop := context.AfterFunc(ctx, func() { r.abandon("") })
	defer stop()
	inside, err := r.dialInside(ctx)
	if err != nil {
		r.abandon(fmt.Sprintf("the speaker did not take the connection: %v", err))
		return r.reason()
	}
	var inward sync.WaitGroup
	inward.Add(2)
	ended := make(chan struct{})
	go func() {
		defer inward.Done()
		defer close(ended)
		r.inward(inside)
		// GoBGP takes an end without a word for what it is.
		_ = inside.Close()
	}()
	go func() {
		defer inward.Done()
		r.vouch(inside, ended)
	}()
	r.outward(bufio.NewReaderSize(inside, bufferSize))
	if r.parting.Load() {
		// The peer is given time to read the NOTIFICATION, and hangs up then.
		// FRR would take an end of the connection that it sees before that for
		// a crash, and help; closing with unread input would even reset it.
		_ = r.outer.SetReadDeadline(time.Now().Add(farewell))
	} else {
		r.abandon("the speaker gave the session up, perhaps as the peer did not read what it was sent")
	}
	inward.Wait()
	r.abandon("")
	return r.reason()
}

// dialInside connects to GoBGP as the peer. GoBGP hangs up while it gets over
// the session before, so the connection counts when its OPEN is there.
func (r *relay) dialInside(ctx context.Context) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	in := r.link.inner
	d := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(in.addr, 0)),
		Control: func(_, _ string, raw syscall.RawConn) error {
			return controlRaw(raw, func(fd int) error { return setPassword(fd, in.server.Addr(), in.secret) })
		},
	}
	d.SetMultipathTCP(false)
	for {
		c, err := d.DialContext(ctx, "tcp4", in.server.String())
		if err == nil {
			tcp := c.(*net.TCPConn)
			if err = r.take(tcp); err == nil {
				return tcp, nil
			}
		}
		if perr := pause(ctx, 5*time.Millisecond); perr != nil {
			return nil, errors.Join(perr, err)
		}
	}
}

// take makes c the connection with GoBGP if there is something to read on it.
func (r *relay) take(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err == nil {
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, perr := 0, error(nil)
		err = raw.Read(func(fd uintptr) bool {
			var b [1]byte
			n, _, perr = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK)
			return !errors.Is(perr, unix.EAGAIN)
		})
		if err == nil {
			err = perr
		}
		if err == nil && n == 0 {
			err = io.EOF
		}
		_ = c.SetReadDeadline(time.Time{})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over && err == nil {
		err = net.ErrClosed
	}
	if err != nil {
		_ = c.Close()
		return err
	}
	r.inside = c
	return nil
}

// inward carries what the peer says to GoBGP.
func (r *relay) inward(inside io.Writer) {
	in := bufio.NewReaderSize(r.outer, bufferSize)
	buf := make([]byte, maxMessage)
	_ = r.outer.SetReadDeadline(time.Now().Add(openTimeout))
	var alive time.Time
	for {
		m, err := readMessage(in, buf)
		if err != nil {
			r.fail(lost(err, r.established(), r.peer))
			return
		}
		switch m.kind() {
		case msgOpen:
			o, err := parseOpen(m)
			if err != nil {
				r.fail(lost(err, false, r.peer))
				return
			}
			if r.peer.HoldTime == 0 || o.holdTime == 0 {
				r.timeless.Store(true)
				setHoldTime(m, neverExpires)
			}
			r.learn(o)
		case msgUpdate:
			r.link.counters.received.Add(1)
			n4, n6 := announcements(m)
			r.in4.Add(int64(n4))
			r.in6.Add(int64(n6))
			// It shows that the peer lives, which GoBGP wants to know now
			// and then.
			if time.Since(alive) < time.Second {
				continue
			}
			m = keepalive
		case msgNotification:
			r.fail(told(m, r.peer, r.link.asn))
		case msgKeepalive:
			if !r.heard.Swap(true) {
				r.link.changed()
			}
		}
		if m.kind() == msgKeepalive {
			alive = time.Now()
		}
		if err := inspect(m); err != nil {
			r.refuse(err)
			return
		}
		// When GoBGP has hung up, run decides how long to go on reading.
		_, _ = inside.Write(m)
	}
}

// vouch tells GoBGP that a peer lives that sends no keepalives.
func (r *relay) vouch(inside io.Writer, ended <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		if r.timeless.Load() && r.established() {
			if _, err := inside.Write(keepalive); err != nil {
				return
			}
		}
	}
}

// learn keeps the peer's OPEN and has the export policy made for it.
func (r *relay) learn(o open) {
	r.mu.Lock()
	first := r.remote.families == nil
	r.remote = o
	r.mu.Unlock()
	if first {
		_ = r.outer.SetReadDeadline(time.Time{})
		r.link.opened(o)
		close(r.opened)
	}
}

// outward carries what GoBGP says to the peer.
func (r *relay) outward(in *bufio.Reader) {
	out := bufio.NewWriterSize(patient{r}, bufferSize)
	buf := make([]byte, maxMessage)
	for {
		if !whole(in) {
			if err := out.Flush(); err != nil {
				r.abandon(unsent(err, r.established(), r.peer))
				return
			}
			r.pending.Store(0)
		}
		m, err := readMessage(in, buf)
		if err != nil {
			return
		}
		r.pending.Add(int64(len(m)))
		switch m.kind() {
		case msgOpen:
			r.restartBits(m)
			if r.peer.HoldTime == 0 {
				setHoldTime(m, 0)
			}
			r.introduced.Store(true)
			r.link.changed()
		case msgUpdate:
			if !r.out.pass(m, r.theirs().asSize) {
				r.pending.Add(int64(-len(m)))
				continue
			}
			r.link.counters.sent.Add(1)
		case msgNotification:
			r.fail(said(m, r.peer, r.theirs()))
			r.parting.Store(true)
		case msgKeepalive:
			again := r.spoke.Swap(true)
			if !again {
				r.link.changed()
			} else if r.timeless.Load() {
				r.pending.Add(int64(-len(m)))
				continue
			}
		}
		if _, err := out.Write(m); err != nil {
			r.abandon(unsent(err, r.established(), r.peer))
			return
		}
	}
}

// sendHoldTime is how long a peer may take to read what it is sent when there
// is no hold time (RFC 9687 section 3.2).
const sendHoldTime = 8 * time.Minute

// patient writes to the peer for as long as the peer may take to read. A peer
// that reads nothing for a whole hold time is as good as gone, even if it says
// that it lives (RFC 9687); GoBGP keeps what it cannot write in memory.
type patient struct{ r *relay }

func (p patient) Write(b []byte) (int, error) {
	_ = p.r.outer.SetWriteDeadline(time.Now().Add(p.r.patience()))
	return p.r.outer.Write(b)
}

// patience is how long the peer may take to read what it is sent.
func (r *relay) patience() time.Duration {
	if r.link.patience > 0 {
		return r.link.patience
	}
	hold := r.peer.HoldTime
	if theirs := r.theirs().holdTime; theirs > 0 {
		hold = min(hold, theirs)
	}
	return cmp.Or(hold, sendHoldTime)
}

// whole reports whether the next message can be read without waiting.
func whole(in *bufio.Reader) bool {
	if in.Buffered() < headerSize {
		return false
	}
	h, err := in.Peek(headerSize)
	return err == nil && in.Buffered() >= int(h[16])<<8|int(h[17])
}

// fail keeps the first reason for the end of the session.
func (r *relay) fail(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why == "" && !r.over {
		r.why = why
	}
}

// abandon ends both connections at once, and says nothing to the peer.
func (r *relay) abandon(why string) {
	r.fail(why)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	_ = r.outer.Close()
	if r.inside != nil {
		_ = r.inside.Close()
	}
}

func (r *relay) reason() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why
}

// theirs is the OPEN of the peer.
func (r *relay) theirs() open {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.remote
}

// ended reports whether the session is over.
func (r *relay) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// state is the state of the session as the wire has it.
func (r *relay) state() bgp.State {
	switch {
	case r.established():
		return bgp.Established
	case r.spoke.Load():
		return bgp.OpenConfirm
	case r.introduced.Load():
		return bgp.OpenSent
	}
	return bgp.Connect
}

// established reports whether both sides have confirmed the session.
func (r *relay) established() bool { return r.heard.Load() && r.spoke.Load() }

func (r *relay) receivedPrefixes() map[bgp.Family]int {
	return map[bgp.Family]int{bgp.IPv4Unicast: int(r.in4.Load()), bgp.IPv6Unicast: int(r.in6.Load())}
}

// waiting counts the bytes that GoBGP has written and the peer's kernel has
// not acknowledged.
func (r *relay) waiting() int {
	n := int(r.pending.Load()) + unacknowledged(r.outer)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inside != nil {
		_ = control(r.inside, func(fd int) error {
			queued, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
			n += queued
			return err
		})
	}
	return n
}
