package dataplane_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"netctl/network/link"
)

// TestNICDrift holds that what others change of the links of NICs is noticed
// and repaired.
func TestNICDrift(t *testing.T) {
	h := newNICHost(t)
	ns := h.space("web")
	limited := func(l *link.Link) {
		l.Limits = &link.Limits{Out: 10e6, In: 20e6}
		l.Port.Isolated = true
	}
	w := nics(veth("veth0", link.Netns{Name: ns}, limited), tap("tap0", limited)).with(ns)
	w.Link.Routes = []*link.Route{
		{Prefix: prefix("198.51.100.0/24"), Hops: []link.Hop{{Dev: "br0", Via: addr("10.77.0.7")}, {Dev: "br0", Via: addr("10.77.0.8")}}, Owners: []string{"web/veth0"}},
		{Prefix: prefix("2001:db8:5::/48"), Hops: []link.Hop{{Dev: "br0", Via: addr("fd77::7")}, {Dev: "br0", Via: addr("fd77::8")}}, Owners: []string{"web/veth0"}},
	}
	h.apply(w)
	h.Run("ip", "link", "add", "br9", "type", "bridge")
	ifb := link.IFBName("veth0")
	for _, cmd := range []string{
		"ip link del veth0", "ip link set veth0 down", "ip link set veth0 nomaster", "ip link set veth0 master br9",
		"ip link set veth0 mtu 1400", "ip link set veth0 alias ''", "ip netns exec " + ns + " ip link del eth0",
		"bridge link set dev veth0 isolated off", "bridge link set dev veth0 hairpin on", "bridge link set dev tap0 isolated off",
		"ip link del tap0", "ip link set tap0 nomaster", "ip link del br0",
		"tc qdisc del dev veth0 root", "tc qdisc replace dev veth0 root pfifo", "tc qdisc del dev veth0 ingress",
		"tc qdisc replace dev veth0 root handle 6e63: tbf rate 1mbit burst 10k limit 20k",
		"tc filter del dev veth0 ingress", "ip link del " + ifb, "ip link set " + ifb + " down", "tc qdisc del dev " + ifb + " root",
		"tc qdisc del dev tap0 root",
		"ip route del 198.51.100.0/24", "ip -6 route del 2001:db8:5::/48", "ip -6 route del 2001:db8:5::/48 via fd77::7",
		"ip route replace 198.51.100.0/24 via 10.77.0.7 proto 213", "ip route replace 2001:db8:5::/48 via fd77::9 proto 213",
		"ip route add 198.51.100.0/24 via 10.77.0.9 metric 7 proto 213", "ip -6 route add 2001:db8:5::/48 via fd77::9 metric 7 proto 213",
		"ip link set br0 down", "ip addr flush dev br0", "ip -6 route append 2001:db8:5::/48 via fd77::9 proto 213",
		"ip netns del " + ns,
	} {
		var noticed bool
		h.call("Quiet", "link", &noticed)
		h.Run("sh", "-c", cmd)
		if err := h.try("Changed", "link", nil); err != nil {
			t.Errorf("%s: %v", cmd, err)
		}
		h.Lab.Eventually(5*time.Second, "a repair", func() error { return h.try("Apply", w, nil) })
		h.settled(w)
		if t.Failed() {
			t.Fatalf("after %s", cmd)
		}
	}
	// A route of somebody else is not ours to replace.
	h.Run("ip", "route", "replace", "198.51.100.0/24", "via", "10.77.0.9", "proto", "static")
	err := h.try("Apply", w, nil)
	if want := "instance web: device veth0: ip route add 198.51.100.0/24"; err == nil || !strings.Contains(err.Error(), want) ||
		!strings.Contains(err.Error(), "route to 198.51.100.0/24 exists and is not ours") {
		t.Errorf("err = %v, want %s", err, want)
	}
	h.contains(h.Run("ip", "route", "show", "198.51.100.0/24"), "via 10.77.0.9", "proto static")
	h.Run("ip", "route", "del", "198.51.100.0/24", "proto", "static")
	h.apply(w)
	h.apply(world())
	if out := h.Run("ip", "-o", "link"); strings.Contains(out, "netctl") || strings.Contains(out, "ifb") {
		t.Errorf("left over:\n%s", out)
	}
}

