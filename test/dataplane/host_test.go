package dataplane_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netctl/network/firewall"
	"netctl/network/link"
	"netctl/test/lab"
)

// newBare makes a host alone.
func newBare(t *testing.T) *host {
	t.Helper()
	t.Parallel()
	return newHost(t, lab.New(t, tools...), "host")
}

// listing is all that can be seen of a host's network, but for counters and
// what changes by itself.
func (h *host) listing() string {
	h.t.Helper()
	var b strings.Builder
	for _, cmd := range []string{
		"ip -o link", "ip -o addr", "ip route show table all", "ip -6 route show table all", "nft list ruleset", "ss -Hlnutp",
	} {
		for line := range strings.Lines(h.Run("sh", "-c", cmd)) {
			if fields := strings.Fields(line); len(fields) > 0 {
				fmt.Fprintln(&b, strings.Join(fields, " "))
			}
		}
	}
	return b.String()
}

// TestDeleteLeavesNothing holds that a host is what it was when networks have
// come and gone, but for the forwarding of the host.
func TestDeleteLeavesNothing(t *testing.T) {
	h := newBare(t)
	h.Forward() // which is never turned off again
	h.Run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1p")
	h.Run("ip", "link", "set", "eth1", "up")
	h.Run("ip", "link", "set", "eth1p", "up")
	second := bridge{name: "br1", v4: "10.78.0.1/24", ports: []string{"eth1"}, firewall: func(n *firewall.Network) { n.V4.NAT = true }}
	h.Lab.Eventually(5*time.Second, "the link-local addresses", func() error {
		if out := h.Run("ip", "-6", "addr", "show", "scope", "link"); strings.Count(out, "fe80::") != 2 || strings.Contains(out, "tentative") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	before := h.listing()
	w := world(lan, second)
	w.Firewall.BGP = &firewall.BGP{Port: 179, Peers: []netip.Addr{hostV4}}
	h.apply(w)
	if h.listing() == before {
		t.Fatal("nothing was made")
	}
	var n int64
	h.call("Deletes", struct{}{}, &n)
	if n != 0 {
		t.Errorf("making networks took something down")
	}
	h.apply(world())
	after := h.listing()
	if before != after {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if files, err := filepath.Glob(h.dir + "/networks/*"); err != nil || len(files) > 0 {
		t.Errorf("files %v, err %v", files, err)
	}
	h.call("Deletes", struct{}{}, &n)
	if n != 1 {
		t.Errorf("asked %d times before taking links down, want once", n)
	}
}

// TestForeign holds that what is not ours survives everything, however
// similar its name is.
func TestForeign(t *testing.T) {
	h := newBare(t)
	h.Forward()
	conf := h.dir + "/foreign.conf"
	if err := os.WriteFile(conf, []byte("port=0\npid-file="+h.dir+"/foreign.pid\nno-resolv\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []string{
		"ip link add br0x type bridge", "ip link set br0x alias netctlx:br0", "ip link set br0x up", "ip addr add 10.1.0.1/24 dev br0x",
		"ip link add br9 type bridge", "ip addr add 10.9.0.1/24 dev br9", "ip link set br9 up",
		"ip link add tap0 type veth peer name tap0p", "ip link property add dev tap0 altname netctl.portx.tap0",
		"ip route add 10.2.0.0/16 via 10.1.0.9 proto static", "ip route add blackhole 10.3.0.0/16 proto 212",
		"nft add table inet netctlx", "nft 'add chain inet netctlx input { type filter hook input priority 0; }'",
		"nft add table ip netctl", "nft add chain ip netctl forward", "nft add rule ip netctl forward counter drop",
		"dnsmasq --conf-file=" + conf,
	} {
		h.Run("sh", "-c", cmd)
	}
	before := h.listing()
	pid, err := os.ReadFile(h.dir + "/foreign.pid")
	if err != nil {
		t.Fatal(err)
	}
	h.apply(world(lan))
	h.Run("ip", "link", "set", "tap0", "master", "br0")

	// A name that is taken is an error that names it, the rest is done, and
	// the interface stays as it is.
	b9 := bridge{name: "br9", v4: "10.99.0.1/24"}
	err = h.try("Apply", world(lan, b9, bridge{name: "bra", v4: "10.98.0.1/24"}), nil)
	if err == nil || !strings.Contains(err.Error(), "network br9: interface br9 exists and is not ours") {
		t.Errorf("err = %v", err)
	}
	if out := h.Run("ip", "-o", "addr", "show", "dev", "bra"); !strings.Contains(out, "10.98.0.1/24") {
		t.Errorf("bra is %s", out)
	}
	if out := h.Run("ip", "-o", "-d", "link", "show", "tap0"); !strings.Contains(out, "master br0") {
		t.Errorf("the port of somebody else is %s", out)
	}
	h.Run("ip", "link", "set", "tap0", "nomaster")
	h.apply(world())
	if after := h.listing(); before != after {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if out := h.Run("cat", "/proc/"+strings.TrimSpace(string(pid))+"/comm"); strings.TrimSpace(out) != "dnsmasq" {
		t.Errorf("the dnsmasq of somebody else is %q", out)
	}
}

// TestDrift holds that what others change is noticed, and is repaired by the
// next Apply.
func TestDrift(t *testing.T) {
	h := newBare(t)
	h.Run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1p")
	b := lan
	b.ports = []string{"eth1"}
	b.link = func(l *link.Link) {
		l.MAC, l.Routes = "02:00:00:00:00:77", []netip.Prefix{prefix("10.79.0.0/24"), prefix("fd79::/64")}
		l.Sysctls = append(l.Sysctls, link.Sysctl{Key: "net/ipv6/conf/br0/disable_ipv6", Value: "0"})
	}
	b.firewall = func(n *firewall.Network) { n.V4.NAT = true }
	w := world(b)
	h.apply(w)
	for _, tt := range []struct{ what, cmd string }{
		{"link", "ip link del br0"},
		{"link", "ip link set br0 down"},
		{"link", "ip link set br0 mtu 1400"},
		{"link", "ip link set br0 address 02:00:00:00:00:99"},
		{"link", "ip link set br0 alias ''"},
		{"link", "ip link set br0 alias netctl:other"},
		{"link", "ip addr del 10.77.0.1/24 dev br0"},
		{"link", "ip addr del fd77::1/64 dev br0"},
		{"link", "ip addr add 10.66.0.1/24 dev br0"},
		{"link", "ip addr add fd66::1/64 dev br0"},
		{"link", "ip addr flush dev br0 scope global"},
		{"link", "ip route del 10.79.0.0/24 dev br0"},
		{"link", "ip route del fd79::/64 dev br0"},
		{"link", "ip route add 10.80.0.0/24 dev br0 proto 213"},
		{"link", "echo 1 >/proc/sys/net/ipv6/conf/br0/accept_ra"},
		{"link", "echo 0 >/proc/sys/net/ipv4/ip_forward"},
		{"link", "echo 0 >/proc/sys/net/ipv6/conf/all/forwarding"},
		{"link", "echo 1 >/proc/sys/net/ipv6/conf/br0/disable_ipv6"},
		{"link", "ip link set eth1 nomaster"},
		{"link", "ip link set eth1 down"},
		{"filter", "nft flush ruleset"},
		{"filter", "nft delete table inet netctl"},
		{"filter", "nft flush table inet netctl"},
		{"filter", "nft flush chain inet netctl forward"},
		{"filter", "nft flush set inet netctl routed4"},
		{"filter", "nft add rule inet netctl forward drop"},
		{"filter", "nft add chain inet netctl more"},
		{"filter", "nft add chain inet netctl forward '{ policy drop; }'"},
		{"filter", "nft add element inet netctl blocked4 '{ \"br0\" }'"},
		{"filter", "nft add element inet netctl masquerade4_after '{ 10.5.0.1-10.5.0.9 }'"},
		{"filter", "nft 'add table inet netctl { flags dormant; }'"},
		{"dhcp", "kill -9 $(cat " + h.dir + "/networks/br0/dnsmasq.pid)"},
	} {
		var noticed bool
		h.call("Quiet", tt.what, &noticed)
		h.Run("sh", "-c", tt.cmd)
		if err := h.try("Changed", tt.what, nil); err != nil {
			t.Errorf("%s: %v", tt.cmd, err)
		}
		if err := h.try("Apply", w, nil); err != nil {
			t.Errorf("%s: %v", tt.cmd, err)
		}
		h.settled(w)
		if t.Failed() {
			t.Fatalf("after %s", tt.cmd)
		}
	}
	// What we do ourselves is no news.
	var noticed bool
	for _, what := range []string{"link", "filter", "dhcp"} {
		h.call("Quiet", what, &noticed)
	}
	b.v4 = "10.88.0.1/24"
	h.apply(world(b))
	for _, what := range []string{"link", "filter", "dhcp"} {
		noticed = false
		if h.call("Quiet", what, &noticed); noticed {
			t.Errorf("our own change of %s was news", what)
		}
	}
}

// TestPorts holds that an interface of the host becomes a port and is let go
// again, that one in use is refused, and that a missing one hinders nothing.
func TestPorts(t *testing.T) {
	h := newBare(t)
	for _, dev := range []string{"eth1", "eth2", "eth3"} {
		h.Run("ip", "link", "add", dev, "type", "veth", "peer", "name", dev+"p")
		h.Run("ip", "link", "set", dev+"p", "up")
	}
	master := func(dev, want string) {
		t.Helper()
		out := h.Run("ip", "-d", "-o", "link", "show", dev)
		if got := strings.Contains(out, "master "+want); want != "" && !got || want == "" && strings.Contains(out, "master") {
			t.Errorf("%s should have master %q: %s", dev, want, out)
		}
		if marked := strings.Contains(out, "altname netctl.port."); marked != (want == "br0" || want == "br1") {
			t.Errorf("%s: %s", dev, out)
		}
	}
	with := func(name, v4 string, ports ...string) bridge { return bridge{name: name, v4: v4, ports: ports} }
	h.apply(world(with("br0", "10.77.0.1/24", "eth1", "eth2"), with("br1", "10.78.0.1/24")))
	master("eth1", "br0")
	master("eth2", "br0")
	// One moves, one is let go.
	h.apply(world(with("br0", "10.77.0.1/24"), with("br1", "10.78.0.1/24", "eth2")))
	master("eth1", "")
	master("eth2", "br1")

	// An interface that the host uses, or that another bridge has, or that
	// is not there, is refused; the others are not hindered.
	h.Run("ip", "link", "add", "brx", "type", "bridge")
	h.Run("ip", "link", "set", "eth3", "master", "brx")
	h.Addr("eth1", "192.0.2.1/24")
	w := world(with("br0", "10.99.0.1/24", "eth0", "eth1", "eth3"), with("br1", "10.78.0.1/24", "eth2"))
	err := h.try("Apply", w, nil)
	for _, want := range []string{
		"network br0: ip link property add dev eth0 altname netctl.port.eth0: no such interface",
		"interface eth1 has the address 192.0.2.1/24: only an interface without addresses can be a port",
		"interface eth3 is a port of brx already, which is not ours",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in error %v", want, err)
		}
	}
	master("eth1", "")
	master("eth3", "brx")
	if out := h.Run("ip", "-o", "addr", "show", "dev", "br0"); !strings.Contains(out, "10.99.0.1/24") {
		t.Errorf("br0 is %s", out)
	}
	// When it comes, that is noticed and it is attached.
	h.Run("ip", "addr", "flush", "dev", "eth1")
	h.Run("ip", "link", "set", "eth3", "nomaster")
	var noticed bool
	h.call("Quiet", "link", &noticed)
	h.Run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0p")
	h.call("Changed", "link", nil)
	h.apply(w)
	for _, dev := range []string{"eth0", "eth1", "eth3"} {
		master(dev, "br0")
	}
	h.apply(world())
	for _, dev := range []string{"eth0", "eth1", "eth2", "eth3"} {
		master(dev, "")
	}
}

// TestBGPPort holds that only peers get to the port of the speaker, and that
// nothing else suffers.
func TestBGPPort(t *testing.T) {
	s := newSite(t, 0)
	s.outside.Addr("eth0", "192.0.2.3/24", "2001:db8::3/64")
	for _, port := range []int{1179, 1180} {
		s.host.call("Mirror", fmt.Sprintf(":%d", port), nil)
	}
	w := world(lan)
	w.Firewall.BGP = &firewall.BGP{Port: 1179, Peers: []netip.Addr{outsideV4, outsideV6}}
	s.host.apply(w)
	for _, tt := range []struct {
		what, from, to string
		ok             bool
	}{
		{"a peer", "192.0.2.2:0", "192.0.2.1:1179", true},
		{"a peer over IPv6", "[2001:db8::2]:0", "[2001:db8::1]:1179", true},
		{"a stranger", "192.0.2.3:0", "192.0.2.1:1179", false},
		{"a stranger over IPv6", "[2001:db8::3]:0", "[2001:db8::1]:1179", false},
		{"a stranger at another port", "192.0.2.3:0", "192.0.2.1:1180", true},
	} {
		if _, err := s.outside.lookFrom(tt.from, tt.to); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
	if _, err := s.host.lookFrom("127.0.0.1:0", "127.0.0.1:1179"); err != nil {
		t.Errorf("the host itself: %v", err)
	}
	// A session that we open to a stranger is answered, even from that port.
	w.Firewall.BGP.Port = 1181
	s.host.apply(w)
	if _, err := s.host.lookFrom("192.0.2.1:1181", "192.0.2.3:7777"); err != nil {
		t.Errorf("a session of ours: %v", err)
	}
	// Another peer and another port are a change of elements.
	w.Firewall.BGP = &firewall.BGP{Port: 1180, Peers: []netip.Addr{addr("192.0.2.3")}}
	s.host.apply(w)
	for _, tt := range []struct {
		what, from, to string
		ok             bool
	}{
		{"the port of before", "192.0.2.3:0", "192.0.2.1:1179", true},
		{"the new peer", "192.0.2.3:0", "192.0.2.1:1180", true},
		{"the peer of before", "192.0.2.2:0", "192.0.2.1:1180", false},
	} {
		if _, err := s.outside.lookFrom(tt.from, tt.to); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// TestKeepsOwnRouter holds that a host which learns its default route from
// router advertisements keeps it when it starts to forward.
func TestKeepsOwnRouter(t *testing.T) {
	t.Parallel()
	l := lab.New(t, tools...)
	router, h := newHost(t, l, "router"), newHost(t, l, "host")
	router.apply(world(bridge{name: "lan0", v6: "fd11::1/64"}))
	l.Link(router.NS, "p0", h.NS, "up0")
	router.Run("ip", "link", "set", "p0", "master", "lan0")
	routed := func() error {
		if out := h.Run("ip", "-6", "route", "show", "default"); !strings.Contains(out, "proto ra") {
			return fmt.Errorf("default route %q", out)
		}
		return nil
	}
	if _, err := h.RouterAdvertisement("up0"); err != nil {
		t.Fatal(err)
	}
	l.Eventually(10*time.Second, "a default route", routed)
	h.apply(world(lan))
	if err := routed(); err != nil {
		t.Fatalf("when forwarding starts: %v", err)
	}
	// The next advertisement counts too.
	h.Run("ip", "-6", "route", "del", "default")
	if _, err := h.RouterAdvertisement("up0"); err != nil {
		t.Fatal(err)
	}
	l.Eventually(10*time.Second, "a default route while forwarding", routed)
}

// TestInterrupted holds that a making, a change and a deletion that end after
// any number of operations are finished by the next Apply, without a trace.
func TestInterrupted(t *testing.T) {
	h := newBare(t)
	h.Run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1p")
	b := lan
	b.ports = []string{"eth1"}
	b.link = func(l *link.Link) { l.MAC, l.Routes = "02:00:00:00:00:77", []netip.Prefix{prefix("10.79.0.0/24")} }
	first := world(b)
	b.ports, b.v4, b.v6 = nil, "10.77.0.2/24", "fd77::2/64"
	b.link = func(l *link.Link) {
		l.MAC, l.Routes, l.MTU = "02:00:00:00:00:78", []netip.Prefix{prefix("10.80.0.0/24")}, 1400
	}
	second := world(b)
	for _, tt := range []struct {
		name     string
		from, to World
	}{{"make", world(), first}, {"change", first, second}, {"delete", second, world()}} {
		for n, total := 0, 1; n < total; n++ {
			for _, w := range []*World{&tt.from, &tt.to} {
				w.Firewall, w.DHCP = firewall.Config{}, nil
			}
			h.apply(tt.from)
			h.call("Partly", map[string]any{"World": tt.to, "N": n}, &total)
			h.restart()
			h.apply(tt.to)
			if t.Failed() {
				t.Fatalf("%s interrupted after %d of %d", tt.name, n, total)
			}
		}
	}
}

// TestNoGrowth holds that networks that come and go leave nothing behind in
// the process, and that watching ends when it should.
func TestNoGrowth(t *testing.T) {
	h := newBare(t)
	cycle := func() (usage [2]int) {
		for _, w := range []World{world(lan), world(lan, bridge{name: "br1", v4: "10.78.0.1/24"}), world()} {
			h.call("Apply", w, nil)
		}
		h.call("Usage", struct{}{}, &usage)
		return usage
	}
	cycle()
	before := cycle()
	for range 8 {
		cycle()
	}
	h.Lab.Eventually(5*time.Second, "as few as before", func() error {
		// Goroutines that are about to end count still.
		var after [2]int
		if h.call("Usage", struct{}{}, &after); after[0] > before[0] || after[1] > before[1] {
			return fmt.Errorf("files and goroutines were %v and became %v", before, after)
		}
		return nil
	})
	var noticed bool
	h.apply(world(lan))
	h.call("Quiet", "link", &noticed)
	h.Run("ip", "link", "del", "br0")
	h.call("Changed", "link", nil)
}

// TestUsableAtOnce holds that addresses are usable when Apply returns, though
// the bridge has no port and the kernel would look for duplicates.
func TestUsableAtOnce(t *testing.T) {
	h := newBare(t)
	h.Sysctl("net/ipv6/conf/default/accept_dad", "1")
	w := world(lan)
	w.Link.Links[0].Sysctls = nil
	h.call("Apply", w, nil)
	if out := h.Run("ip", "-o", "addr", "show", "dev", "br0", "scope", "global"); strings.Contains(out, "tentative") || strings.Count(out, "\n") != 2 {
		t.Errorf("addresses\n%s", out)
	}
	h.Run("ping", "-n", "-c", "1", "-I", "fd77::1", "fd77::1")
}

// TestObserve holds what is seen of links that are not ours.
func TestObserve(t *testing.T) {
	s := newSite(t, 0)
	h := s.host
	h.apply(world(lan))
	h.Run("ip", "link", "add", "tap0", "type", "veth", "peer", "name", "tap0p")
	h.Run("ip", "link", "set", "tap0", "master", "br0")
	h.Run("ip", "addr", "add", "192.0.2.9/24", "dev", "up0", "valid_lft", "1000", "preferred_lft", "1000")
	h.Run("ip", "route", "add", "198.51.100.0/24", "via", outsideV4.String())
	h.Run("ip", "route", "add", "default", "via", outsideV6.String())
	peers := []netip.Addr{outsideV4, addr("198.51.100.7"), addr("fd77::9"), addr("2001:db8:ffff::1"), addr("100.64.0.1"), hostV4}
	var o Observed
	h.call("Observe", peers, &o)
	if got := o.Links["br0"]; got.Alias != "netctl:br0" || !got.Up || !slices.Contains(got.Addrs, "10.77.0.1/24") {
		t.Errorf("br0 is %+v", got)
	}
	if got := o.Links["tap0"]; got.Master != "br0" || got.Up {
		t.Errorf("tap0 is %+v", got)
	}
	if got := o.Links["up0"]; !slices.Equal(got.Dynamic, []string{"192.0.2.9/24"}) || !slices.Contains(got.Addrs, "192.0.2.1/24") {
		t.Errorf("up0 is %+v", got)
	}
	if want := []netip.Prefix{prefix("198.51.100.0/24")}; !slices.Equal(o.Routes, want) {
		t.Errorf("routes %v, want %v", o.Routes, want)
	}
	want := map[netip.Addr]link.Toward{
		outsideV4:                {Dev: "up0", Src: hostV4},
		addr("198.51.100.7"):     {Dev: "up0", Src: hostV4, Via: outsideV4},
		addr("fd77::9"):          {Dev: "br0", Src: addr("fd77::1")},
		addr("2001:db8:ffff::1"): {Dev: "up0", Src: hostV6, Via: outsideV6},
		hostV4:                   {Dev: "lo", Src: hostV4},
	}
	for _, p := range peers {
		if got, ok := o.Toward[p]; got != want[p] || ok != (want[p] != link.Toward{}) {
			t.Errorf("toward %s: %+v %v, want %+v", p, got, ok, want[p])
		}
	}
	// A route of somebody else is news.
	var noticed bool
	h.call("Quiet", "link", &noticed)
	h.Run("ip", "route", "add", "default", "via", outsideV4.String())
	h.call("Changed", "link", nil)
	h.call("Observe", peers, &o)
	if got := o.Toward[addr("100.64.0.1")]; got.Via != outsideV4 {
		t.Errorf("toward 100.64.0.1: %+v", got)
	}
}

// TestResolvConf holds that a change of the host's name servers reaches a
// dnsmasq without a restart.
func TestResolvConf(t *testing.T) {
	s := newSite(t, 1)
	s.outside.Start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=",
		"--address=/up.example/198.51.100.99", "--listen-address="+outsideV4.String(), "--bind-interfaces")
	w := world(lan)
	s.host.apply(w)
	s.plug("br0")
	s.lease(netip.Prefix{})
	before := s.host.pid("br0")
	var found []string
	ask := map[string]string{"Server": "10.77.0.1", "Name": "www.up.example"}
	if err := s.clients[0].try("Resolve", ask, &found); err == nil {
		t.Fatalf("without an upstream server: %v", found)
	}
	if err := os.WriteFile(s.host.dir+"/resolv.conf", []byte("nameserver 192.0.2.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.host.call("Apply", w, nil)
	s.Eventually(5*time.Second, "an answer from upstream", func() error {
		if err := s.clients[0].try("Resolve", ask, &found); err != nil {
			return err
		}
		if !slices.Contains(found, "198.51.100.99") {
			return fmt.Errorf("found %v", found)
		}
		return nil
	})
	if after := s.host.pid("br0"); after != before {
		t.Errorf("process %s became %s", before, after)
	}
}

// pid returns the process that serves a network.
func (h *host) pid(network string) string {
	h.t.Helper()
	b, err := os.ReadFile(h.dir + "/networks/" + network + "/dnsmasq.pid")
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
