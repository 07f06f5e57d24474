package dataplane_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netctl/network/dhcp"
	"netctl/network/link"
	"netctl/test/lab"
)

// servers returns the processes whose configuration is below a host's
// directory.
func (h *host) servers() []int {
	h.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		h.t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && strings.HasPrefix(string(b), "dnsmasq\x00") || err == nil && strings.Contains(string(b), "/dnsmasq\x00") {
			if strings.Contains(string(b), h.dir+"/networks/") {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// TestAdopt holds that a dnsmasq outlives the daemon and is taken over, with
// its leases, and replaced only when its configuration changes.
func TestAdopt(t *testing.T) {
	s := newSite(t, 1)
	w := world(lan)
	s.host.apply(w)
	s.plug("br0")
	v4, _ := s.lease(netip.Prefix{})
	pid := s.host.pid("br0")
	same := func(what string, want bool) {
		t.Helper()
		if got := s.host.pid("br0"); (got == pid) != want {
			t.Errorf("%s: process %s became %s", what, pid, got)
		}
		if n := len(s.host.servers()); n != 1 {
			t.Errorf("%s: %d processes", what, n)
		}
		pid = s.host.pid("br0")
		var leases []dhcp.Lease
		if s.host.call("Leases", "br0", &leases); len(leases) != 1 || leases[0].Addr != v4[0].Addr.Addr() {
			t.Errorf("%s: leases %v", what, leases)
		}
	}
	s.host.apply(w)
	same("nothing changed", true)
	s.host.restart()
	s.host.apply(w)
	same("the daemon was killed", true)
	s.host.call("Resync", struct{}{}, nil)
	s.host.apply(w)
	same("a resync", true)

	b := lan
	b.service = func(d *dhcp.Service) { d.Domain = "other" }
	w = world(b)
	s.host.apply(w)
	same("another domain", false)
	if again := s.clients[0].DHCP4("eth0"); again.Addr != v4[0].Addr || again.Domain != "other" {
		t.Errorf("lease %+v, was %+v", again, v4[0])
	}
	s.host.kill()
	if err := syscall.Kill(s.host.servers()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.host.start()
	s.host.apply(w)
	same("the dnsmasq died while the daemon was away", false)

	// What it would refuse does not stop the one that runs.
	b.service = func(d *dhcp.Service) { d.Raw = "dhcp-range=nonsense" }
	err := s.host.try("Apply", world(b), nil)
	if err == nil || !strings.Contains(err.Error(), "network br0: dnsmasq: exit status 1: bad dhcp-range at line") {
		t.Errorf("err = %v", err)
	}
	same("a configuration that is refused", true)
	s.host.apply(w)
	same("the former configuration", true)

	// A lease file with garbage in it is no obstacle.
	leases := s.host.dir + "/networks/br0/dnsmasq.leases"
	text, err := os.ReadFile(leases)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(leases, append([]byte("garbage\n\x00\xff one two three four five\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.host.servers()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.host.call("Changed", "dhcp", nil)
	s.host.apply(w)
	same("a lease file with garbage", false)

	// Switched off it is gone, its leases too.
	w.DHCP = nil
	s.host.apply(w)
	if pids := s.host.servers(); len(pids) != 0 {
		t.Errorf("processes %v", pids)
	}
	if files, err := filepath.Glob(s.host.dir + "/networks/*"); err != nil || len(files) != 0 {
		t.Errorf("files %v, err %v", files, err)
	}
}

// TestStrayServers holds that of processes that interrupted starts have left
// one remains, whatever they are.
func TestStrayServers(t *testing.T) {
	h := newBare(t)
	w := world(lan)
	h.apply(w)
	confs, err := filepath.Glob(h.dir + "/networks/br0/dnsmasq-*.conf")
	if err != nil || len(confs) != 1 {
		t.Fatalf("%v, %v", confs, err)
	}
	text, err := os.ReadFile(confs[0])
	if err != nil {
		t.Fatal(err)
	}
	// One with the configuration of before, in the way of the real one; one
	// of a network that is not wanted any more.
	old := h.dir + "/networks/br0/dnsmasq-0123456789abcdef.conf"
	text = regexp.MustCompile(`pid-file=.*`).ReplaceAll(text, nil)
	text = regexp.MustCompile(`(?m)^(domain|local|interface-name|listen-address).*`).ReplaceAll(text, nil)
	if err := os.WriteFile(old, append(text, []byte("\nport=0\n")...), 0o600); err != nil {
		t.Fatal(err)
	}
	gone := h.dir + "/networks/br5/dnsmasq-0123456789abcdef.conf"
	if err := os.MkdirAll(filepath.Dir(gone), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(gone, []byte("port=0\nno-resolv\npid-file=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Run("dnsmasq", "--conf-file="+old)
	h.Run("dnsmasq", "--conf-file="+gone)
	if n := len(h.servers()); n != 3 {
		t.Fatalf("%d processes", n)
	}
	h.restart()
	h.apply(w)
	if n := len(h.servers()); n != 1 {
		t.Errorf("%d processes", n)
	}
	files, err := filepath.Glob(h.dir + "/networks/*/*.conf")
	if err != nil || len(files) != 1 || files[0] != confs[0] {
		t.Errorf("files %v, want %v", files, confs)
	}

	// One in another namespace serves nobody here.
	other := lab.New(t).NS("other")
	pid := h.pid("br0")
	if err := syscall.Kill(h.servers()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	other.Run("ip", "link", "add", "br0", "type", "bridge")
	other.Addr("br0", "10.77.0.1/24", "fd77::1/64")
	other.Run("ip", "link", "set", "br0", "up")
	other.Run("dnsmasq", "--conf-file="+confs[0])
	h.restart()
	h.apply(w)
	pids := h.servers()
	if len(pids) != 1 || fmt.Sprint(pids[0]) != h.pid("br0") || h.pid("br0") == pid {
		t.Errorf("processes %v, %s by its file", pids, h.pid("br0"))
	}
}

// TestManyServers holds that a host can have more of them than it has inotify
// instances, that they start together, and that they sleep while other
// networks change.
func TestManyServers(t *testing.T) {
	h := newBare(t)
	const n = 150
	var bridges []bridge
	for i := range n {
		bridges = append(bridges, bridge{name: fmt.Sprintf("br%03d", i), v4: fmt.Sprintf("10.100.%d.1/24", i), v6: fmt.Sprintf("fd%02x::1/64", i)})
	}
	w := world(bridges...)
	h.apply(w)
	pids := h.servers()
	if len(pids) != n {
		t.Fatalf("%d processes, want %d", len(pids), n)
	}
	for _, pid := range pids {
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil || len(fds) == 0 {
			t.Fatalf("descriptors %v, %v", fds, err)
		}
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.Contains(to, "inotify") {
				t.Fatalf("process %d: %s is %s", pid, fd, to)
			}
		}
	}
	// The first seconds have router advertisements, and the addresses of all
	// the bridges that came up.
	switches := func() (sum int) {
		for _, pid := range pids {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(b)) {
				if v, ok := strings.CutPrefix(line, "voluntary_ctxt_switches:"); ok {
					c, err := strconv.Atoi(strings.TrimSpace(v))
					if err != nil {
						t.Fatal(err)
					}
					sum += c
				}
			}
		}
		return sum
	}
	const changes = 40
	before := switches()
	for i := range changes {
		h.Addr("lo", fmt.Sprintf("192.0.2.%d/32", i), fmt.Sprintf("2001:db8::%x/128", i))
	}
	// A process that follows them all wakes up for each of the addresses.
	if woken := switches() - before; woken > n*changes/2 {
		t.Errorf("%d processes woke up %d times for %d changes elsewhere", n, woken, changes)
	}
	start := time.Now()
	bridges[7].service = func(d *dhcp.Service) { d.Domain = "other" }
	h.call("Apply", world(bridges...), nil)
	t.Logf("one change among %d: %s", n, time.Since(start))
	after := h.servers()
	gone := slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { return slices.Contains(after, pid) })
	if len(after) != n || len(gone) != 1 {
		t.Errorf("%d processes, of those before %v are gone", len(after), gone)
	}
}

// TestBridgeAgain holds that a dnsmasq serves a bridge of the same name that
// was made anew.
func TestBridgeAgain(t *testing.T) {
	s := newSite(t, 1)
	w := world(lan)
	s.host.apply(w)
	s.plug("br0")
	first, _ := s.lease(netip.Prefix{})
	pid := s.host.pid("br0")
	s.host.Run("ip", "link", "del", "br0")
	s.host.apply(w)
	if s.host.pid("br0") == pid {
		t.Error("the sockets of the old bridge are kept")
	}
	s.host.Run("ip", "link", "set", "vc1", "master", "br0")
	s.clients[0].Run("ip", "addr", "flush", "dev", "eth0")
	if again := s.clients[0].DHCP4("eth0"); again.Addr != first[0].Addr {
		t.Errorf("lease %+v, was %+v", again, first[0])
	}
}

// TestConfigurations holds that dnsmasq understands every configuration that
// the pure tests hold.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../network/dhcp/testdata/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		out, err := exec.CommandContext(t.Context(), "dnsmasq", "--test", "--conf-file="+f).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", f, err, out)
		}
	}
}

// TestServes holds which of the many ways of IPv6 start at all, for prefixes
// of every length.
func TestServes(t *testing.T) {
	h := newBare(t)
	var bridges []bridge
	for i, bits := range []int{48, 56, 63, 64, 65, 96, 112, 126, 127} {
		for j, change := range []func(*dhcp.Service){
			func(*dhcp.Service) {},
			func(d *dhcp.Service) { d.V6.Stateful = true },
			func(d *dhcp.Service) { d.V6.DHCP = false },
			func(d *dhcp.Service) { d.V6.NoRouter, d.V6.Expiry = true, 0 },
		} {
			bridges = append(bridges, bridge{
				name: fmt.Sprintf("b%dx%d", bits, j), v6: fmt.Sprintf("fd%02x:%x:0:5::1/%d", i+1, j, bits), service: change,
			})
		}
	}
	for i, bits := range []int{8, 16, 24, 30, 31, 32} {
		bridges = append(bridges, bridge{name: fmt.Sprintf("c%d", bits), v4: fmt.Sprintf("%d.0.0.1/%d", 10+i, bits)})
	}
	w := world(bridges...)
	w.Firewall.Networks = nil
	h.apply(w)
	want := 0
	for _, d := range w.DHCP {
		if d.Offers() {
			want++
		}
	}
	if n := len(h.servers()); n != want {
		t.Errorf("%d processes, want %d", n, want)
	}
}

// TestUnknownBridge holds that a service without its bridge is an error that
// names it, and that the others are served.
func TestUnknownBridge(t *testing.T) {
	h := newBare(t)
	w := world(lan, bridge{name: "br1", v4: "10.78.0.1/24"})
	w.Link.Links = append([]*link.Link{}, w.Link.Links[0])
	err := h.try("Apply", w, nil)
	if err == nil || !strings.Contains(err.Error(), "network br1: dnsmasq: interface br1 does not exist") {
		t.Errorf("err = %v", err)
	}
	if n := len(h.servers()); n != 1 {
		t.Errorf("%d processes", n)
	}
}
