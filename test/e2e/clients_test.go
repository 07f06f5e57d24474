package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netctl/api"
	"netctl/test/lab"
)

// udhcpcScript configures what a lease says, as a distribution's script does.
const udhcpcScript = `#!/bin/sh
case "$1" in
deconfig) ip -4 addr flush dev "$interface" ;;
bound|renew)
	ip addr replace "$ip/$mask" dev "$interface"
	[ -z "$router" ] || ip route replace default via "$router"
	;;
esac
`

// lease runs a DHCP client in ns and returns the address that it got.
func (s *site) lease(ns *lab.NS) netip.Addr {
	s.Helper()
	script := filepath.Join(s.Dir, "udhcpc.sh")
	if err := os.WriteFile(script, []byte(udhcpcScript), 0o755); err != nil {
		s.Fatalf("%v", err)
	}
	ns.Run("busybox", "udhcpc", "-i", "eth0", "-s", script, "-n", "-q", "-t", "20", "-T", "1", "-x", "hostname:"+ns.Name)
	return s.address(ns, "inet ")
}

// address returns the global address of a family that ns has on eth0, once it
// has one.
func (s *site) address(ns *lab.NS, family string) netip.Addr {
	s.Helper()
	var a netip.Addr
	s.Soon(ns.Name+" has an address", func() error {
		out := ns.Run("ip", "-o", "addr", "show", "dev", "eth0", "scope", "global")
		for line := range strings.Lines(out) {
			if _, rest, ok := strings.Cut(line, family); ok {
				p, err := netip.ParsePrefix(strings.Fields(rest)[0])
				a = p.Addr()
				return err
			}
		}
		return fmt.Errorf("only %q", out)
	})
	return a
}

// leases returns the leases of a network by address.
func (s *site) leases(network string) map[string]api.NetworkLease {
	s.Helper()
	var all []api.NetworkLease
	if err := json.Unmarshal([]byte(s.Daemon.CLI("network", "list-leases", network, "-f", "json")), &all); err != nil {
		s.Fatalf("leases: %v", err)
	}
	out := map[string]api.NetworkLease{}
	for _, l := range all {
		out[l.Address] = l
	}
	return out
}

// reaches fails the test unless from reaches an address.
func (s *site) reaches(from *lab.NS, to string) {
	s.Helper()
	s.Soon(from.Name+" reaches "+to, func() error {
		_, err := from.Try("ping", "-n", "-c1", "-W1", to)
		return err
	})
}

// seenFrom returns the source address with which pings of a client arrive at
// the remote host.
func (s *site) seenFrom(client *lab.NS, to string) string {
	s.Helper()
	s.reaches(client, to)
	dump := s.Far.Start("tcpdump", "-n", "-l", "-c", "1", "-i", "eth0", "icmp[icmptype] == icmp-echo or (icmp6 and ip6[40] == 128)")
	s.Soon("capture", func() error {
		_, _ = client.Try("ping", "-n", "-c1", "-W1", to)
		return lab.Expect(dump.Exited(), "nothing captured yet: %s", dump.Output())
	})
	for line := range strings.Lines(dump.Output()) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[1], "IP") {
			return f[2]
		}
	}
	s.Fatalf("tcpdump: %s", dump.Output())
	return ""
}

