package gobgp

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"netctl/bgp"
)

// TestVouch has a session without a hold time, on which the peer sends no
// keepalives: the relay sends them to GoBGP, which has one, until it ends.
func TestVouch(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		timeless, heard, spoke bool
		want                   int // in ten seconds
	}{
		{"a session without a hold time", true, true, true, 10},
		{"one with a hold time", false, true, true, 0},
		{"one that is not up", true, true, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &relay{}
				r.timeless.Store(tt.timeless)
				r.heard.Store(tt.heard)
				r.spoke.Store(tt.spoke)
				var inside bytes.Buffer
				ended := make(chan struct{})
				done := make(chan struct{})
				go func() {
					defer close(done)
					r.vouch(&inside, ended)
				}()
				time.Sleep(10*time.Second + time.Millisecond)
				close(ended)
				<-done
				if !bytes.Equal(inside.Bytes(), bytes.Repeat(keepalive, tt.want)) {
					t.Errorf("GoBGP was sent %x, want %d keepalives", inside.Bytes(), tt.want)
				}
			})
		})
	}
}

// TestPatience is how long a peer may take to read: the negotiated hold time,
// and when there is none what RFC 9687 suggests.
func TestPatience(t *testing.T) {
	for _, tt := range []struct{ ours, theirs, link, want time.Duration }{
		{90 * time.Second, 180 * time.Second, 0, 90 * time.Second},
		{90 * time.Second, 9 * time.Second, 0, 9 * time.Second},
		{90 * time.Second, 0, 0, 90 * time.Second}, // before its OPEN
		{0, 0, 0, sendHoldTime},
		{90 * time.Second, 90 * time.Second, time.Second, time.Second},
	} {
		r := &relay{link: &link{patience: tt.link}, peer: bgp.Peer{HoldTime: tt.ours}, remote: open{holdTime: tt.theirs}}
		if got := r.patience(); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// TestDeadPeer has a peer that has gone without a word, which the kernel still
// takes bytes for until its buffers are full: the relay gives up in time, tells
// why, and has not read from GoBGP what it could not write.
func TestDeadPeer(t *testing.T) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	outer, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer outer.Close()
	dead, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close() // which never reads
	r := newRelay(&link{patience: 200 * time.Millisecond, changed: func() {}}, bgp.Peer{Addr: netip.MustParseAddr("127.0.0.1")}, outer)
	news := &endless{message: keepalive}
	start := time.Now()
	r.outward(bufio.NewReaderSize(news, bufferSize))
	if want := "127.0.0.1 does not read what it is sent"; r.reason() != want || !r.ended() {
		t.Errorf("it ended with %q, want %q", r.reason(), want)
	}
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("gave up after %s", took)
	}
	if news.sent > 64<<20 {
		t.Errorf("%d MB were read for a peer that reads nothing", news.sent>>20)
	}
}

// An endless reader repeats a message.
type endless struct {
	message message
	sent    int
}

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = e.message[(e.sent+i)%len(e.message)]
	}
	e.sent += len(b)
	return len(b), nil
}
