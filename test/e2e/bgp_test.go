package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
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
	if err := json.Unmarshal([]byte(s.Daemon.Get("/1.0/bgp/peers?recursion=1")), &e); err != nil {
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
	s.Soon(prefix+" via "+via, func() error {
		routes, err := s.Router.NS().Routes(s.Router.Protocol())
		if err != nil {
			return err
		}
		r, ok := routes[netip.MustParsePrefix(prefix)]
		return lab.Expect(ok && r.Gateway.String() == via, "it is %+v", r)
	})
}

// A change touches what it changes: networks that share a peer come, change
// and go without disturbing each other or the session.
func TestChangesTouchWhatTheyChange(t *testing.T) {
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, r.router, r.v6)
			s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
			s.Established()
			s.WaitRoutes(1, subnet4, subnet6)
			s.gateway(subnet4, lab.Host4)
			s.gateway(subnet6, lab.Host6)
			since := time.Now()

			s.Network("br1", "198.51.101.1/24", "2001:db8:101::1/64")
			s.WaitRoutes(1, "198.51.101.0/24", "2001:db8:101::/64")
			s.Daemon.CLI("network", "set", "br1", "bgp.ipv4.nexthop=192.0.2.77", "bgp.ipv6.nexthop=2001:db8::77")
			s.gateway("198.51.101.0/24", "192.0.2.77")
			s.gateway("2001:db8:101::/64", "2001:db8::77")
			for _, c := range s.Monitor.Withdrawn(since, nil) {
				t.Errorf("a new next hop withdrew a prefix: %s", c)
			}
			s.Daemon.CLI("network", "set", "br1", "ipv4.nat=true")
			s.WaitRoutes(0, "198.51.101.0/24")
			s.WaitRoutes(1, "2001:db8:101::/64")
			s.Daemon.CLI("network", "delete", "br1")
			s.WaitRoutes(0, "2001:db8:101::/64")
			s.Undisturbed(since, subnet4, subnet6)
			if n := s.flaps(); n != 0 {
				t.Errorf("the session went down %d times", n)
			}

			// A network may move without its neighbours noticing.
			s.Network("br1", "198.51.101.1/24", "none")
			s.WaitRoutes(1, "198.51.101.0/24")
			s.Daemon.CLI("network", "set", "br1", "ipv4.address=198.51.102.1/24")
			s.WaitRoutes(1, "198.51.102.0/24")
			s.WaitRoutes(0, "198.51.101.0/24")
			s.Undisturbed(since, subnet4, subnet6)

			// The next hop goes back to this host's own address.
			s.Daemon.CLI("network", "set", "br0", "bgp.ipv4.nexthop=192.0.2.77")
			s.gateway(subnet4, "192.0.2.77")
			s.Daemon.CLI("network", "unset", "br0", "bgp.ipv4.nexthop")
			s.gateway(subnet4, lab.Host4)
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
	s.Link(s.Host, "eth1", other, "eth0")
	s.Host.Addr("eth1", "192.0.4.2/24", "2001:db8:4::2/64")
	other.Addr("eth0", "192.0.4.1/24", "2001:db8:4::1/64")
	second := bird(other, lab.RouterConfig{
		ASN: 65003, ID: netip.MustParseAddr("192.0.4.1"),
		Peers: []lab.RouterPeer{{Addr: netip.MustParseAddr("192.0.4.2"), ASN: lab.HostASN, Announce: true}},
	})
	second.Start()
	secondPeer := []string{"bgp.peers.second.address=192.0.4.1", "bgp.peers.second.asn=65003"}
	create := func(name, v4 string, keys ...string) {
		s.Daemon.CLI(append([]string{"network", "create", name, "ipv4.address=" + v4, "ipv6.address=none"}, keys...)...)
	}
	create("br0", "198.51.100.1/24", s.PeerKeys()...)
	create("br1", "198.51.101.1/24", secondPeer...)
	create("br2", "198.51.102.1/24", append(s.PeerKeys(), secondPeer...)...)
	create("br3", "198.51.103.1/24")
	for _, r := range []lab.Router{s.Router, second} {
		lab.WaitKernel(r, 1, 30*time.Second, netip.MustParsePrefix("198.51.102.0/24"))
	}
	lab.WaitKernel(s.Router, 1, 30*time.Second, netip.MustParsePrefix(subnet4))
	lab.WaitKernel(second, 1, 30*time.Second, netip.MustParsePrefix("198.51.101.0/24"))
	for r, want := range map[lab.Router][]string{s.Router: {"198.51.100.0/24", "198.51.102.0/24"}, second: {"198.51.101.0/24", "198.51.102.0/24"}} {
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
	if routes := s.Host.Run("ip", "route", "show", "proto", "bgp"); routes != "" {
		t.Errorf("routes were learned: %s", routes)
	}
	// The second router stops being a peer: its session ends, the first stays.
	s.Daemon.CLI("network", "unset", "br1", "bgp.peers.second.address", "bgp.peers.second.asn")
	if n := len(s.peers()); n != 2 {
		t.Errorf("%d peers although br2 still names both", n)
	}
	s.Daemon.CLI("network", "unset", "br2", "bgp.peers.second.address", "bgp.peers.second.asn")
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
			s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64", "bgp.peers.tor.password=wrong")
			s.Soon("explanation", func() error {
				e := s.peers()[0].LastError
				return lab.Expect(strings.Contains(e, "password"), "last error %q", e)
			})
			s.Daemon.CLI("network", "set", "br0", "bgp.peers.tor.password=s3cret")
			s.Established()
			s.WaitRoutes(1, subnet4, subnet6)
			s.Daemon.CLI("network", "set", "br0", "bgp.peers.tor.passive=true")
			s.Soon("passive session", func() error {
				p := s.peers()[0]
				return lab.Expect(p.State == "established", "state %s, %s", p.State, p.LastError)
			})
		})
	}
}

