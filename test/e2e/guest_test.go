package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"netctl/api"
	"netctl/test/lab"
)

// The networks of instances have private subnets and NAT; what is external
// keeps its source.
var (
	private = []string{"ipv4.nat=true", "ipv6.nat=true"}
	vip4    = "198.51.100.7"
	vip6    = "2001:db8:100::7"
)

// privateNetwork makes br0 with private subnets.
func (s *site) privateNetwork(keys ...string) {
	s.Helper()
	s.Network("br0", "10.1.0.1/24", "fd42:1::1/64", append(private, keys...)...)
	s.Established()
}

// guest makes a container with a NIC eth0 on br0, starts it, and returns the
// namespace that it has got.
func (s *site) guest(name string, keys ...string) *lab.NS {
	s.Helper()
	ns := s.Later(name)
	s.Daemon.CLI("instance", "create", ns.Full, "--nic", strings.Join(append([]string{"network=br0"}, keys...), ","), "--start")
	return ns
}

// settle gives a guest its addresses: n is the last number of those of its NIC.
func settle(ns *lab.NS, n string, external ...string) {
	for _, args := range [][]string{
		{"addr", "replace", "10.1.0." + n + "/24", "dev", "eth0"},
		{"addr", "replace", "fd42:1::" + n + "/64", "dev", "eth0", "nodad"},
		{"route", "replace", "default", "via", "10.1.0.1"},
		{"-6", "route", "replace", "default", "via", "fd42:1::1"},
	} {
		ns.Run("ip", args...)
	}
	for _, a := range external {
		args := []string{"addr", "replace", a, "dev", "lo"}
		if strings.Contains(a, ":") {
			args = append(args, "nodad")
		}
		ns.Run("ip", args...)
	}
}

// static are the keys of a NIC with static addresses and external prefixes.
func static(n string, external ...string) []string {
	keys := []string{"ipv4.address=10.1.0." + n, "ipv6.address=fd42:1::" + n}
	for _, p := range external {
		v := "4"
		if strings.Contains(p, ":") {
			v = "6"
		}
		keys = append(keys, "ipv"+v+".routes.external="+p)
	}
	return keys
}

// instance returns an instance as the API shows it.
func (s *site) instance(ns *lab.NS) api.Instance {
	s.Helper()
	var reply struct{ Metadata api.Instance }
	if err := json.Unmarshal([]byte(s.Daemon.Get("/1.0/instances/"+ns.Full)), &reply); err != nil {
		s.Fatalf("%v", err)
	}
	return reply.Metadata
}

// sees fails the test unless a ping from a source arrives at the remote host
// with the source that it should have there.
func (s *site) sees(from *lab.NS, source, to, want string) {
	s.Helper()
	dump := s.Far.Start("tcpdump", "-n", "-l", "-c", "1", "-i", "eth0", "icmp[icmptype] == icmp-echo or (icmp6 and ip6[40] == 128)")
	s.Soon(from.Name+" is seen as "+want, func() error {
		_, err := from.Try("ping", "-n", "-c1", "-W1", "-I", source, to)
		return errors.Join(err, lab.Expect(dump.Exited(), "nothing captured yet: %s", dump.Output()))
	})
	if !strings.Contains(dump.Output(), want+" > ") {
		s.Fatalf("%s pings from %s and is seen as %s", from.Name, source, dump.Output())
	}
}

// The external addresses of an instance reach the router with its start,
// packets go both ways through a network with NAT, and all of it goes with its
// stop; nothing is left of one that is deleted.
func TestExternalRoutes(t *testing.T) {
	for _, r := range routers[:2] {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, r.router, r.v6)
			s.privateNetwork()
			web := s.guest("web", static("10", vip4+"/32", vip6+"/128")...)
			s.WaitRoutes(1, vip4+"/32", vip6+"/128")
			settle(web, "10", vip4+"/32", vip6+"/128")
			for _, vip := range []string{vip4, vip6} {
				s.reaches(s.Far, vip)
			}
			s.sees(web, vip4, lab.Far4, vip4)
			s.sees(web, vip6, lab.Far6, vip6)
			s.sees(web, "10.1.0.10", lab.Far4, lab.Host4)
			s.sees(web, "fd42:1::10", lab.Far6, lab.Host6)

			out := s.Daemon.CLI("bgp", "explain", vip4)
			for _, want := range []string{web.Full, "eth0", "ipv4.routes.external", s.RouterAddr()} {
				if !strings.Contains(out, want) {
					t.Errorf("explain does not name %s:\n%s", want, out)
				}
			}

			s.Daemon.CLI("instance", "stop", web.Full)
			s.WaitRoutes(0, vip4+"/32", vip6+"/128")
			if _, err := s.Far.Try("ping", "-n", "-c1", "-W1", vip4); err == nil {
				t.Error("an instance that is stopped answers")
			}
			s.Daemon.CLI("instance", "start", web.Full)
			s.WaitRoutes(1, vip4+"/32", vip6+"/128")
			settle(web, "10", vip4+"/32", vip6+"/128")
			s.reaches(s.Far, vip4)

			s.Daemon.CLI("instance", "delete", web.Full, "--force")
			s.WaitRoutes(0, vip4+"/32", vip6+"/128")
			s.left(web)
		})
	}
}

