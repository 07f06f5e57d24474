package fault

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"netctl/test/lab"
)

// All kinds of wrong peers at once: each gets one clear line, none harms the
// good one, and memory stays what it is.
func TestWrongPeers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.den()
	hang := make(chan struct{})
	good := open(villainASN, "192.0.4.200", usual(villainASN))
	junk := make([]byte, 4096)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(junk)
	villains := []*villain{
		{name: "nobody there", line: `192\.0\.4\.\d+ does not answer on its link \(no route to host\)`},
		{
			name: "wrong AS", meet: func(c net.Conn, _ int) { confer(c, open(64999, "192.0.4.200", usual(64999)), nil) },
			line: `the peer is AS 64999, but AS 64666 is configured for it`,
		},
		{
			name: "our AS is wrong to it",
			meet: func(c net.Conn, _ int) {
				_, _ = c.Write(append(good, message(msgNotification, 2, 2, 0xfd, 0xe9)...))
				_, _, _ = readMessage(c)
				_, _, _ = readMessage(c)
			},
			line: `the peer says that our AS is wrong: it expects another one than 65001`,
		},
		{name: "junk", meet: func(c net.Conn, _ int) { _, _ = c.Write(junk); <-hang }, line: `192\.0\.4\.\d+ sends something that is not BGP`},
		{
			name: "web server", meet: func(c net.Conn, _ int) { _, _ = c.Write([]byte("HTTP/1.0 400 Bad Request\r\n\r\n")); <-hang },
			line: `192\.0\.4\.\d+ sends something that is not BGP`,
		},
		{name: "hangs up", meet: func(net.Conn, int) {}, line: `192\.0\.4\.\d+ closed the connection before the session was up.*`},
		{name: "silent", meet: func(net.Conn, int) { <-hang }, line: `192\.0\.4\.\d+ takes the connection but does not speak BGP`},
		{
			name: "slow loris", line: `192\.0\.4\.\d+ takes the connection but does not speak BGP`,
			meet: func(c net.Conn, _ int) {
				for _, b := range good {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					select {
					case <-hang:
						return
					case <-time.After(3 * time.Second):
					}
				}
			},
		},
		{
			name: "says goodbye at length",
			meet: func(c net.Conn, _ int) {
				text := "maintenance\nsee \x1b[31mticket\x00 \xff" + string(make([]byte, 100))
				confer(c, append(good, message(msgNotification, append([]byte{6, 2, byte(len(text))}, text...)...)...), nil)
			},
			line: `the peer shut the session down administratively: maintenance\\nsee \\x1b\[31mticket.*`,
		},
		{
			name: "our router id", meet: func(c net.Conn, _ int) { confer(c, open(villainASN, "192.0.2.2", usual(villainASN)), nil) },
			state: "established", // RFC 6286: it need be unique within an AS only
		},
		{
			name: "router id 0.0.0.0", meet: func(c net.Conn, _ int) { confer(c, open(villainASN, "0.0.0.0", usual(villainASN)), nil) },
			line: `the peer has the router id 0\.0\.0\.0, which is ours or not valid`,
		},
		{
			name: "huge message", meet: func(c net.Conn, _ int) {
				m := message(msgOpen, make([]byte, 5000)...)
				_, _ = c.Write(m)
				<-hang
			}, line: `192\.0\.4\.\d+ sends something that is not BGP`,
		},
	}
	for _, v := range villains {
		d.add(v)
	}
	t.Cleanup(func() { close(hang) })
	since := time.Now()
	before, _ := s.memory()
	s.Daemon.CLI(append([]string{"network", "set", "br0", "--wait=0"}, keysOf(villains...)...)...)
	for _, v := range villains {
		d.shows(v)
	}
	s.unharmed(t, since)
	now, most := s.memory()
	t.Logf("resident memory: %d MB before, %d MB after, %d MB at most", before>>20, now>>20, most>>20)
}

// malformedOpens are OPENs, and what is sent in place of one, that are wrong
// in some way. Each byte of a good one is made wrong in turn, too.
func malformedOpens() [][]byte {
	params := func(b ...byte) []byte {
		return message(msgOpen, append([]byte{4, 0xfc, 0x9a, 0, 90, 192, 0, 4, 200}, b...)...)
	}
	list := [][]byte{
		message(msgOpen), message(msgOpen, 4), message(msgKeepalive), message(msgKeepalive, 1), message(msgUpdate), message(msgUpdate, 0, 0, 0, 0),
		message(0), message(5), message(6, 1, 2, 3), message(255), message(msgNotification), message(msgNotification, 1), message(msgNotification, 6, 2, 255),
		params(), params(0), params(255), params(2, 2), params(2, 2, 0), params(2, 2, 255), params(4, 2, 2, 1, 4), params(2, 1, 0), params(3, 255, 1, 0),
		params(255, 2, 255, 1), params(255, 255, 0, 0), // RFC 9072: extended optional parameters
		open(villainASN, "192.0.4.200", nil), open(0, "192.0.4.200", usual(0)), open(23456, "192.0.4.200", usual(0xffffffff)), open(villainASN, "224.0.0.1", usual(villainASN)),
	}
	for code := range 256 { // of every kind, too short and too long
		list = append(list,
			open(villainASN, "192.0.4.200", capability(byte(code))),
			open(villainASN, "192.0.4.200", append(usual(villainASN), byte(code), 3, 255, 255, 255)))
	}
	good := open(villainASN, "192.0.4.200", usual(villainASN))
	for i := 19; i < len(good); i++ {
		for _, b := range []byte{0, 1, 0x7f, 0xff} {
			bad := append([]byte{}, good...)
			bad[i] = b
			list = append(list, bad)
		}
	}
	return list
}