// Clients get addresses of both families, reach each other, the gateway and
// the outside: with their own address, or translated.
func TestClients(t *testing.T) {
	t.Parallel()
	s := newSite(t, bird, false)
	s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64", "dns.mode=dynamic")
	s.Established()
	a, b := s.Plug("web", "br0"), s.Plug("db", "br0")
	subnet := netip.MustParsePrefix(subnet4)
	addrs := map[*lab.NS]netip.Addr{a: s.lease(a), b: s.lease(b)}
	for ns, addr := range addrs {
		if !subnet.Contains(addr) {
			t.Errorf("%s leased %s", ns.Name, addr)
		}
		// dnsmasq answers first and writes its leases then.
		s.Soon("lease of "+ns.Name, func() error {
			l := s.leases("br0")[addr.String()]
			return lab.Expect(l.Hostname == ns.Name && l.Type == "dynamic" && l.Hwaddr != "", "%+v", l)
		})
	}
	if gw := s.leases("br0")["198.51.100.1"]; gw.Type != "gateway" {
		t.Errorf("the gateway's own lease: %+v", gw)
	}
	a6, b6 := s.address(a, "inet6 "), s.address(b, "inet6 ")
	if !netip.MustParsePrefix(subnet6).Contains(a6) {
		t.Errorf("%s configured %s", a.Name, a6)
	}
	for _, to := range []string{addrs[b].String(), b6.String(), "198.51.100.1", "2001:db8:100::1"} {
		s.reaches(a, to)
	}
	if got := s.seenFrom(a, lab.Far4); got != addrs[a].String() {
		t.Errorf("without NAT packets of %s arrive from %s", addrs[a], got)
	}
	if got := s.seenFrom(a, lab.Far6); got != a6.String() {
		t.Errorf("without NAT packets of %s arrive from %s", a6, got)
	}
	if out := a.Run("busybox", "nslookup", "-type=a", "db.netctl", "198.51.100.1"); !strings.Contains(out, addrs[b].String()) {
		t.Errorf("db.netctl is %s", out)
	}

	s.Daemon.CLI("network", "set", "br0", "ipv4.nat=true", "ipv6.nat=true")
	if got := s.seenFrom(a, lab.Far4); got != lab.Host4 {
		t.Errorf("masqueraded packets arrive from %s", got)
	}
	if got := s.seenFrom(a, lab.Far6); got != lab.Host6 {
		t.Errorf("masqueraded packets arrive from %s", got)
	}
	s.WaitRoutes(0, subnet4, subnet6)

	// The translated address is announced, so that answers find the way back.
	s.Daemon.CLI("network", "set", "br0", "ipv4.nat.address=192.0.2.200", "ipv6.nat.address=2001:db8:ffff::1")
	s.WaitRoutes(1, "192.0.2.200/32", "2001:db8:ffff::1/128")
	if got := s.seenFrom(a, lab.Far4); got != "192.0.2.200" {
		t.Errorf("translated packets arrive from %s", got)
	}
	if got := s.seenFrom(a, lab.Far6); got != "2001:db8:ffff::1" {
		t.Errorf("translated packets arrive from %s", got)
	}
	// Nobody is at that address, and what is sent to it does not go to and fro
	// between host and router, with one network less that translates to it too.
	s.Network("br1", "10.77.0.1/24", "fd42:77::1/64", "ipv4.nat=true", "ipv4.nat.address=192.0.2.200", "ipv6.nat=true", "ipv6.nat.address=2001:db8:ffff::1")
	s.Daemon.CLI("network", "delete", "br1")
	for _, to := range []string{"192.0.2.200", "2001:db8:ffff::1"} {
		if out, err := s.Far.Try("ping", "-n", "-c1", "-W1", to); err == nil || strings.Contains(fmt.Sprint(out, err), "exceeded") {
			t.Errorf("a stranger's ping to %s: %v %s", to, err, out)
		}
	}
}

// Routing that is turned off keeps clients on their bridge.
func TestRoutingOff(t *testing.T) {
	t.Parallel()
	s := newSite(t, bird, false)
	s.Network("br0", "198.51.100.1/24", "none")
	s.Established()
	s.WaitRoutes(1, subnet4)
	c := s.Client("web", "br0", []string{"198.51.100.10/24"}, []string{"198.51.100.1"})
	s.reaches(c, lab.Far4)
	s.Daemon.CLI("network", "set", "br0", "ipv4.routing=false")
	s.Soon("traffic stops", func() error {
		_, err := c.Try("ping", "-n", "-c1", "-W1", lab.Far4)
		return lab.Expect(err != nil, "it goes on")
	})
	s.reaches(c, "198.51.100.1")
	s.Daemon.CLI("network", "set", "br0", "ipv4.routing=true")
	s.reaches(c, lab.Far4)
}

// An interface of the host becomes a port of the bridge, and is let go again;
// ports that others have added stay.
func TestExternalInterface(t *testing.T) {
	t.Parallel()
	s := newSite(t, bird, false)
	out := s.NS("segment")
	s.Link(s.Host, "eth9", out, "eth0")
	out.Addr("eth0", "198.51.100.9/24")
	s.Network("br0", "198.51.100.1/24", "none", "bridge.external_interfaces=eth9")
	s.reaches(out, "198.51.100.1")
	c := s.Client("web", "br0", []string{"198.51.100.10/24"}, nil)
	s.reaches(c, "198.51.100.9")
	s.Daemon.CLI("network", "unset", "br0", "bridge.external_interfaces")
	if out := s.Host.Run("ip", "link", "show", "eth9"); strings.Contains(out, "master") {
		t.Errorf("eth9 is still a port: %s", out)
	}
	s.reaches(c, "198.51.100.1")

	// One that is not there yet is taken when it comes, and named meanwhile.
	_, err := s.Daemon.TryCLI("network", "set", "br0", "bridge.external_interfaces=eth8", "--wait=1s")
	if err == nil || !strings.Contains(err.Error(), "eth8") {
		t.Errorf("a missing interface: %v", err)
	}
	other := s.NS("late")
	s.Link(s.Host, "eth8", other, "eth0")
	s.Soon("eth8 is a port", func() error {
		out := s.Host.Run("ip", "link", "show", "eth8")
		return lab.Expect(strings.Contains(out, "master br0"), "%s", out)
	})
	s.Daemon.CLI("network", "unset", "br0", "bridge.external_interfaces")
}