// A change of what is routed to a running instance touches those prefixes only,
// and a next hop of the network is that of what is behind its instances too: it
// replaces the one before without a withdrawal.
func TestExternalChanges(t *testing.T) {
	for _, r := range routers[:2] {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, r.router, r.v6)
			s.privateNetwork()
			web := s.guest("web", static("10", vip4+"/32", vip6+"/128")...)
			s.WaitRoutes(1, vip4+"/32", vip6+"/128")
			since := time.Now()
			for _, tt := range []struct{ routes, come, gone string }{
				{vip4 + "/32,198.51.100.8/32,198.51.101.0/24", "198.51.100.8/32", "198.51.100.9/32"},
				{vip4 + "/32,198.51.100.9/32", "198.51.100.9/32", "198.51.100.8/32"},
				{vip4 + "/32", vip4 + "/32", "198.51.100.9/32"},
			} {
				s.Daemon.CLI("instance", "device", "set", web.Full, "eth0", "ipv4.routes.external="+tt.routes)
				s.WaitRoutes(1, tt.come)
				s.WaitRoutes(0, tt.gone)
			}
			s.Undisturbed(since, vip4+"/32", vip6+"/128")

			s.Daemon.CLI("network", "set", "br0", "bgp.ipv4.nexthop=192.0.2.77", "bgp.ipv6.nexthop=2001:db8::77")
			s.gateway(vip4+"/32", "192.0.2.77")
			s.gateway(vip6+"/128", "2001:db8::77")
			vips := func(p netip.Prefix) bool { return p.Addr().String() == vip4 || p.Addr().String() == vip6 }
			for _, c := range s.Monitor.Withdrawn(since, vips) {
				t.Errorf("a new next hop withdrew a prefix: %s", c)
			}
		})
	}
}

// left fails the test when anything of an instance is left on the host.
func (s *site) left(ns *lab.NS) {
	s.Helper()
	for what, cmd := range map[string]string{
		"links": "ip -o -d link show | grep -F " + ns.Full + "/", "namespace": "ls /run/netns | grep -x " + ns.Full,
		"names and leases": "grep -rsF " + ns.Full + " " + s.Daemon.Dir + "/networks", "routes": "ip route show proto 213; ip -6 route show proto 213",
	} {
		if out, _ := s.Host.Try("sh", "-c", cmd); out != "" {
			s.Fatalf("%s are left of %s: %s", what, ns.Name, out)
		}
	}
}

// A client in the namespace of an instance gets the lease that is the
// instance's, and others find it by name.
func TestInstanceLease(t *testing.T) {
	t.Parallel()
	s := newSite(t, frr, false)
	s.privateNetwork()
	web, db := s.guest("web", "ipv4.address=10.1.0.10"), s.guest("db")
	if a := s.lease(web); a.String() != "10.1.0.10" {
		t.Errorf("web leased %s", a)
	}
	a := s.lease(db)
	s.Soon("both leases", func() error {
		l := s.leases("br0")
		return lab.Expect(l["10.1.0.10"].Hostname == web.Full && l[a.String()].Hostname == db.Full, "%+v", l)
	})
	for ns, want := range map[*lab.NS]string{web: "10.1.0.10", db: a.String()} {
		if out := db.Run("busybox", "nslookup", "-type=a", ns.Full+".netctl", "10.1.0.1"); !strings.Contains(out, want) {
			t.Errorf("%s is %s", ns.Name, out)
		}
	}
	// The address of one that is deleted can be had at once.
	s.Daemon.CLI("instance", "delete", db.Full, "--force")
	s.left(db)
	mail := s.guest("mail", "ipv4.address="+a.String())
	if got := s.lease(mail); got != a {
		t.Errorf("mail leased %s, not %s", got, a)
	}
}

