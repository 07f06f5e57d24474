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

// TestReplaceBeforeDelete holds that what comes is there before what goes is
// about to be taken down, so that it need not wait for that to be withdrawn.
func TestReplaceBeforeDelete(t *testing.T) {
	h := newBare(t)
	w := world(lan)
	with := func(p string) World {
		w := w
		w.Link.Routes = []*link.Route{link.OnLink(prefix(p), lan.name, lan.name)}
		return w
	}
	h.apply(with("198.51.100.7/32"))
	var standing []string
	h.call("Standing", struct{}{}, &standing)
	h.apply(with("198.51.100.6/32"))
	h.call("Standing", struct{}{}, &standing)
	if want := []string{"198.51.100.6/32", "198.51.100.7/32"}; !slices.Equal(standing, want) {
		t.Errorf("when a route was about to go, there were %v, want %v", standing, want)
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
	// Nor is it touched when it has taken the name a moment ago.
	for _, op := range []link.Op{
		{Verb: link.DelLink, Owner: "br9", Dev: "br9"},
		{Verb: link.SetMTU, Owner: "br9", Dev: "br9", MTU: 1400},
		{Verb: link.AddPort, Owner: "br0", Dev: "br0", Port: "br9"},
	} {
		if err := h.try("Do", []link.Op{op}, nil); err == nil {
			t.Errorf("%s: no error", op)
		}
	}
	h.apply(world())
	if after := h.listing(); before != after {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if out := h.Run("cat", "/proc/"+strings.TrimSpace(string(pid))+"/comm"); strings.TrimSpace(out) != "dnsmasq" {
		t.Errorf("the dnsmasq of somebody else is %q", out)
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
	l.Eventually(10*time.Second, "an advertisement", func() error { // which is asked for from an address that is tentative at first
		_, err := h.RouterAdvertisement("up0")
		return err
	})
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

// TestResolvConf holds that a change of the host's name servers is noticed, and
// reaches a dnsmasq without a restart.
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
	s.host.call("Changed", "dhcp", nil)
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