// A rename makes the bridge anew. It loses nobody: with guests in the bridge it
// is refused, and interfaces of the network itself go along.
func TestRename(t *testing.T) {
	t.Parallel()
	s := newSite(t, bird, false)
	segment := s.NS("segment")
	s.Link(s.Host, "eth9", segment, "eth0")
	segment.Addr("eth0", "198.51.100.9/24")
	s.Network("br0", "198.51.100.1/24", "none", "bridge.external_interfaces=eth9", "bridge.hwaddr=02:00:00:00:00:01")
	c := s.Client("web", "br0", []string{"198.51.100.10/24"}, []string{"198.51.100.1"})
	s.reaches(c, lab.Far4)
	for _, args := range [][]string{{"--dry-run"}, {}} {
		_, err := s.Daemon.TryCLI(append([]string{"network", "rename", "br0", "br1"}, args...)...)
		if err == nil || !strings.Contains(err.Error(), "not netctl's: vweb; take") {
			t.Errorf("rename %v: %v", args, err)
		}
	}
	s.reaches(c, lab.Far4)
	s.Host.Run("ip", "link", "set", "vweb", "nomaster")
	s.Daemon.CLI("network", "rename", "br0", "br1")
	s.Host.Run("ip", "link", "set", "vweb", "master", "br1")
	s.reaches(c, lab.Far4)
	s.reaches(segment, "198.51.100.1")
	if out := s.Host.Run("ip", "-br", "link"); strings.Contains(out, "br0") {
		t.Errorf("the old bridge is left: %s", out)
	}
	s.Daemon.CLI("network", "unset", "br1", "bridge.external_interfaces") // it goes with its segment
}

// What belongs to others is never touched, however similar it looks.
func TestForeign(t *testing.T) {
	t.Parallel()
	s := newSite(t, bird, false)
	s.Host.Run("ip", "link", "add", "br00", "type", "bridge")
	s.Host.Run("ip", "link", "set", "br00", "up")
	s.Host.Addr("br00", "10.99.0.1/24")
	s.Host.Run("ip", "route", "add", "10.98.0.0/24", "dev", "br00", "proto", "static")
	s.Host.Run("nft", "add table inet netctl2; add chain inet netctl2 c { type filter hook forward priority 0; }")
	foreign := s.Host.Start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--dhcp-range=10.99.0.10,10.99.0.20", "--interface=br00", "--bind-interfaces", "--pid-file", "--dhcp-leasefile="+filepath.Join(s.Dir, "foreign.leases"))
	state := func() string {
		return s.Host.Run("ip", "-br", "link", "show", "br00") + s.Host.Run("ip", "-br", "addr", "show", "br00") +
			s.Host.Run("ip", "route", "show", "dev", "br00") + s.Host.Run("nft", "list", "table", "inet", "netctl2")
	}
	before := state()
	s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64", "ipv4.routes=203.0.113.128/25")
	if out := s.Host.Run("ip", "route", "show", "203.0.113.128/25"); !strings.Contains(out, "dev br0") || !strings.Contains(out, "proto 213") {
		t.Errorf("ipv4.routes: %q", out)
	}
	_, err := s.Daemon.TryCLI("network", "create", "br00")
	if err == nil || !strings.Contains(err.Error(), "br00") {
		t.Errorf("a name that is taken: %v", err)
	}
	_, err = s.Daemon.TryCLI("network", "rename", "br0", "br00")
	if err == nil || !strings.Contains(err.Error(), "br00") {
		t.Errorf("a new name that is taken: %v", err)
	}
	// A subnet of the host is not chosen for a network.
	s.Daemon.CLI("network", "create", "br1", "ipv6.address=none")
	p := netip.MustParsePrefix(strings.TrimSpace(s.Daemon.CLI("network", "get", "br1", "ipv4.address")))
	for _, used := range []string{"10.99.0.0/24", "10.98.0.0/24"} {
		if p.Overlaps(netip.MustParsePrefix(used)) {
			t.Errorf("auto chose %s", p)
		}
	}
	s.Daemon.CLI("network", "delete", "br0")
	s.Daemon.CLI("network", "delete", "br1")
	s.Soon("no trace", func() error {
		out := s.Host.Run("ip", "-br", "link") + s.Host.Run("nft", "list", "tables") + s.Host.Run("ip", "route")
		left, _ := os.ReadDir(filepath.Join(s.Daemon.Dir, "networks"))
		return lab.Expect(!strings.Contains(out, "br0 ") && !strings.Contains(out, "br1 ") && !strings.Contains(out, "proto 213") && len(left) == 0, "%s %v", out, left)
	})
	if after := state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if foreign.Exited() {
		t.Errorf("the foreign dnsmasq ended: %s", foreign.Output())
	}
}
