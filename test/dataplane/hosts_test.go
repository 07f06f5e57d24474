package dataplane_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netctl/network/dhcp"
)

// known returns br0 with hosts, and DHCPv6 that leases addresses.
func known(hosts ...dhcp.Host) bridge {
	b := lan
	b.service = func(d *dhcp.Service) { d.V6.Stateful, d.Hosts = true, hosts }
	return b
}

// mac returns the MAC address of a client.
func (h *host) mac() string {
	h.t.Helper()
	return strings.TrimSpace(h.Run("sh", "-c", "ip -o link show eth0 | sed 's/.*ether \\([^ ]*\\).*/\\1/'"))
}

// six gets an address by DHCPv6.
func (h *host) six(name, uuid string) netip.Addr {
	h.t.Helper()
	var got []string
	h.Address("eth0", prefix("fe80::/64"), 10*time.Second)
	h.call("DHCP6", map[string]string{"Dev": "eth0", "Name": name, "UUID": uuid}, &got)
	if len(got) == 0 {
		h.t.Fatalf("%s: no address by DHCPv6", h.Name)
	}
	return addr(got[0])
}

// finds fails the test unless a client finds exactly these addresses of a
// name, and the name of each of them.
func (h *host) finds(name string, want ...string) {
	h.t.Helper()
	var found []string
	err := h.try("Resolve", map[string]string{"Server": "10.77.0.1", "Name": name}, &found)
	slices.Sort(found)
	slices.Sort(want)
	if !slices.Equal(found, want) {
		h.t.Errorf("%s is at %v (%v), want %v", name, found, err, want)
	}
	for _, a := range want {
		var names []string
		if err := h.try("Reverse", map[string]string{"Server": "10.77.0.1", "Addr": a}, &names); err != nil || !slices.Equal(names, []string{name + "."}) {
			h.t.Errorf("%s is %v (%v), want %s", a, names, err, name)
		}
	}
}

// leasesAre waits until these addresses are leased, and no others.
func (s *site) leasesAre(want ...netip.Addr) {
	s.Helper()
	slices.SortFunc(want, netip.Addr.Compare)
	s.Eventually(5*time.Second, "the leases", func() error { // dnsmasq answers first and writes them then
		var leases []dhcp.Lease
		s.host.call("Leases", "br0", &leases)
		var got []netip.Addr
		for _, l := range leases {
			got = append(got, l.Addr)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("leases %v, want %v", got, want)
		}
		return nil
	})
}

// plan returns what an Apply would do.
func (h *host) plan(w World) []string {
	h.t.Helper()
	var out []string
	h.call("Plan", w, &out)
	return out
}

// TestHosts holds that hosts get their addresses and names, others neither,
// that all this comes and goes while the same process runs, and that what a
// host had can be had by another at once.
func TestHosts(t *testing.T) {
	s := newSite(t, 2)
	s.host.apply(world(known()))
	s.plug("br0")
	c1, c2 := s.clients[0], s.clients[1]
	pid := s.host.pid("br0")
	web := dhcp.Host{MAC: c1.mac(), Name: "web", V4: addr("10.77.0.10"), V6: addr("fd77::10")}
	db := dhcp.Host{MAC: c2.mac(), Name: "db"}

	w := world(known(web))
	plan := []string{
		"dnsmasq add-host br0 " + web.MAC + ",10.77.0.10,[fd77::10],web",
		"dnsmasq add-name br0 10.77.0.10 web.netctl web", "dnsmasq add-name br0 fd77::10 web.netctl web",
	}
	if got := s.host.plan(w); !slices.Equal(got, plan) {
		t.Errorf("plan %q, want %q", got, plan)
	}
	s.host.apply(w)
	if got := s.host.plan(w); len(got) != 0 {
		t.Errorf("plan %q", got)
	}
	// The names are there before any lease; a stranger gets neither the
	// name nor the addresses.
	s.stranger(c2)
	if got := c1.DHCP4("eth0", "-x", "hostname:db"); got.Addr != prefix("10.77.0.10/24") {
		t.Errorf("lease %+v", got)
	}
	if got := c1.six("db", "sixteen octets 1"); got != web.V6 {
		t.Errorf("leased %s", got)
	}
	c1.Addr("eth0", "fd77::10/64")
	c1.finds("web.netctl", "10.77.0.10", "fd77::10")

	// One with addresses from the ranges has its name when they are leased.
	s.host.apply(world(known(web, db)))
	c2.Run("ip", "addr", "flush", "dev", "eth0", "scope", "global")
	four := c2.DHCP4("eth0", "-x", "hostname:web").Addr.Addr()
	six := c2.six("web", "sixteen octets 2")
	c2.Addr("eth0", six.String()+"/64")
	s.leasesAre(four, six, web.V4, web.V6)
	c2.finds("db.netctl", four.String(), six.String())
	c2.finds("web.netctl", "10.77.0.10", "fd77::10")

	// A host that goes gives up what it had, whether it was leased or not.
	s.host.apply(world(known(db)))
	s.leasesAre(four, six)
	c2.finds("web.netctl")
	db.V4, db.V6 = web.V4, web.V6
	s.host.apply(world(known(db)))
	if got := c2.DHCP4("eth0"); got.Addr != prefix("10.77.0.10/24") {
		t.Errorf("lease %+v", got)
	}
	if got := c2.six("", "sixteen octets 2"); got != web.V6 {
		t.Errorf("leased %s", got)
	}
	c2.finds("db.netctl", "10.77.0.10", "fd77::10")
	if now := s.host.pid("br0"); now != pid {
		t.Errorf("process %s became %s", pid, now)
	}
	s.host.apply(world())
	s.leasesAre()
}