// The password of a router that two networks name is changed on both sides: on
// the networks at once, since they must agree about it.
func TestPasswordRotation(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, frr, false, lab.RouterPeer{Password: "old-horse"})
	s.Network("br0", "198.51.100.1/24", "none", "bgp.peers.tor.password=old-horse")
	s.Daemon.CLI("network", "create", "br1", "ipv4.address=198.51.101.1/24", "ipv6.address=none",
		"bgp.peers.rack.address="+lab.Router4, "bgp.peers.rack.asn="+strconv.Itoa(lab.RouterASN), "bgp.peers.rack.password=old-horse")
	s.Established()
	s.WaitRoutes(1, subnet4, "198.51.101.0/24")
	out, err := s.Daemon.TryCLI("network", "set", "br0", "bgp.peers.tor.password=new-horse")
	if err == nil || !strings.Contains(err.Error()+out, "netctl bgp peers set "+lab.Router4) {
		t.Fatalf("one network alone: %s %v", out, err)
	}
	changed := time.Now()
	if _, err := s.Router.(*lab.FRR).VTYSH("configure terminal", fmt.Sprintf("router bgp %d", lab.RouterASN), "neighbor "+lab.Host4+" password new-horse"); err != nil {
		t.Fatal(err)
	}
	if plan := s.Daemon.CLI("bgp", "peers", "set", lab.Router4, "password=new-horse", "--dry-run"); !strings.Contains(plan, "change session with "+lab.Router4) {
		t.Errorf("plan: %s", plan)
	}
	s.Daemon.CLI("bgp", "peers", "set", lab.Router4, "password=new-horse", "holdtime=9")
	s.Soon("the session is back", func() error {
		p := s.peers()[0]
		return lab.Expect(p.State == "established" && p.Since.After(changed) && p.HoldTime == 9, "%+v", p)
	})
	s.Established()
	s.WaitRoutes(1, subnet4, "198.51.101.0/24")
	for network, name := range map[string]string{"br0": "tor", "br1": "rack"} {
		if v := s.Daemon.CLI("network", "get", network, "bgp.peers."+name+".holdtime"); strings.TrimSpace(v) != "9" {
			t.Errorf("hold time of %s: %s", network, v)
		}
	}
	s.Daemon.CLI("bgp", "peers", "unset", lab.Router4, "holdtime")
}

