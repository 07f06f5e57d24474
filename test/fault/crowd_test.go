package fault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"netctl/test/lab"
)

// growth is how much more memory the daemon may have at the end of a test with
// bad peers than at its beginning, in bytes.
const growth = 64 << 20

// A peer that sends its whole table, one UPDATE for each prefix, costs neither
// memory nor anybody else's session.
func TestManyRoutes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{100_000, 1_000_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			manyRoutes(t, n)
		})
	}
}

func manyRoutes(t *testing.T, n int) {
	t.Helper()
	s := newSite(t)
	d := s.den()
	v := d.visitor("whole table")
	since := time.Now()
	s.Daemon.CLI(append([]string{"network", "set", "br0", "--wait=0"}, keysOf(v)...)...)
	c := d.session(v)
	before, _ := s.memory()
	start := time.Now()
	var buf []byte
	for i := range n {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24+uint32(i)<<4))), 28)
		buf = append(buf, update(villainASN, "192.0.4.200", p)...)
		if len(buf) > 1<<16 || i == n-1 {
			if _, err := c.Write(buf); err != nil {
				t.Fatalf("after %d routes: %v", i, err)
			}
			buf = buf[:0]
		}
	}
	s.Eventually(2*time.Minute, "all are counted", func() error {
		p := s.peers()[v.addr.String()]
		if p.State != "established" || len(p.Families) == 0 {
			return fmt.Errorf("%s: %s", p.State, p.LastError)
		}
		return lab.Expect(p.Families[0].Received == n, "%d of %d", p.Families[0].Received, n)
	})
	took := time.Since(start)
	now, most := s.memory()
	t.Logf("%d routes in %s; resident memory: %d MB before, %d MB after, %d MB at most", n, took.Round(time.Millisecond), before>>20, now>>20, most>>20)
	if most > before+growth {
		t.Errorf("memory grew from %d to %d MB", before>>20, most>>20)
	}
	if routes := s.Host.Run("ip", "route", "show", "proto", "bgp"); routes != "" {
		t.Errorf("routes were learned: %s", routes)
	}
	s.unharmed(t, since)
}