// stranger gets leases for a client that nobody knows and that calls itself
// web, and makes it forget them.
func (s *site) stranger(c *host) {
	s.Helper()
	got := c.DHCP4("eth0", "-x", "hostname:web").Addr
	if got.Addr() == addr("10.77.0.10") {
		c.t.Errorf("%s was leased %s", c.Name, got)
	}
	if got := c.six("web", "sixteen octets 2"); got == addr("fd77::10") {
		c.t.Errorf("%s was leased %s", c.Name, got)
	}
	c.finds("web.netctl", "10.77.0.10", "fd77::10")
}

// TestReserved holds that an address from a range is not leased when it is a
// host's, though it is the only one.
func TestReserved(t *testing.T) {
	s := newSite(t, 1)
	b := known(dhcp.Host{MAC: "02:00:00:00:00:01", V4: addr("10.77.0.40"), V6: addr("fd77::40")})
	hosts := b.service
	b.service = func(d *dhcp.Service) {
		hosts(d)
		d.V4.Ranges, d.V6.Ranges = ranges("10.77.0.40-10.77.0.41"), ranges("fd77::40-fd77::41")
	}
	s.host.apply(world(b))
	s.plug("br0")
	if got := s.clients[0].DHCP4("eth0"); got.Addr != prefix("10.77.0.41/24") {
		t.Errorf("lease %+v", got)
	}
	if got := s.clients[0].six("", ""); got != addr("fd77::41") {
		t.Errorf("leased %s", got)
	}
}

// TestHostWithoutDHCP holds that there are names for addresses that nobody
// leases.
func TestHostWithoutDHCP(t *testing.T) {
	s := newSite(t, 1)
	b := lan
	b.service = func(d *dhcp.Service) {
		d.V4.DHCP, d.V6.DHCP = false, false
		d.Hosts = []dhcp.Host{{MAC: "02:00:00:00:00:01", Name: "ignore", V4: addr("10.77.0.10"), V6: addr("fd77::10")}}
	}
	s.host.apply(world(b))
	s.plug("br0")
	s.clients[0].Addr("eth0", "10.77.0.10/24", "fd77::10/64")
	s.clients[0].finds("ignore.netctl", "10.77.0.10", "fd77::10")
}