// A port that somebody else has is reported and taken when it is free; the
// rest works meanwhile.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	s := newSite(t, bird, false)
	s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
	s.Established()
	s.Daemon.Stop(syscall.SIGKILL)
	squatter := s.Host.Start("busybox", "nc", "-ll", "-p", "179", "-e", "true")
	s.Soon("squatter listens", func() error {
		return lab.Expect(strings.Contains(s.Host.Run("ss", "-Hltn", "sport", "=", "179"), ":179"), "not yet")
	})
	s.Daemon.Start()
	s.Soon("report", func() error {
		out, err := s.Daemon.TryCLI("bgp", "status")
		return lab.Expect(err == nil && strings.Contains(out, "in use"), "%s %v", out, err)
	})
	s.Daemon.CLI("network", "create", "br1", "ipv4.address=198.51.101.1/24", "ipv6.address=none", "--wait=0")
	s.Soon("the data plane works", func() error {
		_, err := s.Host.Try("ip", "link", "show", "br1")
		return err
	})
	squatter.Signal(syscall.SIGKILL)
	s.Soon("listening", func() error {
		out, err := s.Daemon.TryCLI("bgp", "status")
		return lab.Expect(err == nil && !strings.Contains(out, "in use"), "%s %v", out, err)
	})
	s.Established()
	s.WaitRoutes(1, subnet4, subnet6)
}

// Changing who we are restarts the sessions, and only that does.
func TestIdentity(t *testing.T) {
	t.Parallel()
	s := newSite(t, bird, false)
	s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
	s.Established()
	s.WaitRoutes(1, subnet4, subnet6)
	if out := s.Daemon.CLI("bgp", "status"); !strings.Contains(out, lab.Host4) {
		t.Errorf("no router id was chosen: %s", out)
	}
	s.Daemon.CLI("config", "set", "user.note=x")
	if n := s.flaps(); n != 0 {
		t.Errorf("the session went down %d times", n)
	}
	s.Daemon.CLI("config", "set", "core.bgp_routerid=192.0.2.99")
	s.Established()
	s.Soon("new router id", func() error {
		out, err := s.Daemon.TryCLI("bgp", "status")
		return lab.Expect(err == nil && strings.Contains(out, "192.0.2.99"), "%s %v", out, err)
	})
	s.WaitRoutes(1, subnet4, subnet6)

	// Turned off, everything is withdrawn; the network stays.
	s.Daemon.CLI("config", "unset", "core.bgp_address")
	s.WaitRoutes(0, subnet4, subnet6)
	s.Host.Run("ip", "link", "show", "br0")
	s.Daemon.CLI("config", "set", "core.bgp_address=:179")
	s.WaitRoutes(1, subnet4, subnet6)
}

// A bridge that somebody takes away is back at once. One that is not ours any
// more is not announced, until it is again.
func TestVanishedBridge(t *testing.T) {
	t.Parallel()
	s := newSite(t, frr, false)
	s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
	s.Established()
	s.WaitRoutes(1, subnet4, subnet6)
	s.Host.Run("ip", "link", "del", "br0")
	s.Soon("bridge", func() error {
		out, err := s.Host.Try("ip", "-br", "addr", "show", "br0")
		return lab.Expect(err == nil && strings.Contains(out, "198.51.100.1/24"), "%s %v", out, err)
	})
	s.WaitRoutes(1, subnet4, subnet6)

	s.Host.Run("ip", "link", "set", "br0", "alias", "somebody's")
	s.WaitRoutes(0, subnet4, subnet6)
	if out := s.Daemon.CLI("bgp", "explain", "198.51.100.9"); !strings.Contains(out, "interface br0 exists and is not netctl's") {
		t.Errorf("explanation: %s", out)
	}
	if out := s.Daemon.CLI("network", "list", "-f", "csv"); !strings.Contains(out, "Errored") {
		t.Errorf("status: %s", out)
	}
	s.Host.Run("ip", "link", "set", "br0", "alias", "netctl:br0")
	s.WaitRoutes(1, subnet4, subnet6)
}
