package e2e

import (
	"encoding/json"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"netctl/api"
	"netctl/test/lab"
)

// peers returns what the daemon says of its peers.
func (s *site) peers() []api.BGPPeer {
	s.Helper()
	var e struct{ Metadata []api.BGPPeer }
	if err := json.Unmarshal([]byte(s.daemon.Get("/1.0/bgp/peers?recursion=1")), &e); err != nil {
		s.Fatalf("peers: %v", err)
	}
	return e.Metadata
}

// flaps returns how often the only session has gone down.
func (s *site) flaps() uint64 {
	s.Helper()
	p := s.peers()
	if len(p) != 1 {
		s.Fatalf("%d peers: %+v", len(p), p)
	}
	return p[0].Flaps
}

// gateway waits until the router's kernel reaches a prefix through an address.
func (s *site) gateway(prefix, via string) {
	s.Helper()
	s.eventually(prefix+" via "+via, func() error {
		routes, err := s.router.NS().Routes(s.router.Protocol())
		if err != nil {
			return err
		}
		r, ok := routes[netip.MustParsePrefix(prefix)]
		return expect(ok && r.Gateway.String() == via, "it is %+v", r)
	})
}

// A change touches what it changes: networks that share a peer come, change
// and go without disturbing each other or the session.
func TestChangesTouchWhatTheyChange(t *testing.T) {
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, r.router, r.v6)
			s.network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
			s.established()
			s.waitRoutes(1, subnet4, subnet6)
			s.gateway(subnet4, host4)
			s.gateway(subnet6, host6)
			since := time.Now()

			s.network("br1", "198.51.101.1/24", "2001:db8:101::1/64")
			s.waitRoutes(1, "198.51.101.0/24", "2001:db8:101::/64")
			s.daemon.CLI("network", "set", "br1", "bgp.ipv4.nexthop=192.0.2.77", "bgp.ipv6.nexthop=2001:db8::77")
			s.gateway("198.51.101.0/24", "192.0.2.77")
			s.gateway("2001:db8:101::/64", "2001:db8::77")
			for _, c := range s.monitor.Withdrawn(since, nil) {
				t.Errorf("a new next hop withdrew a prefix: %s", c)
			}
			s.daemon.CLI("network", "set", "br1", "ipv4.nat=true")
			s.waitRoutes(0, "198.51.101.0/24")
			s.waitRoutes(1, "2001:db8:101::/64")
			s.daemon.CLI("network", "delete", "br1")
			s.waitRoutes(0, "2001:db8:101::/64")
			s.undisturbed(since, subnet4, subnet6)
			if n := s.flaps(); n != 0 {
				t.Errorf("the session went down %d times", n)
			}

			// A network may move without its neighbours noticing.
			s.network("br1", "198.51.101.1/24", "none")
			s.waitRoutes(1, "198.51.101.0/24")
			s.daemon.CLI("network", "set", "br1", "ipv4.address=198.51.102.1/24")
			s.waitRoutes(1, "198.51.102.0/24")
			s.waitRoutes(0, "198.51.101.0/24")
			s.undisturbed(since, subnet4, subnet6)

			// The next hop goes back to this host's own address.
			s.daemon.CLI("network", "set", "br0", "bgp.ipv4.nexthop=192.0.2.77")
			s.gateway(subnet4, "192.0.2.77")
			s.daemon.CLI("network", "unset", "br0", "bgp.ipv4.nexthop")
			s.gateway(subnet4, host4)
			if n := s.flaps(); n != 0 {
				t.Errorf("the session went down %d times", n)
			}
		})
	}
}

// A router hears the networks that name it, and no others.
func TestScope(t *testing.T) {
	t.Parallel()
	s := newSite(t, frr, false)
	other := s.NS("other")
	s.Link(s.host, "eth1", other, "eth0")
	s.host.Addr("eth1", "192.0.4.2/24", "2001:db8:4::2/64")
	other.Addr("eth0", "192.0.4.1/24", "2001:db8:4::1/64")
	second := bird(other, lab.RouterConfig{
		ASN: 65003, ID: netip.MustParseAddr("192.0.4.1"),
		Peers: []lab.RouterPeer{{Addr: netip.MustParseAddr("192.0.4.2"), ASN: hostASN, Announce: true}},
	})
	second.Start()
	secondPeer := []string{"bgp.peers.second.address=192.0.4.1", "bgp.peers.second.asn=65003"}
	create := func(name, v4 string, keys ...string) {
		s.daemon.CLI(append([]string{"network", "create", name, "ipv4.address=" + v4, "ipv6.address=none"}, keys...)...)
	}
	create("br0", "198.51.100.1/24", s.peer()...)
	create("br1", "198.51.101.1/24", secondPeer...)
	create("br2", "198.51.102.1/24", append(s.peer(), secondPeer...)...)
	create("br3", "198.51.103.1/24")
	for _, r := range []lab.Router{s.router, second} {
		lab.WaitKernel(r, 1, 30*time.Second, netip.MustParsePrefix("198.51.102.0/24"))
	}
	lab.WaitKernel(s.router, 1, 30*time.Second, netip.MustParsePrefix(subnet4))
	lab.WaitKernel(second, 1, 30*time.Second, netip.MustParsePrefix("198.51.101.0/24"))
	for r, want := range map[lab.Router][]string{s.router: {"198.51.100.0/24", "198.51.102.0/24"}, second: {"198.51.101.0/24", "198.51.102.0/24"}} {
		table, err := r.Table()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range want {
			delete(table, netip.MustParsePrefix(p))
		}
		if len(table) != 0 {
			t.Errorf("%s hears too much: %v", r.NS().Name, table)
		}
	}
	// Nothing that the second router announces is installed.
	if routes := s.host.Run("ip", "route", "show", "proto", "bgp"); routes != "" {
		t.Errorf("routes were learned: %s", routes)
	}
	// The second router stops being a peer: its session ends, the first stays.
	s.daemon.CLI("network", "unset", "br1", "bgp.peers.second.address", "bgp.peers.second.asn")
	if n := len(s.peers()); n != 2 {
		t.Errorf("%d peers although br2 still names both", n)
	}
	s.daemon.CLI("network", "unset", "br2", "bgp.peers.second.address", "bgp.peers.second.asn")
	if n := s.flaps(); n != 0 {
		t.Errorf("the first session went down %d times", n)
	}
}

