package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"netctl/test/lab"
)

// spread asks an address from n sources and returns who answers each.
func spread(from *lab.NS, n int, to netip.AddrPort) []string {
	from.Lab.Helper()
	out := make([]string, n)
	for i := range out {
		source := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(100 + i%100)}), uint16(20000+i/100))
		if to.Addr().Is6() { // by ports alone
			source = netip.AddrPortFrom(netip.MustParseAddr(lab.Far6), uint16(20000+i))
		}
		name, err := from.Ask(source, to)
		if err != nil {
			from.Lab.Fatalf("from %s: %v", source, err)
		}
		out[i] = name
	}
	return out
}

// shares counts who answers how often.
func shares(answers []string) map[string]int {
	m := map[string]int{}
	for _, a := range answers {
		m[a]++
	}
	return m
}

// sources gives the remote host a hundred addresses.
func sources(far *lab.NS) {
	far.Run("sh", "-c", "for i in $(seq 100 199); do ip addr add 203.0.113.$i/24 dev eth0; done")
}

// Several instances of one host share an address: flows are spread over them,
// and the announcement stays as long as one of them runs.
func TestAnycastOnOneHost(t *testing.T) {
	t.Parallel()
	s := newSite(t, frr, false)
	s.privateNetwork("ipv4.routes.anycast=true", "ipv6.routes.anycast=true")
	sources(s.Far)
	service, service6 := netip.AddrPortFrom(netip.MustParseAddr(vip4), 7), netip.AddrPortFrom(netip.MustParseAddr(vip6), 7)
	var guests []*lab.NS
	for i, name := range []string{"one", "two", "three"} {
		n := fmt.Sprint(10 + i)
		ns := s.guest(name, static(n, vip4+"/32", vip6+"/128")...)
		settle(ns, n, vip4+"/32", vip6+"/128")
		ns.Answer(service, name)
		ns.Answer(service6, name)
		guests = append(guests, ns)
	}
	s.WaitRoutes(1, vip4+"/32", vip6+"/128")
	s.Soon("all routes", func() error {
		out := s.Host.Run("ip", "route", "show", vip4) + s.Host.Run("ip", "-6", "route", "show", vip6)
		return lab.Expect(strings.Count(out, "nexthop") == 6, "%s", out)
	})
	for i := range guests {
		s.reaches(s.Host, fmt.Sprint("10.1.0.", 10+i))
		s.reaches(s.Host, fmt.Sprint("fd42:1::", 10+i))
	}
	for _, to := range []netip.AddrPort{service, service6} {
		got := shares(spread(s.Far, 200, to))
		t.Logf("spread %v", got)
		if len(got) != 3 {
			t.Errorf("200 flows to %s reach only %v", to, got)
		}
	}

	since := time.Now()
	for i, ns := range guests[:2] {
		s.Daemon.CLI("instance", "stop", ns.Full)
		for _, to := range []netip.AddrPort{service, service6} {
			got := shares(spread(s.Far, 100, to))
			t.Logf("without %s %v", ns.Name, got)
			if len(got) != 2-i {
				t.Errorf("without %s flows to %s reach %v", ns.Name, to, got)
			}
		}
	}
	s.Undisturbed(since, vip4+"/32", vip6+"/128")
	s.Daemon.CLI("instance", "stop", guests[2].Full)
	s.WaitRoutes(0, vip4+"/32", vip6+"/128")
}

// A rack is three hosts with netctl that share nothing but their router, each
// with an instance that has the same address.
type rack struct {
	*lab.Lab
	router  *lab.FRR
	far     *lab.NS
	daemons []*lab.Netctld
	guests  []*lab.NS
}

