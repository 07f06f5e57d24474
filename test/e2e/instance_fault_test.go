package e2e

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netctl/test/lab"
)

// A watcher prints every change of one kind. The probe makes one and undoes it;
// the last that the watcher says of that is done.
type watcher struct{ what, command, probe, done string }

var watchers = []watcher{
	{"links, addresses and routes", "ip -o monitor link address route", "ip addr add %[1]s/32 dev lo; ip addr del %[1]s/32 dev lo", "Deleted local %s"},
	{"rules", "nft monitor", "nft add table ip probe%[1]s; nft delete table ip probe%[1]s", "delete table ip probe%s"},
	{"queueing", "tc monitor", "tc qdisc replace dev lo root handle %[1]s: pfifo; tc qdisc del dev lo root", "deleted qdisc pfifo %s:"},
}

// quiet runs something and fails the test when meanwhile anything was written
// to the host's links, addresses, routes, queueing or rules.
func (s *site) quiet(what string, happens func()) {
	s.Helper()
	procs, said := make([]*lab.Proc, len(watchers)), make([]string, len(watchers))
	for i, w := range watchers {
		cmd := strings.Fields(w.command)
		procs[i] = s.Host.Start(cmd[0], cmd[1:]...)
		id := 10
		s.Soon("watcher of "+w.what, func() error {
			id++
			sign := fmt.Sprint(id)
			if i == 0 {
				sign = "203.0.113." + sign
			}
			s.Host.Run("sh", "-c", fmt.Sprintf(w.probe, sign))
			for range 50 {
				if said[i] = procs[i].Output(); strings.Contains(said[i], fmt.Sprintf(w.done, sign)) {
					return nil
				}
				time.Sleep(time.Millisecond)
			}
			return fmt.Errorf("it says %q", said[i])
		})
	}
	for i := range watchers { // what came late of the probes of others
		said[i] = procs[i].Output()
	}
	happens()
	for i, w := range watchers {
		procs[i].Signal(syscall.SIGTERM)
		_ = procs[i].Wait(5 * time.Second)
		for line := range strings.Lines(strings.TrimPrefix(procs[i].Output(), said[i])) {
			// Linux also tells everybody when somebody asks for a discipline.
			if !strings.HasPrefix(line, "qdisc ") {
				s.Fatalf("%s: %s were written: %s", what, w.what, line)
			}
		}
	}
}

// Instances run on while the daemon is restarted: nothing is written, the
// router notices nothing, and no packet is lost.
func TestRestartWithInstances(t *testing.T) {
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, r.router, r.v6)
			s.privateNetwork("ipv4.routes.anycast=true", "ipv6.routes.anycast=true")
			web := s.guest("web", append(static("10", vip4+"/32", vip6+"/128"), "limits.max=1Gbit", "security.ipv4_filtering=true", "security.ipv6_filtering=true")...)
			settle(web, "10", vip4+"/32", vip6+"/128")
			s.guest("db", static("11", vip4+"/32", vip6+"/128")...)
			s.Daemon.CLI("instance", "stop", s.Later("db").Full)
			s.WaitRoutes(1, vip4+"/32", vip6+"/128")
			s.reaches(s.Far, vip4)
			s.reaches(s.Far, vip6)
			for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
				since := time.Now()
				ping4, ping6 := s.Ping(s.Far, vip4), s.Ping(s.Far, vip6)
				s.quiet(sig.String(), func() {
					s.Daemon.Restart(sig)
					s.back()
				})
				ping4.Check()
				ping6.Check()
				s.Undisturbed(since, vip4+"/32", vip6+"/128")
			}
		})
	}
}

// What others break under a running instance is repaired, and announced only
// while it is whole.
func TestInstanceFaults(t *testing.T) {
	t.Parallel()
	s := newSite(t, frr, false)
	s.privateNetwork()
	web := s.guest("web", append(static("10", vip4+"/32"), "host_name=vethweb")...)
	s.WaitRoutes(1, vip4+"/32")
	for _, tt := range []struct{ what, cmd string }{
		{"the veth is deleted", "ip link delete vethweb"},
		{"the veth is down", "ip link set vethweb down"},
		{"the veth is no port", "ip link set vethweb nomaster"},
		{"the bridge is deleted", "ip link delete br0"},
		{"the namespace is deleted", "ip netns delete " + web.Full},
	} {
		s.Logf("%s", tt.what)
		s.Host.Run("sh", "-c", tt.cmd)
		s.Soon("the repair", func() error {
			out, err := web.Try("ip", "link", "show", "eth0", "up")
			return cmp.Or(err, lab.Expect(out != "", "eth0 is down"))
		})
		settle(web, "10", vip4+"/32")
		s.reaches(s.Far, vip4)
		s.WaitRoutes(1, vip4+"/32")
		s.Daemon.Settled()
	}

	// A tap that is deleted comes back, for a virtual machine to open it.
	vm := s.Later("vm")
	s.Daemon.CLI("instance", "create", vm.Full, "--vm", "--start", "--nic", "network=br0,host_name=tapvm")
	s.Host.Run("ip", "link", "delete", "tapvm")
	s.Soon("the tap", func() error {
		_, err := s.Host.Try("ip", "link", "show", "tapvm")
		return err
	})
}