// Passwords work in both directions of the connection, and a wrong one is
// explained.
func TestPassword(t *testing.T) {
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSiteWith(t, r.router, r.v6, lab.RouterPeer{Password: "s3cret"})
			s.network("br0", "198.51.100.1/24", "2001:db8:100::1/64", "bgp.peers.tor.password=wrong")
			s.eventually("explanation", func() error {
				e := s.peers()[0].LastError
				return expect(strings.Contains(e, "password"), "last error %q", e)
			})
			s.daemon.CLI("network", "set", "br0", "bgp.peers.tor.password=s3cret")
			s.established()
			s.waitRoutes(1, subnet4, subnet6)
			s.daemon.CLI("network", "set", "br0", "bgp.peers.tor.passive=true")
			s.eventually("passive session", func() error {
				p := s.peers()[0]
				return expect(p.State == "established", "state %s, %s", p.State, p.LastError)
			})
		})
	}
}

// A port that somebody else has is reported and taken when it is free; the
// rest works meanwhile.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	s := newSite(t, bird, false)
	s.network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
	s.established()
	s.daemon.Stop(syscall.SIGKILL)
	squatter := s.host.Start("busybox", "nc", "-ll", "-p", "179", "-e", "true")
	s.eventually("squatter listens", func() error {
		return expect(strings.Contains(s.host.Run("ss", "-Hltn", "sport", "=", "179"), ":179"), "not yet")
	})
	s.daemon.Start()
	s.eventually("report", func() error {
		out, err := s.daemon.TryCLI("bgp", "status")
		return expect(err == nil && strings.Contains(out, "in use"), "%s %v", out, err)
	})
	s.daemon.CLI("network", "create", "br1", "ipv4.address=198.51.101.1/24", "ipv6.address=none", "--wait=0")
	s.eventually("the data plane works", func() error {
		_, err := s.host.Try("ip", "link", "show", "br1")
		return err
	})
	squatter.Signal(syscall.SIGKILL)
	s.eventually("listening", func() error {
		out, err := s.daemon.TryCLI("bgp", "status")
		return expect(err == nil && !strings.Contains(out, "in use"), "%s %v", out, err)
	})
	s.established()
	s.waitRoutes(1, subnet4, subnet6)
}

// Changing who we are restarts the sessions, and only that does.
func TestIdentity(t *testing.T) {
	t.Parallel()
	s := newSite(t, bird, false)
	s.network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
	s.established()
	s.waitRoutes(1, subnet4, subnet6)
	if out := s.daemon.CLI("bgp", "status"); !strings.Contains(out, host4) {
		t.Errorf("no router id was chosen: %s", out)
	}
	s.daemon.CLI("config", "set", "user.note=x")
	if n := s.flaps(); n != 0 {
		t.Errorf("the session went down %d times", n)
	}
	s.daemon.CLI("config", "set", "core.bgp_routerid=192.0.2.99")
	s.established()
	s.eventually("new router id", func() error {
		out, err := s.daemon.TryCLI("bgp", "status")
		return expect(err == nil && strings.Contains(out, "192.0.2.99"), "%s %v", out, err)
	})
	s.waitRoutes(1, subnet4, subnet6)

	// Turned off, everything is withdrawn; the network stays.
	s.daemon.CLI("config", "unset", "core.bgp_address")
	s.waitRoutes(0, subnet4, subnet6)
	s.host.Run("ip", "link", "show", "br0")
	s.daemon.CLI("config", "set", "core.bgp_address=:179")
	s.waitRoutes(1, subnet4, subnet6)
}

// A bridge that somebody takes away is not announced until it is back, which
// it is at once.
func TestVanishedBridge(t *testing.T) {
	t.Parallel()
	s := newSite(t, frr, false)
	s.network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
	s.established()
	s.waitRoutes(1, subnet4, subnet6)
	since := time.Now()
	s.host.Run("ip", "link", "del", "br0")
	s.eventually("bridge", func() error {
		out, err := s.host.Try("ip", "-br", "addr", "show", "br0")
		return expect(err == nil && strings.Contains(out, "198.51.100.1/24"), "%s %v", out, err)
	})
	s.eventually("withdrawn and announced again", func() error {
		n := len(s.monitor.Deletes(since, nil))
		return expect(n > 0, "%d deletes", n)
	})
	s.waitRoutes(1, subnet4, subnet6)
}
