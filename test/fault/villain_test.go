package fault

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"netctl/test/lab"
)

// Message types (RFC 4271 section 4.1).
const (
	msgOpen         = 1
	msgUpdate       = 2
	msgNotification = 3
	msgKeepalive    = 4
)

// message is a BGP message with a correct header.
func message(kind byte, body ...byte) []byte {
	m := make([]byte, 19, 19+len(body))
	for i := range 16 {
		m[i] = 0xff
	}
	binary.BigEndian.PutUint16(m[16:], uint16(19+len(body)))
	m[18] = kind
	return append(m, body...)
}

// capability is one capability of an OPEN (RFC 5492 section 4).
func capability(code byte, value ...byte) []byte {
	return append([]byte{code, byte(len(value))}, value...)
}

// usual are the capabilities of a usual router: both families, four-octet AS
// numbers and graceful restart.
func usual(asn uint32) []byte {
	var caps []byte
	caps = append(caps, capability(1, 0, 1, 0, 1)...)
	caps = append(caps, capability(1, 0, 2, 0, 1)...)
	caps = append(caps, capability(65, binary.BigEndian.AppendUint32(nil, asn)...)...)
	return append(caps, capability(64, 0, 120, 0, 1, 1, 0, 0, 2, 1, 0)...)
}

// open is an OPEN (RFC 4271 section 4.2) with capabilities.
func open(asn uint32, id string, caps []byte) []byte {
	body := []byte{4}
	body = binary.BigEndian.AppendUint16(body, uint16(asn))
	body = binary.BigEndian.AppendUint16(body, 90)
	body = append(body, netip.MustParseAddr(id).AsSlice()...)
	body = append(body, byte(2+len(caps)), 2, byte(len(caps)))
	return message(msgOpen, append(body, caps...)...)
}

// update is an UPDATE (RFC 4271 section 4.3) that announces IPv4 prefixes.
func update(asn uint32, nextHop string, prefixes ...netip.Prefix) []byte {
	attrs := []byte{0x40, 1, 1, 0} // ORIGIN
	attrs = append(attrs, 0x40, 2, 6, 2, 1)
	attrs = binary.BigEndian.AppendUint32(attrs, asn)
	attrs = append(attrs, 0x40, 3, 4)
	attrs = append(attrs, netip.MustParseAddr(nextHop).AsSlice()...)
	body := append([]byte{0, 0}, binary.BigEndian.AppendUint16(nil, uint16(len(attrs)))...)
	body = append(body, attrs...)
	for _, p := range prefixes {
		body = append(body, byte(p.Bits()))
		body = append(body, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
	}
	return message(msgUpdate, body...)
}

// readMessage reads one message.
func readMessage(c io.Reader) (kind byte, body []byte, err error) {
	header := make([]byte, 19)
	if _, err := io.ReadFull(c, header); err != nil {
		return 0, nil, err
	}
	body = make([]byte, int(binary.BigEndian.Uint16(header[16:]))-19)
	_, err = io.ReadFull(c, body)
	return header[18], body, err
}

// A villain is a peer that misbehaves. It has an address of its own in a
// namespace that all villains share.
type villain struct {
	name string
	addr netip.Addr // given by den.add
	keys []string   // further keys of the peer, without "bgp.peers.NAME."

	// meet is run with every connection that the daemon makes, and the number
	// of those before. Nil for a villain that does not listen.
	meet func(c net.Conn, n int)

	state string // that the daemon must come to show
	line  string // a regular expression for the last error that it must come to show
}

// villainASN is what the daemon believes to be the AS of every villain.
const villainASN = 64666

// A den is where villains live: a namespace on a link of the host.
type den struct {
	*site
	ns *lab.NS
	n  int
}

func (s *site) den() *den {
	s.Helper()
	d := &den{site: s, ns: s.NS("den")}
	s.Link(s.Host, "eth1", d.ns, "eth0")
	s.Host.Addr("eth1", "192.0.4.1/24")
	return d
}

// add gives a villain an address and lets it listen there.
func (d *den) add(v *villain) {
	d.Helper()
	d.n++
	v.addr = netip.AddrFrom4([4]byte{192, 0, 4, byte(10 + d.n)})
	if v.meet == nil {
		return
	}
	d.ns.Addr("eth0", v.addr.String()+"/24")
	var l net.Listener
	var err error
	d.ns.Do(func() { l, err = net.Listen("tcp", v.addr.String()+":179") })
	if err != nil {
		d.Fatalf("%s: %v", v.name, err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[c] = true
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				v.meet(c, n)
			})
		}
	})
	d.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