// malformedUpdates are UPDATEs with a correct header and nonsense in them.
func malformedUpdates() [][]byte {
	attr := func(flags, code byte, value ...byte) []byte {
		return append([]byte{flags, code, byte(len(value))}, value...)
	}
	with := func(attrs []byte, nlri ...byte) []byte {
		return message(msgUpdate, append(append([]byte{0, 0, byte(len(attrs) >> 8), byte(len(attrs))}, attrs...), nlri...)...)
	}
	list := [][]byte{
		message(msgUpdate), message(msgUpdate, 0), message(msgUpdate, 0xff, 0xff), message(msgUpdate, 0, 0, 0xff, 0xff), message(msgUpdate, 0, 0, 0, 0, 33, 1, 2, 3, 4, 5),
		message(msgUpdate, 0, 0, 0, 0, 255), with(nil, 0), with(nil, 24, 10), with(attr(0x40, 1, 9)), with(attr(0xff, 1)), with(attr(0x40, 2, 2, 255)), with(attr(0x40, 2, 1, 0)),
		with(attr(0x40, 2, 9, 1, 0, 0, 0, 1)), with(attr(0x40, 3)), with(attr(0x40, 3, 0, 0, 0, 0), 24, 10, 0, 0), with(attr(0x40, 3, 255, 255, 255, 255), 24, 10, 0, 0),
		with(attr(0x80, 14)), with(attr(0x80, 14, 0, 0, 0, 0, 0)), with(attr(0x80, 14, 0, 2, 1, 255, 0)), with(attr(0x80, 14, 0, 2, 1, 16)), with(attr(0x80, 15, 0, 2)),
		with(attr(0x80, 14, 0x40, 4, 71, 0, 0, 255)), with(attr(0x80, 14, 0, 1, 133, 0, 0, 255, 255, 255)), with(attr(0x80, 15, 0, 25, 65, 1)), // BGP-LS, flowspec, VPLS
		with(attr(0xc0, 8, 1)), with(attr(0xc0, 7, 1, 2)), with(attr(0xc0, 16, 1, 2, 3)), with(attr(0xc0, 32, 1)), with(attr(0xc0, 40, 1, 0, 3, 0, 0, 0)), with(attr(0xd0, 14, 0)),
	}
	good := update(villainASN, "192.0.4.200", netip.MustParsePrefix("10.99.0.0/24"), netip.MustParsePrefix("10.99.1.0/25"))
	for i := 19; i < len(good); i++ {
		for _, b := range []byte{0, 1, 0x7f, 0xff} {
			bad := append([]byte{}, good...)
			bad[i] = b
			list = append(list, bad)
		}
	}
	rnd := rand.NewChaCha8([32]byte{2})
	for n := range 500 {
		body := make([]byte, n)
		_, _ = rnd.Read(body)
		list = append(list, message(msgUpdate, body...))
	}
	return list
}

// Nothing that a peer can put into a message does any harm: the daemon goes
// on, and so do the other sessions; and, for UPDATEs, its own.
func TestMalformed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.den()
	opens, updates := d.visitor("malformed OPENs"), d.visitor("malformed UPDATEs")
	since, from := time.Now(), len(s.Daemon.Proc.Output())
	before, _ := s.memory()
	s.Daemon.CLI(append([]string{"network", "set", "br0", "--wait=0"}, keysOf(opens, updates)...)...)

	c := d.session(updates)
	for _, m := range malformedUpdates() {
		if _, err := c.Write(m); err != nil {
			t.Fatalf("the session ended: %v", err)
		}
	}
	if _, err := c.Write(update(villainASN, "192.0.4.200", netip.MustParsePrefix("10.98.0.0/24"))); err != nil {
		t.Fatal(err)
	}
	n := uint64(len(malformedUpdates()) + 1)
	s.Soon("all are dealt with", func() error {
		p := s.peers()[updates.addr.String()]
		return lab.Expect(p.Updates.Received == n && p.State == "established" && p.Flaps == 0, "%d of %d, %s, down %d times", p.Updates.Received, n, p.State, p.Flaps)
	})
	answered := 0
	for _, m := range malformedOpens() {
		if d.answers(opens, m) {
			answered++
		}
	}
	if all := len(malformedOpens()); answered < all*9/10 {
		t.Errorf("only %d of %d OPENs were answered", answered, all)
	}
	if s.Daemon.Proc.Exited() {
		t.Fatalf("the daemon has ended:\n%s", s.Daemon.Proc.Output())
	}
	if bad := logged(s.Daemon, from, `panic|goroutine \d`); len(bad) > 0 {
		t.Errorf("the log says %q", bad)
	}
	good := d.session(opens)
	_ = good.Close()
	if p := s.peers()[updates.addr.String()]; p.State != "established" || p.Flaps != 0 {
		t.Errorf("the other villain: %s, down %d times, %s", p.State, p.Flaps, p.LastError)
	}
	s.unharmed(t, since)
	now, most := s.memory()
	t.Logf("%d OPENs, %d UPDATEs; resident memory: %d MB before, %d MB after, %d MB at most", len(malformedOpens()), n, before>>20, now>>20, most>>20)
}
