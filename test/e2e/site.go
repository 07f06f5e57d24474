// Package e2e tests netctld and netctl as operators use them: the real
// binaries on a host of namespaces, with real routers around it and real
// clients behind it.
package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"netctl/test/lab"
)

// Addresses of a site. The host and its router share a link; behind the router
// is a remote host; behind the host are the networks of the test.
const (
	hostASN, routerASN = 65001, 65000

	host4, host6     = "192.0.2.2", "2001:db8::2"
	router4, router6 = "192.0.2.1", "2001:db8::1"
	far4, far6       = "203.0.113.2", "2001:db8:f::2"
)

// A site is one host with netctld, its router, and a remote host behind the
// router.
type site struct {
	*lab.Lab
	host, far *lab.NS
	router    lab.Router
	daemon    *lab.Netctld
	monitor   *lab.Monitor
	v6        bool // the session runs over IPv6
}

// newRouter makes one kind of router.
type newRouter func(*lab.NS, lab.RouterConfig) lab.Router

func frr(ns *lab.NS, c lab.RouterConfig) lab.Router  { return lab.NewFRR(ns, c) }
func bird(ns *lab.NS, c lab.RouterConfig) lab.Router { return lab.NewBIRD(ns, c) }

// newSite builds a site. The router expects its session over IPv6 when v6 is
// set, else over IPv4.
func newSite(t lab.TB, router newRouter, v6 bool) *site {
	t.Helper()
	return newSiteWith(t, router, v6, lab.RouterPeer{})
}

// newSiteWith is newSite with settings of the router's session.
func newSiteWith(t lab.TB, router newRouter, v6 bool, peer lab.RouterPeer) *site {
	t.Helper()
	l := lab.New(t, "curl", "ping")
	s := &site{Lab: l, host: l.NS("host"), far: l.NS("far"), v6: v6}
	r := l.NS("router")
	l.Link(s.host, "eth0", r, "eth0")
	l.Link(r, "eth1", s.far, "eth0")
	s.host.Addr("eth0", host4+"/24", host6+"/64")
	r.Addr("eth0", router4+"/24", router6+"/64")
	r.Addr("eth1", "203.0.113.1/24", "2001:db8:f::1/64")
	s.far.Addr("eth0", far4+"/24", far6+"/64")
	r.Forward()
	s.host.Run("ip", "route", "add", "default", "via", router4)
	s.host.Run("ip", "-6", "route", "add", "default", "via", router6)
	s.far.Run("ip", "route", "add", "default", "via", "203.0.113.1")
	s.far.Run("ip", "-6", "route", "add", "default", "via", "2001:db8:f::1")
	peer.Addr, peer.ASN = netip.MustParseAddr(s.hostAddr()), hostASN
	s.router = router(r, lab.RouterConfig{ASN: routerASN, ID: netip.MustParseAddr(router4), Peers: []lab.RouterPeer{peer}})
	s.router.Start()
	s.monitor = lab.MonitorRouter(s.router)
	s.daemon = s.host.Netctld()
	l.Cleanup(func() { settled(l, s.daemon) })
	s.daemon.CLI("config", "set", "core.bgp_asn="+strconv.Itoa(hostASN), "core.bgp_address=:179")
	return s
}

func (s *site) hostAddr() string {
	if s.v6 {
		return host6
	}
	return host4
}

func (s *site) routerAddr() string {
	if s.v6 {
		return router6
	}
	return router4
}

// peer returns the keys that name the router as a peer.
func (s *site) peer() []string {
	return []string{"bgp.peers.tor.address=" + s.routerAddr(), "bgp.peers.tor.asn=" + strconv.Itoa(routerASN)}
}

// network creates a network without NAT that names the router.
func (s *site) network(name, v4, v6 string, keys ...string) {
	s.Helper()
	args := append([]string{"network", "create", name, "ipv4.address=" + v4, "ipv6.address=" + v6}, s.peer()...)
	s.daemon.CLI(append(args, keys...)...)
}

// client connects a namespace to a bridge of the host and gives it fixed
// addresses.
func (s *site) client(name, bridge string, addrs, gateways []string) *lab.NS {
	s.Helper()
	ns := s.plug(name, bridge)
	ns.Addr("eth0", addrs...)
	for _, g := range gateways {
		ns.Run("ip", "route", "add", "default", "via", g)
	}
	return ns
}

// plug connects a namespace to a bridge of the host.
func (s *site) plug(name, bridge string) *lab.NS {
	s.Helper()
	ns := s.NS(name)
	s.Link(ns, "eth0", s.host, "v"+name)
	s.host.Run("ip", "link", "set", "v"+name, "master", bridge)
	return ns
}

// waitRoutes waits until the router's kernel has exactly n routes below each
// prefix.
func (s *site) waitRoutes(n int, prefixes ...string) {
	s.Helper()
	var ps []netip.Prefix
	for _, p := range prefixes {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	lab.WaitKernel(s.router, n, 30*time.Second, ps...)
}

// established waits until the daemon's session with the router is up.
func (s *site) established() {
	s.Helper()
	lab.WaitSession(s.router, netip.MustParseAddr(s.hostAddr()), 30*time.Second)
}

// A pinger sends an echo request every 10 ms.
type pinger struct {
	proc *lab.Proc
	s    *site
}

func (s *site) ping(from *lab.NS, to string) *pinger {
	s.Helper()
	return &pinger{from.Start("ping", "-n", "-i", "0.01", "-W", "1", to), s}
}

var pingSummary = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)

// lost ends the pinger and returns how many requests went unanswered, and how
// many there were. The last request may be under way when it ends.
func (p *pinger) lost() (lost, sent int) {
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

// enough is how many answers a pinger should have had before it may be judged.
const enough = 100

// check waits until there have been enough answers, and fails the test when
// one was lost.
func (p *pinger) check() {
	p.s.Helper()
	p.s.eventually("answers", func() error {
		n := strings.Count(p.proc.Output(), "bytes from")
		return expect(n >= enough, "%d so far", n)
	})
	lost, sent := p.lost()
	if lost > 0 {
		p.s.Fatalf("%d of %d echo requests lost", lost, sent)
	}
	p.s.Logf("%d echo requests, none lost", sent)
}

// undisturbed fails the test when since a time the router has changed a kernel
// route below one of the prefixes in any way, or dropped it from its table.
func (s *site) undisturbed(since time.Time, prefixes ...string) {
	s.Helper()
	keep := func(p netip.Prefix) bool {
		for _, q := range prefixes {
			if netip.MustParsePrefix(q).Overlaps(p) {
				return true
			}
		}
		return false
	}
	for _, c := range s.monitor.Changes(since, keep) {
		if c.Where == lab.InKernel || c.Op == lab.Delete {
			s.Fatalf("the router noticed: %s", c)
		}
	}
}

// eventually is Eventually with a usual bound.
func (s *site) eventually(what string, check func() error) {
	s.Helper()
	s.Eventually(20*time.Second, what, check)
}

func expect(cond bool, format string, args ...any) error {
	if cond {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// settled fails the test when at its end the host lacks anything of what is
// stored, unless the daemon has ended.
func settled(l *lab.Lab, d *lab.Netctld) {
	l.Helper()
	if l.Failed() || d.Proc.Exited() {
		return
	}
	l.Eventually(10*time.Second, "empty plan", func() error {
		out, err := d.TryCLI("plan")
		return errors.Join(err, expect(out == "Nothing would change\n", "%s", out))
	})
}
