package lab

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Addresses and AS numbers of a [Site]. The host and its router share a link; behind the router
// is a remote host; behind the host are the networks of the test.
const (
	HostASN   = 65001
	RouterASN = 65000

	Host4   = "192.0.2.2"
	Host6   = "2001:db8::2"
	Router4 = "192.0.2.1"
	Router6 = "2001:db8::1"
	Far4    = "203.0.113.2"
	Far6    = "2001:db8:f::2"
)

// A Site is one host with netctld, its router, and a remote host behind the
// router.
type Site struct {
	*Lab
	Host, Far *NS
	Router    Router
	Daemon    *Netctld
	Monitor   *Monitor // of the router

	v6 bool // the session runs over IPv6
}

// A MakeRouter makes one kind of router in a namespace.
type MakeRouter func(*NS, RouterConfig) Router

// NewSite builds a site. The router expects its session over IPv6 when v6 is
// set, else over IPv4.
func NewSite(t TB, router MakeRouter, v6 bool) *Site {
	t.Helper()
	return NewSiteWith(t, router, v6, RouterPeer{})
}

// NewSiteWith is NewSite with settings of the router's session.
func NewSiteWith(t TB, router MakeRouter, v6 bool, peer RouterPeer) *Site {
	t.Helper()
	l := New(t, "curl", "ping")
	s := &Site{Lab: l, Host: l.NS("host"), Far: l.NS("far"), v6: v6}
	r := l.NS("router")
	l.Link(s.Host, "eth0", r, "eth0")
	l.Link(r, "eth1", s.Far, "eth0")
	s.Host.Addr("eth0", Host4+"/24", Host6+"/64")
	r.Addr("eth0", Router4+"/24", Router6+"/64")
	r.Addr("eth1", "203.0.113.1/24", "2001:db8:f::1/64")
	s.Far.Addr("eth0", Far4+"/24", Far6+"/64")
	r.Forward()
	s.Host.Run("ip", "route", "add", "default", "via", Router4)
	s.Host.Run("ip", "-6", "route", "add", "default", "via", Router6)
	s.Far.Run("ip", "route", "add", "default", "via", "203.0.113.1")
	s.Far.Run("ip", "-6", "route", "add", "default", "via", "2001:db8:f::1")
	peer.Addr, peer.ASN = netip.MustParseAddr(s.HostAddr()), HostASN
	s.Router = router(r, RouterConfig{ASN: RouterASN, ID: netip.MustParseAddr(Router4), Peers: []RouterPeer{peer}})
	s.Router.Start()
	s.Monitor = MonitorRouter(s.Router)
	s.Daemon = s.Host.Netctld()
	l.Cleanup(s.Daemon.Settled)
	s.Daemon.CLI("config", "set", "core.bgp_asn="+strconv.Itoa(HostASN), "core.bgp_address=:179")
	return s
}

// HostAddr is the end of the session that the host has.
func (s *Site) HostAddr() string {
	if s.v6 {
		return Host6
	}
	return Host4
}

// RouterAddr is the end of the session that the router has.
func (s *Site) RouterAddr() string {
	if s.v6 {
		return Router6
	}
	return Router4
}

// PeerKeys returns the keys that name the router as a peer.
func (s *Site) PeerKeys() []string {
	return []string{"bgp.peers.tor.address=" + s.RouterAddr(), "bgp.peers.tor.asn=" + strconv.Itoa(RouterASN)}
}

// Network creates a network without NAT that names the router.
func (s *Site) Network(name, v4, v6 string, keys ...string) {
	s.Helper()
	args := append([]string{"network", "create", name, "ipv4.address=" + v4, "ipv6.address=" + v6}, s.PeerKeys()...)
	s.Daemon.CLI(append(args, keys...)...)
}