// Virtual machines boot from the network through their tap, and their external
// address is announced only while something has the tap open.
func TestVirtualMachine(t *testing.T) {
	t.Parallel()
	s := newSite(t, frr, false)
	s.privateNetwork()
	vm := s.Later("vm")
	const mac = "00:16:3e:00:00:77"
	s.Daemon.CLI("instance", "create", vm.Full, "--vm", "--nic",
		"network=br0,hwaddr="+mac+",host_name=tapvm,ipv4.routes.external="+vip4+"/32", "--start")
	s.Soon("the reason why nothing is announced", func() error {
		out := s.Daemon.CLI("bgp", "explain", vip4)
		return lab.Expect(strings.Contains(out, "nothing has the tap open"), "%s", out)
	})
	for range 2 {
		s.WaitRoutes(0, vip4+"/32")
		qemu := s.Host.QEMU("tapvm", mac)
		s.WaitRoutes(1, vip4+"/32")
		var leased netip.Addr
		s.Eventually(time.Minute, "a lease", func() error {
			for _, l := range s.leases("br0") {
				if l.Hwaddr == mac && l.Type == "dynamic" {
					leased = netip.MustParseAddr(l.Address)
					return lab.Expect(l.Hostname == vm.Full, "%+v", l)
				}
			}
			return fmt.Errorf("%s", qemu.Output())
		})
		s.reaches(s.Host, leased.String())
		qemu.Signal(syscall.SIGKILL)
	}
	s.WaitRoutes(0, vip4+"/32")
}

// A namespace that others made is used while it exists. When it goes without a
// stop, so do the routes; the instance can be started again in another.
func TestForeignNamespace(t *testing.T) {
	t.Parallel()
	s := newSite(t, frr, false)
	s.privateNetwork()
	web := s.Later("web")
	s.Daemon.CLI("instance", "create", web.Full, "--nic", "network=br0,"+strings.Join(static("10", vip4+"/32"), ","))
	for range 2 {
		// As podman and others do: a process in a namespace without a name.
		pod := s.Host.Start("unshare", "--net", "sleep", "1000")
		pid := fmt.Sprint(pod.Cmd.Process.Pid) // unshare becomes the sleep
		s.Soon("a namespace", func() error {
			there, err := s.Host.Try("readlink", "/proc/"+pid+"/ns/net")
			here := s.Host.Run("readlink", "/proc/self/ns/net")
			return errors.Join(err, lab.Expect(there != here, "none yet"))
		})
		s.Daemon.CLI("instance", "start", web.Full, "--pid", pid)
		s.WaitRoutes(1, vip4+"/32")
		for _, cmd := range []string{"addr add 10.1.0.10/24 dev eth0", "route add default via 10.1.0.1", "addr add " + vip4 + "/32 dev lo", "link set lo up"} {
			s.Host.Run("sh", "-c", "nsenter --target "+pid+" --net ip "+cmd)
		}
		s.reaches(s.Far, vip4)
		pod.Signal(syscall.SIGKILL)
		s.WaitRoutes(0, vip4+"/32")
		s.Soon("an error", func() error {
			i := s.instance(web)
			return lab.Expect(i.Status == "Error" && i.StatusMessage != "", "%+v", i)
		})
		s.Daemon.CLI("instance", "stop", web.Full)
	}

	other := s.NS("other")
	if found := s.Daemon.CLI("__complete", "instance", "start", web.Full, "--netns", ""); !strings.Contains(found, other.Full+"\n") {
		t.Errorf("the tab key does not find the namespace %s: %s", other.Full, found)
	}
	s.Daemon.CLI("instance", "start", web.Full, "--netns", other.Full)
	s.WaitRoutes(1, vip4+"/32")
	settle(other, "10", vip4+"/32")
	s.reaches(s.Far, vip4)
	s.Host.Run("ip", "netns", "delete", other.Full)
	s.WaitRoutes(0, vip4+"/32")
	s.Daemon.CLI("instance", "stop", web.Full)
	if i := s.instance(web); i.Status != "Stopped" {
		t.Errorf("%+v", i)
	}
}