// newRack builds a rack with one network on each host, and a route of the
// shared address to each.
func newRack(t *testing.T) *rack {
	t.Helper()
	l := lab.New(t, "curl", "ping", "vtysh")
	k := &rack{Lab: l, far: l.NS("far")}
	r := l.NS("router")
	r.Run("ip", "link", "add", "lan", "type", "bridge")
	r.Addr("lan", "192.0.2.1/24")
	r.Run("ip", "link", "set", "lan", "up")
	l.Link(r, "eth1", k.far, "eth0")
	r.Addr("eth1", "203.0.113.1/24")
	k.far.Addr("eth0", "203.0.113.2/24")
	k.far.Run("ip", "route", "add", "default", "via", "203.0.113.1")
	sources(k.far)
	r.Forward()
	r.Sysctl("net/ipv4/fib_multipath_hash_policy", "1") // by ports too
	cfg := lab.RouterConfig{ASN: lab.RouterASN, ID: netip.MustParseAddr("192.0.2.1"), Raw: "router bgp 65000\n address-family ipv4 unicast\n  maximum-paths 8\n exit-address-family\nexit\n"}
	for i := range 3 {
		n := fmt.Sprint(i + 1)
		host := l.NS("host" + n)
		l.Link(host, "eth0", r, "p"+n)
		r.Run("ip", "link", "set", "p"+n, "master", "lan")
		host.Addr("eth0", "192.0.2.1"+n+"/24")
		host.Run("ip", "route", "add", "default", "via", "192.0.2.1")
		cfg.Peers = append(cfg.Peers, lab.RouterPeer{Addr: netip.MustParseAddr("192.0.2.1" + n), ASN: lab.HostASN})
		d := host.Netctld()
		l.Cleanup(d.Settled)
		d.CLI("config", "set", "core.bgp_asn=65001", "core.bgp_address=:179")
		d.CLI("network", "create", "br0", "ipv4.address=10."+n+".0.1/24", "ipv4.nat=true", "ipv6.address=none",
			"bgp.peers.tor.address=192.0.2.1", "bgp.peers.tor.asn=65000")
		k.daemons = append(k.daemons, d)
	}
	k.router = lab.NewFRR(r, cfg)
	k.router.Start()
	for i, d := range k.daemons {
		n := fmt.Sprint(i + 1)
		lab.WaitSession(k.router, netip.MustParseAddr("192.0.2.1"+n), 30*time.Second)
		ns := l.Later("web" + n)
		d.CLI("instance", "create", ns.Full, "--start", "--nic", "network=br0,ipv4.address=10."+n+".0.10,ipv4.routes.external="+vip4+"/32")
		ns.Addr("eth0", "10."+n+".0.10/24")
		ns.Addr("lo", vip4+"/32")
		ns.Run("ip", "route", "replace", "default", "via", "10."+n+".0.1")
		ns.Answer(netip.AddrPortFrom(netip.MustParseAddr(vip4), 7), ns.Name)
		k.guests = append(k.guests, ns)
	}
	return k
}

// paths waits until the router's kernel has a number of ways to the address.
func (k *rack) paths(n int) {
	k.Helper()
	k.Eventually(30*time.Second, fmt.Sprint(n, " paths"), func() error {
		out, err := k.router.NS().Try("ip", "route", "show", vip4)
		if err != nil {
			return err
		}
		return lab.Expect(strings.Count(out, "via") == n, "%s", out)
	})
}

// The same address on three hosts gives the router three ways to it, and flows
// from behind the router are spread over all of them. When one stops its flows
// go to the others. A router that hashes as Linux does also moves some of the
// flows of the others then: it divides the hash anew among the ways that are
// left, which moves a sixth of all at most.
func TestAnycastOnThreeHosts(t *testing.T) {
	t.Parallel()
	k := newRack(t)
	k.paths(3)
	service := netip.AddrPortFrom(netip.MustParseAddr(vip4), 7)
	const flows = 600
	before := spread(k.far, flows, service)
	t.Logf("spread %v", shares(before))
	if again := spread(k.far, flows, service); !slices.Equal(again, before) {
		t.Error("flows move though nothing changes")
	}
	for _, ns := range k.guests {
		if n := shares(before)[ns.Name]; n < flows/6 {
			t.Errorf("%d of %d flows reach %s", n, flows, ns.Name)
		}
	}
	for i, ns := range k.guests {
		k.daemons[i].CLI("instance", "stop", ns.Full)
		k.paths(2)
		after := spread(k.far, flows, service)
		moved := 0
		for f := range after {
			if after[f] == ns.Name {
				t.Fatalf("%s answers", ns.Name)
			}
			if before[f] != ns.Name && after[f] != before[f] {
				moved++
			}
		}
		t.Logf("without %s %v; %d flows of others moved", ns.Name, shares(after), moved)
		if moved > flows/4 {
			t.Errorf("without %s %d of %d flows of others moved", ns.Name, moved, flows)
		}
		k.daemons[i].CLI("instance", "start", ns.Full)
		n := fmt.Sprint(i + 1)
		ns.Addr("eth0", "10."+n+".0.10/24")
		ns.Addr("lo", vip4+"/32")
		ns.Run("ip", "route", "replace", "default", "via", "10."+n+".0.1")
		ns.Answer(service, ns.Name)
		k.paths(3)
	}
	k.daemons[0].CLI("instance", "stop", k.guests[0].Full)
	k.daemons[1].CLI("instance", "stop", k.guests[1].Full)
	k.paths(1)
	if got := shares(spread(k.far, 50, service)); got[k.guests[2].Name] != 50 {
		t.Errorf("the last one gets %v", got)
	}
	k.daemons[2].CLI("instance", "stop", k.guests[2].Full)
	k.paths(0)
}
