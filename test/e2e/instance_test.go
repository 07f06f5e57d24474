package e2e

import (
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netctl/api"
	"netctl/test/lab"
)

// container makes an instance on br0 with an external route of each family and
// starts it. It returns its name and its network namespace.
func (s *site) container(name string, nic ...string) (string, *lab.NS) {
	s.Helper()
	full := s.Instance(name)
	s.Daemon.CLI("instance", "create", full, "--start", "--nic", strings.Join(append([]string{"network=br0"}, nic...), ","))
	return full, &lab.NS{Lab: s.Lab, Name: name, Full: full}
}

// told reports whether the daemon has announced a prefix.
func (s *site) told(prefix string) bool {
	s.Helper()
	var e struct{ Metadata []api.BGPRoute }
	if err := json.Unmarshal([]byte(s.Daemon.Get("/1.0/bgp/routes")), &e); err != nil {
		s.Fatalf("routes: %v", err)
	}
	return slices.ContainsFunc(e.Metadata, func(r api.BGPRoute) bool { return r.Prefix == prefix && r.State == api.RouteAnnounced })
}

// openTap opens a tap as a hypervisor does, until it is closed.
func (s *site) openTap(name string) *os.File {
	s.Helper()
	var fd int
	var err error
	s.Host.Do(func() {
		var ifr *unix.Ifreq
		if ifr, err = unix.NewIfreq(name); err != nil {
			return
		}
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return
		}
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	})
	if err != nil {
		s.Fatalf("open %s: %v", name, err)
	}
	return os.NewFile(uintptr(fd), name)
}

// An instance's external addresses are reached from behind the router as long
// as it runs, and only then.
func TestInstanceRoutes(t *testing.T) {
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, r.router, r.v6)
			s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64", "ipv6.dhcp.stateful=true")
			s.Established()
			s.WaitRoutes(1, subnet4, subnet6)
			since := time.Now()

			name, web := s.container("web", "ipv4.address=198.51.100.10", "ipv4.routes.external=198.18.0.7/32",
				"ipv6.address=2001:db8:100::10", "ipv6.routes.external=2001:db8:7::/64")
			if !s.told("198.18.0.7/32") || !s.told("2001:db8:7::/64") {
				t.Error("the command was over before the routes were announced")
			}
			s.WaitRoutes(1, "198.18.0.7/32", "2001:db8:7::/64")
			web.Addr("eth0", "198.51.100.10/24", "198.18.0.7/32", "2001:db8:100::10/64", "2001:db8:7::1/128")
			web.Run("ip", "route", "add", "default", "via", "198.51.100.1")
			web.Run("ip", "-6", "route", "add", "default", "via", "2001:db8:100::1")
			for _, addr := range []string{"198.18.0.7", "2001:db8:7::1"} {
				s.Soon(addr+" answers", func() error { return s.Far.Ping(netip.MustParseAddr(addr)) })
			}

			if info := s.Daemon.CLI("instance", "info", name); strings.Contains(info, "Packets received: 0\n") || strings.Contains(info, "Packets sent:     0\n") {
				t.Errorf("nothing is counted of what was answered:\n%s", info)
			}

			// A crash of the daemon is not noticed.
			s.Daemon.Restart(syscall.SIGKILL)
			s.Established()
			for _, c := range s.Monitor.Withdrawn(since, nil) {
				t.Errorf("a restart withdrew a prefix: %s", c)
			}
			if err := s.Far.Ping(netip.MustParseAddr("198.18.0.7")); err != nil {
				t.Errorf("after a restart: %v", err)
			}

			// One route changes and the others stay.
			changed := time.Now()
			s.Daemon.CLI("instance", "device", "set", name, "eth0", "ipv4.routes.external=198.18.0.8/32")
			s.WaitRoutes(0, "198.18.0.7/32")
			s.WaitRoutes(1, "198.18.0.8/32")
			s.Undisturbed(changed, subnet4, subnet6, "2001:db8:7::/64")

			s.Daemon.CLI("instance", "stop", name)
			if s.told("198.18.0.8/32") {
				t.Error("the command was over before the routes were withdrawn")
			}
			s.WaitRoutes(0, "198.18.0.8/32", "2001:db8:7::/64")
			s.Undisturbed(since, subnet4, subnet6)
			s.Daemon.CLI("instance", "delete", name)
			s.Daemon.CLI("network", "delete", "br0")
		})
	}
}

// The routes of a virtual machine are announced while something has its tap
// open, which nobody waits for.
func TestTapRoutes(t *testing.T) {
	s := newSite(t, bird, false)
	s.Network("br0", "198.51.100.1/24", "none")
	s.Established()
	name := s.Instance("vm")
	s.Daemon.CLI("instance", "create", name, "--vm", "--start", "--nic", "network=br0,host_name=vmtap,ipv4.routes.external=198.18.0.7/32")
	s.WaitRoutes(1, subnet4)
	s.Daemon.CLI("network", "set", "br0", "user.x=1") // waits until all that it can wait for is done
	if s.told("198.18.0.7/32") {
		t.Error("announced with nothing behind the tap")
	}
	for range 2 {
		tap := s.openTap("vmtap")
		s.WaitRoutes(1, "198.18.0.7/32")
		tap.Close()
		s.WaitRoutes(0, "198.18.0.7/32")
	}
}