// Client connects a namespace to a bridge of the host and gives it fixed
// addresses.
func (s *Site) Client(name, bridge string, addrs, gateways []string) *NS {
	s.Helper()
	ns := s.Plug(name, bridge)
	ns.Addr("eth0", addrs...)
	for _, g := range gateways {
		ns.Run("ip", "route", "add", "default", "via", g)
	}
	return ns
}

// Plug connects a namespace to a bridge of the host.
func (s *Site) Plug(name, bridge string) *NS {
	s.Helper()
	ns := s.NS(name)
	s.Link(ns, "eth0", s.Host, "v"+name)
	s.Host.Run("ip", "link", "set", "v"+name, "master", bridge)
	return ns
}

// WaitRoutes waits until the router's kernel has exactly n routes below each
// prefix.
func (s *Site) WaitRoutes(n int, prefixes ...string) {
	s.Helper()
	var ps []netip.Prefix
	for _, p := range prefixes {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	WaitKernel(s.Router, n, 30*time.Second, ps...)
}

// Established waits until the daemon's session with the router is up.
func (s *Site) Established() {
	s.Helper()
	WaitSession(s.Router, netip.MustParseAddr(s.HostAddr()), 30*time.Second)
}

// A Pinger sends an echo request every 10 ms.
type Pinger struct {
	proc *Proc
	s    *Site
}

// Ping starts to ping an address.
func (s *Site) Ping(from *NS, to string) *Pinger {
	s.Helper()
	return &Pinger{from.Start("ping", "-n", "-i", "0.01", "-W", "1", to), s}
}

var pingSummary = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)

// Lost ends the Pinger and returns how many requests went unanswered, and how
// many there were. The last request may be under way when it ends.
func (p *Pinger) Lost() (lost, sent int) {
	p.s.Helper()
	p.proc.Signal(syscall.SIGINT)
	_ = p.proc.Wait(5 * time.Second) // it says whether an answer was lost
	m := pingSummary.FindStringSubmatch(p.proc.Output())
	if m == nil {
		p.s.Fatalf("ping: no summary: %s", p.proc.Output())
	}
	sent, _ = strconv.Atoi(m[1])
	received, _ := strconv.Atoi(m[2])
	return max(sent-received-1, 0), sent
}

// enough is how many answers a Pinger should have had before it may be judged.
const enough = 100

// Check waits until there have been enough answers, and fails the test when
// one was lost.
func (p *Pinger) Check() {
	p.s.Helper()
	p.s.Soon("answers", func() error {
		n := strings.Count(p.proc.Output(), "bytes from")
		return Expect(n >= enough, "%d so far", n)
	})
	lost, sent := p.Lost()
	if lost > 0 {
		p.s.Fatalf("%d of %d echo requests lost", lost, sent)
	}
	p.s.Logf("%d echo requests, none lost", sent)
}

// Undisturbed fails the test when since a time the router has changed a kernel
// route below one of the prefixes in any way, or dropped it from its table.
func (s *Site) Undisturbed(since time.Time, prefixes ...string) {
	s.Helper()
	keep := func(p netip.Prefix) bool {
		for _, q := range prefixes {
			if netip.MustParsePrefix(q).Overlaps(p) {
				return true
			}
		}
		return false
	}
	for _, c := range s.Monitor.Changes(since, keep) {
		if c.Where == InKernel || c.Op == Delete {
			s.Fatalf("the router noticed: %s\n%s", c, around(s.Router.Log(), c.Time))
		}
	}
}

// around returns the lines of a router's log of the second before a time and of
// the one after it.
func around(log string, at time.Time) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		for _, s := range []time.Duration{-time.Second, 0, time.Second} {
			if strings.Contains(line, " "+at.Add(s).Format(time.TimeOnly)) {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// Soon is Eventually with a usual bound.
func (s *Site) Soon(what string, check func() error) {
	s.Helper()
	s.Eventually(20*time.Second, what, check)
}

// Expect returns an error with the given text unless cond is true.
func Expect(cond bool, format string, args ...any) error {
	if cond {
		return nil
	}
	return fmt.Errorf(format, args...)
}