// TestHostsAdopt holds that a daemon that starts tells the processes what they
// do not know and nothing else, whatever its predecessor did not get done.
func TestHostsAdopt(t *testing.T) {
	s := newSite(t, 1)
	s.host.apply(world(known()))
	s.plug("br0")
	c := s.clients[0]
	mac := c.mac()
	w := world(known(dhcp.Host{MAC: mac, Name: "ignore", V4: addr("10.77.0.10")}))
	s.host.apply(w)
	pid, dir := s.host.pid("br0"), s.host.dir+"/networks/br0"
	if got := c.DHCP4("eth0"); got.Addr != prefix("10.77.0.10/24") {
		t.Fatalf("lease %+v", got)
	}
	stamp := func() string {
		info, err := os.Stat(dir + "/dnsmasq.hosts")
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime().String()
	}
	before := stamp()
	s.host.restart()
	s.host.apply(w)
	if stamp() != before {
		t.Error("hosts that are as they should be were told again")
	}

	// It ended when the file was there and the process had not been told.
	s.host.kill()
	for name, text := range map[string]string{"hosts": mac + ",10.77.0.20,web\n", "names": "10.77.0.20 web.netctl web\n", "untold": ""} {
		if err := os.WriteFile(dir+"/dnsmasq."+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.host.start()
	w = world(known(dhcp.Host{MAC: mac, Name: "web", V4: addr("10.77.0.20")}))
	if got := s.host.plan(w); !slices.Equal(got, []string{"dnsmasq reload br0"}) {
		t.Errorf("plan %q", got)
	}
	s.host.apply(w)
	if got := c.DHCP4("eth0"); got.Addr != prefix("10.77.0.20/24") {
		t.Errorf("lease %+v", got)
	}

	// The file was lost.
	if err := os.Remove(dir + "/dnsmasq.hosts"); err != nil {
		t.Fatal(err)
	}
	s.host.call("Resync", struct{}{}, nil)
	s.host.apply(w)
	if got := s.host.plan(w); len(got) != 0 {
		t.Errorf("plan %q", got)
	}
	if now := s.host.pid("br0"); now != pid {
		t.Errorf("process %s became %s", pid, now)
	}

	// A host went while neither ran.
	s.leasesAre(addr("10.77.0.20"))
	s.host.kill()
	if err := syscall.Kill(s.host.servers()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.host.start()
	s.host.apply(world(known()))
	s.leasesAre()
}

// TestDeafToRelease holds that leases go though the process does not hear of
// it.
func TestDeafToRelease(t *testing.T) {
	s := newSite(t, 1)
	s.host.apply(world(known()))
	s.plug("br0")
	c := s.clients[0]
	w := world(known(dhcp.Host{MAC: c.mac(), Name: "web", V4: addr("10.77.0.10"), V6: addr("fd77::10")}))
	s.host.apply(w)
	c.DHCP4("eth0")
	c.six("", "")
	s.leasesAre(addr("10.77.0.10"), addr("fd77::10"))
	s.host.Run("nft", "add table inet deaf; add chain inet deaf out { type filter hook input priority -300; }; "+
		"add rule inet deaf out udp dport { 67, 547 } drop")
	s.host.call("Apply", world(known()), nil)
	s.leasesAre()
}

// TestExpect holds that hosts are known before they come, and that none is
// forgotten.
func TestExpect(t *testing.T) {
	s := newSite(t, 2)
	s.host.apply(world(known()))
	s.plug("br0")
	web := dhcp.Host{MAC: s.clients[0].mac(), Name: "web", V4: addr("10.77.0.10")}
	db := dhcp.Host{MAC: s.clients[1].mac(), Name: "db", V4: addr("10.77.0.11")}
	s.host.apply(world(known(db)))
	w := world(known(web))
	s.host.call("Expect", w, nil)
	for i, want := range []string{"10.77.0.10/24", "10.77.0.11/24"} {
		if got := s.clients[i].DHCP4("eth0"); got.Addr != prefix(want) {
			t.Errorf("lease %+v", got)
		}
	}
	s.leasesAre(web.V4, db.V4)
	if got := s.host.plan(w); len(got) != 3 || got[0] != "dnsmasq release br0 10.77.0.11" {
		t.Errorf("plan %q", got)
	}
	s.host.apply(w)
	s.leasesAre(web.V4)
	if got := s.host.plan(w); len(got) != 0 {
		t.Errorf("plan %q", got)
	}
}

// TestManyHosts holds that a network can have a thousand hosts, and that one
// more costs little.
func TestManyHosts(t *testing.T) {
	s := newSite(t, 1)
	var hosts []dhcp.Host
	for i := range 1000 {
		hosts = append(hosts, dhcp.Host{
			MAC: fmt.Sprintf("00:16:3e:00:%02x:%02x", i/256, i%256), Name: fmt.Sprintf("web%d", i),
			V4: addr(fmt.Sprintf("10.77.%d.%d", 4+i/250, 1+i%250)), V6: addr(fmt.Sprintf("fd77::1:%x", i)),
		})
	}
	wide := func(hosts ...dhcp.Host) World {
		b := known(hosts...)
		b.v4 = "10.77.0.1/16"
		return world(b)
	}
	s.host.apply(wide(hosts...))
	s.plug("br0")
	c := s.clients[0]
	pid := s.host.pid("br0")
	hosts = append(hosts, dhcp.Host{MAC: c.mac(), Name: "last", V4: addr("10.77.9.9"), V6: addr("fd77::9")})
	slices.SortFunc(hosts, func(a, b dhcp.Host) int { return strings.Compare(a.MAC, b.MAC) })
	start := time.Now()
	s.host.call("Apply", wide(hosts...), nil)
	took := time.Since(start)
	if got := c.DHCP4("eth0"); got.Addr != prefix("10.77.9.9/16") {
		t.Errorf("lease %+v", got)
	}
	t.Logf("one more host took %s", took)
	if took > time.Second { // some ms are usual, most of them for the message to the agent
		t.Errorf("one more host took %s", took)
	}
	if got := c.six("", ""); got != addr("fd77::9") {
		t.Errorf("leased %s", got)
	}
	c.Addr("eth0", "fd77::9/64")
	c.finds("web999.netctl", "10.77.7.250", "fd77::1:3e7")
	c.finds("last.netctl", "10.77.9.9", "fd77::9")
	s.host.call("Apply", wide(), nil)
	s.leasesAre()
	if now := s.host.pid("br0"); now != pid {
		t.Errorf("process %s became %s", pid, now)
	}
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "ls", "-l", fmt.Sprintf("/proc/%d/fd", n)).Output(); err != nil || strings.Contains(string(out), "inotify") {
		t.Errorf("%v: %s", err, out)
	}
}