// A peer sends our own prefixes back to us, and as if they were its own:
// nothing comes of it.
func TestOwnRoutesComeBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.den()
	v := d.visitor("echo")
	since := time.Now()
	s.Daemon.CLI(append([]string{"network", "set", "br0", "--wait=0"}, keysOf(v)...)...)
	c := d.session(v)
	routes := s.Host.Run("ip", "route")
	own := netip.MustParsePrefix(subnet4)
	// Back as it was sent, and stolen; as a whole, in halves, and as a default.
	for range 3 {
		for {
			kind, body, err := readMessage(c)
			if err != nil {
				t.Fatal(err)
			}
			if kind == msgUpdate {
				if _, err := c.Write(message(msgUpdate, body...)); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
	half := netip.PrefixFrom(own.Addr(), own.Bits()+1)
	if _, err := c.Write(update(villainASN, v.addr.String(), own, half, netip.MustParsePrefix("0.0.0.0/0"))); err != nil {
		t.Fatal(err)
	}
	s.Soon("they have come", func() error {
		p := s.peers()[v.addr.String()]
		return lab.Expect(p.Updates.Received >= 4, "%d updates", p.Updates.Received)
	})
	if now := s.Host.Run("ip", "route"); now != routes {
		t.Errorf("routes are\n%s\nand were\n%s", now, routes)
	}
	_ = c.Close()
	s.empty("echo")
	s.unharmed(t, since)
}

// Who is no peer does not get to the speaker at all; with the firewall turned
// off, is hung up on without a word.
func TestStrangersConnect(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.den()
	stranger := d.visitor("stranger")
	since := time.Now()
	if c, err := d.dial(stranger); err == nil {
		_ = c.Close()
		t.Error("a stranger got through")
	} else if !errors.Is(err, os.ErrDeadlineExceeded) && !isTimeout(err) {
		t.Errorf("a stranger: %v, want no answer at all", err)
	}
	s.Daemon.CLI("config", "set", "bgp.firewall=false")
	for range 100 {
		c, err := d.dial(stranger)
		if err != nil {
			t.Fatalf("with the firewall off: %v", err)
		}
		_, _ = c.Write(open(villainASN, stranger.addr.String(), usual(villainASN)))
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if b, err := io.ReadAll(c); len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("a stranger is told %x, %v", b, err)
		}
		_ = c.Close()
	}
	// Slow ones do not get to be slow.
	from := len(s.Daemon.Proc.Output())
	s.Daemon.CLI("config", "set", "bgp.firewall=true")
	if c, err := d.dial(stranger); err == nil {
		_ = c.Close()
		t.Error("a stranger got through when the firewall was on again")
	}
	if loud := logged(s.Daemon, from, "level=(INFO|WARN|ERROR).*192.0.4"); len(loud) > 0 {
		t.Errorf("strangers fill the log: %q", loud)
	}
	s.unharmed(t, since)
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// Two daemons of different ASes may have the same router id (RFC 6286); of the
// same AS they may not, and say so.
func TestSameRouterID(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	twin := s.NS("twin")
	s.Link(s.Host, "eth1", twin, "eth0")
	s.Host.Addr("eth1", "192.0.4.1/24")
	twin.Addr("eth0", "192.0.4.2/24")
	other := twin.Netctld()
	since := time.Now()
	s.Daemon.CLI("network", "set", "br0", "--wait=0", "bgp.peers.twin.address=192.0.4.2", "bgp.peers.twin.asn=65077")
	other.CLI("config", "set", "core.bgp_asn=65077", "core.bgp_address=:179", "core.bgp_routerid="+lab.Host4)
	other.CLI("network", "create", "br0", "--wait=0", "ipv4.address=198.51.101.1/24", "ipv6.address=none", "bgp.peers.twin.address=192.0.4.1", "bgp.peers.twin.asn=65001")
	s.Soon("session of twins", func() error {
		p := s.peers()["192.0.4.2"]
		return lab.Expect(p.State == "established" && p.RemoteID == lab.Host4, "%s: %s", p.State, p.LastError)
	})
	// The same AS, too.
	s.Daemon.CLI("network", "set", "br0", "--wait=0", "bgp.peers.twin.asn=65001")
	other.CLI("config", "set", "core.bgp_asn=65001", "--wait=0")
	s.Soon("refusal", func() error {
		p := s.peers()["192.0.4.2"]
		return lab.Expect(p.State != "established" && strings.Contains(p.LastError, "router id"), "%s: %s", p.State, p.LastError)
	})
	other.CLI("config", "set", "core.bgp_routerid=192.0.4.2", "--wait=0")
	s.Soon("session of siblings", func() error {
		p := s.peers()["192.0.4.2"]
		return lab.Expect(p.State == "established", "%s: %s", p.State, p.LastError)
	})
	s.unharmed(t, since)
	other.Settled()
}

// A peer whose sessions end as soon as they are up is not called back all the
// time, and what is said about it stays readable.
func TestFlapping(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.den()
	v := &villain{name: "flapping", meet: func(c net.Conn, _ int) {
		confer(c, open(villainASN, "192.0.4.200", usual(villainASN)), func() { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() })
	}}
	d.add(v)
	since, from := time.Now(), len(s.Daemon.Proc.Output())
	s.Daemon.CLI(append([]string{"network", "set", "br0", "--wait=0"}, keysOf(v)...)...)
	time.Sleep(10 * time.Second)
	flaps := s.peers()[v.addr.String()].Flaps
	lines := logged(s.Daemon, from, "level=(INFO|WARN|ERROR).*"+v.addr.String())
	t.Logf("in ten seconds: %d sessions, %d lines in the log", flaps, len(lines))
	if flaps < 2 || flaps > 15 || len(lines) > 50 {
		t.Errorf("too few or too many")
	}
	s.unharmed(t, since)
}
