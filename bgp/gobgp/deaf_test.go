package gobgp

import (
	"bufio"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"netctl/bgp"
)

// listenDeaf is a router that says that it lives and does not read what it is
// told. It returns where it listens.
func listenDeaf(t *testing.T, r *router) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.11:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*net.TCPConn).SetReadBuffer(4096)
			_, _ = c.Write(r.open())
			in := bufio.NewReaderSize(c, 64)
			for {
				m, err := readMessage(in, make([]byte, maxMessage))
				if err != nil || m.kind() == msgKeepalive {
					break
				}
			}
			for err == nil {
				if _, err = c.Write(keepalive); err == nil {
					time.Sleep(500 * time.Millisecond)
				}
			}
			_ = c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// heap is the memory that is in use, in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestDeafPeer has one of two peers stop reading while everything changes all
// the time. The other is told as if it were alone, memory does not run away,
// and the session ends with a reason.
func TestDeafPeer(t *testing.T) {
	const n = 3_000 // paths of each family
	good := newRouter(t, "127.0.0.10", nil)
	deaf := &router{t: t, asn: 65001, holdTime: 90}
	at := listenDeaf(t, deaf)
	s := newSpeaker(t)
	s.patience = 3 * time.Second // so that the hold time is not what ends the session
	c := config(somePaths(n), good)
	c.Peers = append(c.Peers, bgp.Peer{
		Addr: at.Addr(), Port: at.Port(), ASN: 65001, HoldTime: 90 * time.Second,
		NextHop4: netip.MustParseAddr("192.0.2.1"), NextHop6: netip.MustParseAddr("2001:db8::1"),
	})
	everybody := bgp.NewPeerSet(good.at.Addr(), at.Addr())
	for i := range c.Paths {
		c.Paths[i].Peers = everybody
	}
	if err := s.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	k := good.accept()
	k.table(t)
	before := heap()
	var most uint64
	var reason string
	var slowest time.Duration
	marker := netip.MustParsePrefix("203.0.113.0/24")
	begin := time.Now()
	for round := 0; reason == "" && time.Since(begin) < 3*time.Minute; round++ {
		time.Sleep(100 * time.Millisecond) // churn as there is in no network
		// Both families have another next hop, everywhere.
		c.Peers = slices.Clone(c.Peers)
		for i := range c.Peers {
			c.Peers[i].NextHop4 = netip.AddrFrom4([4]byte{192, 0, 2, byte(2 + round%200)})
			c.Peers[i].NextHop6 = netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 15: byte(2 + round%200)})
		}
		c.Paths = slices.Clone(c.Paths)
		if c.Paths[n].Prefix == marker {
			c.Paths = slices.Delete(c.Paths, n, n+1)
		} else {
			c.Paths = slices.Insert(c.Paths, n, &bgp.Path{Prefix: marker, Peers: everybody})
		}
		start := time.Now()
		if err := s.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		for told := false; !told; {
			u, ok := parseUpdate(k.next(t))
			if !ok {
				continue
			}
			for _, list := range []map[bgp.Family][]byte{u.announced, u.withdrawn} {
				eachPrefix(list[bgp.IPv4Unicast], bgp.IPv4Unicast, func(p netip.Prefix) { told = told || p == marker })
			}
		}
		slowest = max(slowest, time.Since(start))
		most = max(most, heap())
		list, err := s.Sessions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, session := range list {
			if session.Peer.Addr == at.Addr() && session.LastError != "" {
				reason = session.LastError
			}
			if session.Peer.Addr == good.at.Addr() && session.Flaps > 0 {
				t.Fatalf("the good session went down: %s", session.LastError)
			}
		}
	}
	t.Logf("%s: %q; the good peer was told within %s; heap %d MB before, %d MB at most", time.Since(begin).Round(time.Second), reason, slowest, before>>20, most>>20)
	if reason != "127.0.0.11 does not read what it is sent" {
		t.Errorf("the reason is %q", reason)
	}
	if slowest > 10*time.Second {
		t.Errorf("the good peer was told after %s", slowest)
	}
	if most > before+512<<20 {
		t.Errorf("memory grew from %d to %d MB", before>>20, most>>20)
	}
}