// TestNICInterrupted holds that a start, a change and a stop of NICs that end
// after any number of operations are finished by the next Apply, without a
// trace.
func TestNICInterrupted(t *testing.T) {
	h := newNICHost(t)
	ns, other := h.space("web"), h.space("other")
	first := nics(
		veth("veth0", link.Netns{Name: ns}, func(l *link.Link) { l.Limits = &link.Limits{Out: 10e6, In: 20e6} }), tap("tap0"),
	).with(ns)
	first.Link.Routes = []*link.Route{{Prefix: prefix("198.51.100.0/24"), Hops: []link.Hop{{Dev: "br0", Via: addr("10.77.0.7")}}}}
	second := nics(
		veth("veth0", link.Netns{Name: other}, func(l *link.Link) {
			l.Port.Isolated, l.MTU, l.Peer.MTU, l.Peer.Name = true, 1400, 1400, "net0"
		}), tap("tap0", func(l *link.Link) { l.Tap.MultiQueue = true; l.Limits = &link.Limits{In: 10e6} }),
	).with(other)
	second.Link.Routes = []*link.Route{{Prefix: prefix("198.51.100.0/24"), Hops: []link.Hop{{Dev: "br0", Via: addr("10.77.0.7")}, {Dev: "br0", Via: addr("10.77.0.8")}}}}
	before := h.Run("ip", "netns", "list")
	for _, tt := range []struct {
		name     string
		from, to World
	}{{"start", world(), first}, {"change", first, second}, {"stop", second, world()}} {
		for n, total := 0, 1; n < total; n++ {
			from, to := World{Link: tt.from.Link}, World{Link: tt.to.Link}
			h.apply(from)
			h.call("Partly", map[string]any{"World": to, "N": n}, &total)
			h.restart()
			h.apply(to)
			if t.Failed() {
				t.Fatalf("%s interrupted after %d of %d", tt.name, n, total)
			}
		}
	}
	if out := h.Run("ip", "-o", "link"); strings.Contains(out, "netctl") || strings.Contains(out, "ifb") {
		t.Errorf("left over:\n%s", out)
	}
	for _, name := range []string{ns, other} {
		if strings.Contains(h.Run("ip", "netns", "list"), name) {
			t.Errorf("left over: %s; before there was\n%s", name, before)
		}
	}
}

// TestSpread holds that the hops of a route change without a moment in which
// there is none.
func TestSpread(t *testing.T) {
	h := newNICHost(t)
	h.apply(nics())
	monitor := h.Start("stdbuf", "-oL", "ip", "monitor", "route")
	h.Lab.Eventually(5*time.Second, "a monitor", func() error {
		h.Run("ip", "route", "add", "192.0.2.98/32", "dev", "br0")
		h.Run("ip", "route", "del", "192.0.2.98/32", "dev", "br0")
		if out := monitor.Output(); !strings.Contains(out, "192.0.2.98") {
			return fmt.Errorf("it says %q", out)
		}
		return nil
	})
	hop := func(host string) (v4, v6 link.Hop) {
		return link.Hop{Dev: "br0", Via: addr("10.77.0." + host)}, link.Hop{Dev: "br0", Via: addr("fd77::" + host)}
	}
	for _, hosts := range [][]string{{"7"}, {"7", "8"}, {"7", "8", "9"}, {"8"}, {"9"}, {"7", "9"}, {"direct"}, {"7", "8"}} {
		v4, v6 := &link.Route{Prefix: prefix("198.51.100.0/24")}, &link.Route{Prefix: prefix("2001:db8:5::/48")}
		for _, host := range hosts {
			a, b := link.Hop{Dev: "br0"}, link.Hop{Dev: "br0"}
			if host != "direct" {
				a, b = hop(host)
			}
			v4.Hops, v6.Hops = append(v4.Hops, a), append(v6.Hops, b)
		}
		w := nics()
		w.Link.Routes = []*link.Route{v4, v6}
		h.apply(w)
		for _, cmd := range [][]string{{"ip", "route", "show", "198.51.100.0/24"}, {"ip", "-6", "route", "show", "2001:db8:5::/48"}} {
			out := h.Run(cmd[0], cmd[1:]...)
			if n := strings.Count(out, "via"); n != len(hosts) && hosts[0] != "direct" || strings.Count(out, "dev br0") != len(hosts) {
				t.Errorf("over %v:\n%s", hosts, out)
			}
		}
	}
	h.Run("ip", "route", "add", "192.0.2.99/32", "dev", "br0")
	h.Run("ip", "route", "del", "192.0.2.99/32", "dev", "br0")
	h.Lab.Eventually(5*time.Second, "the end", func() error {
		if out := monitor.Output(); !strings.Contains(out, "Deleted 192.0.2.99") {
			return fmt.Errorf("the monitor says %q", out)
		}
		return nil
	})
	for line := range strings.Lines(monitor.Output()) {
		if strings.HasPrefix(line, "Deleted") && (strings.Contains(line, "198.51.100.0/24") || strings.Contains(line, "2001:db8:5::/48")) {
			t.Errorf("a moment without a route: %s", line)
		}
	}
}
