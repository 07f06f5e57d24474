package dataplane_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"netctl/network/firewall"
	"netctl/network/link"
)

// TestDrift holds that what others change is noticed, and is repaired by the
// next Apply.
func TestDrift(t *testing.T) {
	h := newBare(t)
	h.Run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1p")
	b := lan
	b.ports = []string{"eth1"}
	b.routes = []string{"10.79.0.0/24", "fd79::/64"}
	b.link = func(l *link.Link) {
		l.MAC = "02:00:00:00:00:77"
		l.Sysctls = append(l.Sysctls, link.Sysctl{Key: "net/ipv6/conf/br0/disable_ipv6", Value: "0"})
	}
	b.firewall = func(n *firewall.Network) { n.V4.NAT = true }
	w := world(b, bridge{name: "br1", v4: "10.78.0.1/24"})
	w.Firewall.NICs = []*firewall.NIC{spoofer("eth1", "a")}
	w.Firewall.Forwards = forwards(ipFamilies[0])
	h.apply(w)
	for _, tt := range []struct{ what, cmd string }{
		{"link", "ip link del br0"},
		{"link", "ip link set br0 down"},
		{"link", "ip link set br0 mtu 1400"},
		{"link", "ip link set br0 address 02:00:00:00:00:99"},
		{"link", "ip link set br0 alias ''"},
		{"link", "ip link set br0 alias netctl:other"},
		{"link", "ip link set br0 type bridge no_linklocal_learn 0"},
		{"link", "ip addr del 10.77.0.1/24 dev br0"},
		{"link", "ip addr del fd77::1/64 dev br0"},
		{"link", "ip addr add 10.66.0.1/24 dev br0"},
		{"link", "ip addr add fd66::1/64 dev br0"},
		{"link", "ip addr flush dev br0 scope global"},
		{"link", "ip route del 10.79.0.0/24 dev br0"},
		{"link", "ip route del fd79::/64 dev br0"},
		{"link", "ip route add 10.80.0.0/24 dev br0 proto 213"},
		{"link", "ip route add 10.80.0.0/24 dev br1 proto 213"}, // which has no routes of ours
		{"link", "ip route flush dev br0 proto 213"},
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
		{"filter", "nft flush map inet netctl forward_port4"},
		{"filter", "nft delete element inet netctl forward_range4 '{ 203.0.113.1 . tcp . 1000-1010 }'"},
		{"filter", "nft delete table bridge netctl"},
		{"filter", "nft flush chain bridge netctl nic_mac"},
		{"filter", "nft flush set bridge netctl nic_macs"},
		{"filter", "nft add element bridge netctl nic_targets '{ \"eth1\" . 0x1 }'"},
		{"filter", "nft delete element bridge netctl nic_target_nets '{ \"eth1\" . 0x20010db8000a00000000000000000000-0x20010db8000affffffffffffffffffff }'"},
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
	b.routes = []string{"10.81.0.0/24"}
	h.apply(world(b))
	for _, what := range []string{"link", "filter", "dhcp"} {
		noticed = false
		if h.call("Quiet", what, &noticed); noticed {
			t.Errorf("our own change of %s was news", what)
		}
	}
}

// TestDriftDuring holds that what others change on a link is noticed too when
// an Apply changes it at the same time.
func TestDriftDuring(t *testing.T) {
	h := newBare(t)
	b := bridge{name: "br0", v4: "10.77.0.1/24"}
	h.apply(world(b))
	for i := range 100 {
		b.link = func(l *link.Link) { l.MTU = 1400 + i }
		w := world(b)
		var noticed bool
		h.call("Quiet", "link", &noticed)
		applied := h.agent.Go("Agent.Apply", w, nil, nil)
		h.Run("ip", "addr", "add", "10.66.0.1/24", "dev", "br0")
		if err := (<-applied.Done).Error; err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.Run("ip", "-o", "addr", "show", "dev", "br0"), "10.66.0.1") {
			h.call("Changed", "link", nil)
			h.call("Apply", w, nil)
		}
		h.settled(w)
		if t.Failed() {
			t.Fatalf("after %d changes", i)
		}
	}
}

// TestInterrupted holds that a making, a change and a deletion that end after
// any number of operations are finished by the next Apply, without a trace.
func TestInterrupted(t *testing.T) {
	h := newBare(t)
	h.Run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1p")
	b := lan
	b.ports = []string{"eth1"}
	b.routes = []string{"10.79.0.0/24"}
	b.link = func(l *link.Link) { l.MAC = "02:00:00:00:00:77" }
	first := world(b)
	b.ports, b.v4, b.v6, b.routes = nil, "10.77.0.2/24", "fd77::2/64", []string{"10.80.0.0/24"}
	b.link = func(l *link.Link) { l.MAC, l.MTU = "02:00:00:00:00:78", 1400 }
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