// keysOf are the keys that make villains peers of a network.
func keysOf(vs ...*villain) []string {
	var keys []string
	for i, v := range vs {
		prefix := fmt.Sprintf("bgp.peers.v%d.", i)
		keys = append(keys, prefix+"address="+v.addr.String(), fmt.Sprintf("%sasn=%d", prefix, villainASN))
		for _, k := range v.keys {
			keys = append(keys, prefix+k)
		}
	}
	return keys
}

// confer brings a session up from the side of a villain, and answers
// keepalives until the connection ends, unless more is given to do.
func confer(c net.Conn, hello []byte, more func()) {
	_, _ = c.Write(hello)
	for {
		kind, _, err := readMessage(c)
		switch {
		case err != nil || kind == msgNotification:
			return
		case kind == msgOpen:
			_, _ = c.Write(message(msgKeepalive))
		case kind == msgKeepalive:
			_, _ = c.Write(message(msgKeepalive))
			if more != nil {
				more()
				more = nil
			}
		}
	}
}

// shows waits until the daemon shows of a villain what it should, also in the
// table of the command: in one line.
func (d *den) shows(v *villain) {
	d.Helper()
	d.Eventually(40*time.Second, v.name, func() error {
		p := d.peers()[v.addr.String()]
		return lab.Expect((v.state == "" || v.state == p.State) && regexp.MustCompile("^("+v.line+")$").MatchString(p.LastError),
			"state %s, last error %q, want %s %q", p.State, p.LastError, v.state, v.line)
	})
	lines := 0
	for line := range strings.Lines(d.Daemon.CLI("bgp", "peers")) {
		if strings.Contains(line, v.addr.String()+" ") {
			lines++
		}
	}
	if lines != 1 {
		d.Fatalf("%s: %d lines of bgp peers", v.name, lines)
	}
}

// memory returns the resident memory of the daemon now and at its most, in
// bytes.
func (s *site) memory() (now, most int) {
	s.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Daemon.Proc.Cmd.Process.Pid))
	if err != nil {
		s.Fatalf("%v", err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 {
			n, _ := strconv.Atoi(f[1])
			switch f[0] {
			case "VmRSS:":
				now = n << 10
			case "VmHWM:":
				most = n << 10
			}
		}
	}
	return now, most
}

// unharmed fails the test when the good router has noticed anything.
func (s *site) unharmed(t *testing.T, since time.Time) {
	t.Helper()
	s.Undisturbed(since, subnet4, subnet6)
	if p := s.peers()[lab.Router4]; p.Flaps != 0 || p.State != "established" {
		t.Errorf("the good router: %s, down %d times, %s", p.State, p.Flaps, p.LastError)
	}
}

// dial connects to the daemon from the address of a villain. The villain must
// have the address and not listen.
func (d *den) dial(v *villain) (net.Conn, error) {
	d.Helper()
	var c net.Conn
	var err error
	d.ns.Do(func() {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: v.addr.AsSlice()}, Timeout: 5 * time.Second}
		c, err = dialer.Dial("tcp", "192.0.4.1:179")
	})
	return c, err
}

// visitor adds a villain that connects instead of listening.
func (d *den) visitor(name string) *villain {
	d.Helper()
	v := &villain{name: name, keys: []string{"passive=true"}}
	d.add(v)
	d.ns.Addr("eth0", v.addr.String()+"/24")
	return v
}

// answers connects to the daemon, sends a message in place of an OPEN, and
// reports whether there was any answer. The daemon takes one connection of a
// peer at a time and has to get over the one before.
func (d *den) answers(v *villain, m []byte) bool {
	d.Helper()
	for range 20 {
		c, err := d.dial(v)
		if err != nil {
			d.Fatalf("%s: %v", v.name, err)
		}
		_, _ = c.Write(append(m, message(msgKeepalive)...))
		_ = c.SetReadDeadline(time.Now().Add(1500 * time.Millisecond)) // our OPEN waits a second for the peer's
		_, _, err = readMessage(c)
		_ = c.Close()
		if err == nil {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

// session brings a session up from a villain that connects.
func (d *den) session(v *villain) net.Conn {
	d.Helper()
	var c net.Conn
	d.Eventually(20*time.Second, v.name+" has a session", func() (err error) {
		if c, err = d.dial(v); err != nil {
			return err
		}
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err = c.Write(open(villainASN, v.addr.String(), usual(villainASN))); err == nil {
			for kind := byte(0); kind != msgKeepalive && err == nil; {
				if kind, _, err = readMessage(c); kind == msgOpen {
					_, err = c.Write(message(msgKeepalive))
				}
			}
		}
		if err != nil {
			_ = c.Close()
		}
		return err
	})
	_ = c.SetDeadline(time.Time{})
	d.Cleanup(func() { _ = c.Close() })
	return c
}