// What cannot be is refused, with the name of who is in the way.
func TestInstanceConflicts(t *testing.T) {
	t.Parallel()
	s := newSite(t, frr, false)
	s.privateNetwork()
	web := s.guest("web", append(static("10", vip4+"/32"), "hwaddr=00:16:3e:00:00:01", "host_name=vethweb")...)
	s.Host.Run("ip", "link", "add", "foreign", "type", "veth", "peer", "name", "foreign2")
	db := s.Later("db").Full
	for nic, want := range map[string]string{
		"ipv4.address=10.1.0.10":                 web.Full,
		"ipv6.address=fd42:1::10":                web.Full,
		"hwaddr=00:16:3e:00:00:01":               web.Full,
		"host_name=vethweb":                      web.Full,
		"host_name=foreign":                      "exists on this host and is not netctl's",
		"ipv4.routes.external=" + vip4 + "/32":   web.Full,
		"ipv4.routes=198.51.100.0/24":            web.Full,
		"ipv4.address=10.2.0.10":                 "not inside the subnet 10.1.0.0/24",
		"ipv4.address=10.1.0.1":                  "10.1.0.1",
		"ipv4.address=10.1.0.255":                "10.1.0.255",
		"security.ipv4_filtering=true":           "needs ipv4.address",
		"ipv4.address=10.1.0.20,network=nowhere": "there is no such network",
	} {
		if !strings.Contains(nic, "network=") {
			nic = "network=br0," + nic
		}
		out, err := s.Daemon.TryCLI("instance", "create", db, "--nic", nic, "--start")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s, %v; want an error that names %s", nic, out, err, want)
		}
	}
	if out, err := s.Daemon.TryCLI("instance", "create", web.Full); err == nil {
		t.Errorf("a second one of the name: %s", out)
	}
	if out := s.Daemon.CLI("instance", "list", "-f", "csv"); strings.Contains(out, db) {
		t.Errorf("%s", out)
	}
}

// reboot ends the daemon, leaves of the host what a reboot does, and starts
// the daemon in another boot.
func (s *site) reboot(id string, namespaces ...*lab.NS) {
	s.Helper()
	s.Daemon.Stop(syscall.SIGKILL)
	for _, cmd := range []string{
		"kill -9 $(cat " + s.Daemon.Dir + "/networks/*/dnsmasq.pid)",
		"for l in $(ip -o link show | sed -n 's/^[0-9]*: \\([^@:]*\\).*alias netctl:.*/\\1/p'); do ip link delete $l; done",
		"ip link delete br0", "nft flush ruleset", "ip route flush proto 213",
	} {
		_, _ = s.Host.Try("sh", "-c", cmd)
	}
	for _, ns := range namespaces {
		_, _ = s.Host.Try("ip", "netns", "delete", ns.Full)
	}
	boot := filepath.Join(s.Dir, "boot_id")
	if err := os.WriteFile(boot, []byte(id+"\n"), 0o600); err != nil {
		s.Fatalf("%v", err)
	}
	s.Daemon.Wrap = []string{
		"unshare", "--mount", "--propagation", "unchanged", "sh", "-c",
		`mount --make-private /proc && mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"`, "sh", boot,
	}
	s.Daemon.Start()
	s.Daemon.WaitReady()
}

// After the host was rebooted those instances run that are to, and the others
// do not; a restart of the daemon does not count as one.
func TestReboot(t *testing.T) {
	t.Parallel()
	s := newSite(t, frr, false)
	s.privateNetwork()
	web := s.guest("web", static("10", vip4+"/32")...)
	db := s.guest("db", static("11", "198.51.100.8/32")...)
	s.Daemon.CLI("instance", "set", web.Full, "boot.autostart=true")
	s.WaitRoutes(1, vip4+"/32", "198.51.100.8/32")
	s.reboot("00000000-0000-4000-8000-000000000001", web, db)
	s.WaitRoutes(1, vip4+"/32")
	s.WaitRoutes(0, "198.51.100.8/32")
	for ns, want := range map[*lab.NS]string{web: "Running", db: "Stopped"} {
		if i := s.instance(ns); i.Status != want {
			t.Errorf("%s is %s, want %s", ns.Name, i.Status, want)
		}
	}
	s.Daemon.CLI("instance", "start", db.Full)
	s.Daemon.Restart(syscall.SIGKILL)
	s.WaitRoutes(1, vip4+"/32", "198.51.100.8/32")
}

// A prefix is not announced while somebody else's route is in the place of the
// host's route to it.
func TestTakenRoute(t *testing.T) {
	t.Parallel()
	s := newSite(t, frr, false)
	s.privateNetwork()
	web := s.guest("web", static("10")...)
	since := time.Now()
	taken := vip4 + "/32"
	s.Host.Run("ip", "route", "add", taken, "via", lab.Router4)
	set := []string{"instance", "device", "set", web.Full, "eth0", "ipv4.routes.external=" + taken + ",198.51.100.8/32"}
	if out, err := s.Daemon.TryCLI(set...); err == nil || !strings.Contains(err.Error(), "route to "+taken+" exists and is not ours") {
		t.Errorf("%s, %v", out, err)
	}
	s.WaitRoutes(1, "198.51.100.8/32")
	steady := time.Now()
	s.explained(vip4, "the route to "+taken+" on this host is not netctl's")
	for _, c := range s.Monitor.Changes(since, func(p netip.Prefix) bool { return p.String() == taken }) {
		t.Errorf("the router was told: %s", c)
	}
	s.Host.Run("ip", "route", "del", taken)
	s.WaitRoutes(1, taken)

	s.Host.Run("ip", "route", "replace", taken, "via", lab.Router4)
	s.WaitRoutes(0, taken)
	s.Host.Run("ip", "route", "del", taken)
	s.WaitRoutes(1, taken)
	s.Undisturbed(steady, "198.51.100.8/32")
}
