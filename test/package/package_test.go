// Package deb tests the Debian package: it is installed, upgraded and removed
// on machines that systemd runs on, next to a real router.
package deb

import (
	"debug/elf"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"netctl/test/lab"
)

func TestMain(m *testing.M) {
	code := m.Run()
	lab.RemoveBinaries()
	os.Exit(code)
}

// Versions of the package.
const (
	oldVersion = "1.0.0"
	newVersion = "1.0.0-7-gabcdef12" // as git describes the seventh commit after it
)

// build returns the package of a version.
func build(t *testing.T, version string) string {
	t.Helper()
	file, err := lab.Deb(version)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

var (
	prefixes  = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:100::/64")}
	machineIP = netip.MustParseAddr("192.0.2.2")
)

// A site is a machine with a router beside it.
type site struct {
	*lab.Machine
	router  *lab.BIRD
	monitor *lab.Monitor
}

func newSite(t *testing.T) *site {
	t.Helper()
	l := lab.New(t, "curl", "unshare", "dpkg")
	host, r := l.NS("host"), l.NS("router")
	l.Link(host, "eth0", r, "eth0")
	host.Addr("eth0", "192.0.2.2/24", "2001:db8::2/64")
	r.Addr("eth0", "192.0.2.1/24", "2001:db8::1/64")
	s := &site{router: lab.NewBIRD(r, lab.RouterConfig{
		ASN: 65000, ID: netip.MustParseAddr("192.0.2.1"), Peers: []lab.RouterPeer{{Addr: machineIP, ASN: 65001}},
	})}
	s.router.Start()
	s.monitor = lab.MonitorRouter(s.router)
	s.Machine = host.Machine()
	return s
}

// install installs a package from a file.
func (s *site) install(file string) {
	s.Lab.Helper()
	name := filepath.Base(file)
	if err := os.Link(file, filepath.Join(s.Share, name)); err != nil {
		s.Lab.Fatalf("%v", err)
	}
	s.Run("dpkg", "--force-unsafe-io", "--install", "/srv/"+name)
}

// pid returns the number of the daemon's process.
func (s *site) pid() int {
	s.Lab.Helper()
	n, err := strconv.Atoi(s.Run("systemctl", "show", "--property=MainPID", "--value", "netctld.service"))
	if err != nil || n == 0 {
		s.Lab.Fatalf("netctld has no process: %v", err)
	}
	return n
}

// wait waits until a command on the machine succeeds.
func (s *site) wait(name string, args ...string) {
	s.Lab.Helper()
	s.Lab.Eventually(time.Minute, name+" "+strings.Join(args, " "), func() error {
		_, err := s.Try(name, args...)
		return err
	})
}

// announce makes a network that the router hears of.
func (s *site) announce() {
	s.Lab.Helper()
	s.Run("netctl", "config", "set", "core.bgp_asn=65001", "core.bgp_address=:179")
	s.Run("netctl", "network", "create", "br0", "ipv4.address=198.51.100.1/24", "ipv6.address=2001:db8:100::1/64",
		"bgp.peers.tor.address=192.0.2.1", "bgp.peers.tor.asn=65000")
	s.known()
}

// known waits until the router has the routes of the machine, over a session
// that is up.
func (s *site) known() {
	s.Lab.Helper()
	lab.WaitSession(s.router, machineIP, 30*time.Second)
	lab.WaitKernel(s.router, 1, 30*time.Second, prefixes...)
}

func expect(cond bool, format string, args ...any) error {
	if cond {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// undisturbed fails the test when the router has dropped or changed a route
// since a time.
func (s *site) undisturbed(since time.Time) {
	s.Lab.Helper()
	ours := func(p netip.Prefix) bool { return slices.Contains(prefixes, p) }
	for _, c := range s.monitor.Changes(since, ours) {
		if c.Where == lab.InKernel || c.Op == lab.Delete {
			s.Lab.Fatalf("the router noticed: %s", c)
		}
	}
}

// dnsmasq returns the number of the process that serves the network.
func (s *site) dnsmasq() string {
	s.Lab.Helper()
	return s.Run("pgrep", "--full", "dnsmasq.*/var/lib/netctl/networks/br0/")
}

// keeps runs what stops the daemon and waits for another one, and checks that
// neither the router nor dnsmasq has noticed.
func (s *site) keeps(what string, do func()) {
	s.Lab.Helper()
	daemon, served, begin, ends := s.pid(), s.dnsmasq(), time.Now(), s.router.EndOfRIBs()
	do()
	s.Lab.Eventually(time.Minute, "another daemon after "+what, func() error {
		_, err := s.Try("sh", "-c", `pid=$(systemctl show --property=MainPID --value netctld.service) && [ "$pid" -gt 0 ] && [ "$pid" != "$1" ] && netctld waitready`, "sh", strconv.Itoa(daemon))
		return err
	})
	s.known()
	s.Lab.Eventually(30*time.Second, "End-of-RIB after "+what, func() error {
		return expect(s.router.EndOfRIBs() >= ends+2, "%d markers, want %d", s.router.EndOfRIBs(), ends+2)
	})
	s.undisturbed(begin)
	if now := s.dnsmasq(); now != served {
		s.Lab.Fatalf("after %s dnsmasq is process %s, it was %s", what, now, served)
	}
}

func TestInstallAndUpgrade(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.install(build(t, oldVersion))
	checkInstalled(t, s)
	s.announce()

	s.keeps("systemctl restart", func() { s.Run("systemctl", "restart", "netctld.service") })
	s.keeps("a crash", func() { s.Run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "netctld.service") })
	s.keeps("a hang", func() {
		s.Run("sh", "-c", "mkdir -p /etc/systemd/system/netctld.service.d && printf '[Service]\nWatchdogSec=2\nExecStart=\nExecStart=/usr/sbin/netctld --log-level=debug\n' >/etc/systemd/system/netctld.service.d/test.conf")
		s.Run("systemctl", "daemon-reload")
		s.Run("systemctl", "restart", "netctld.service") // systemd reads it at a start
		s.Run("netctld", "waitready")
		s.Run("systemctl", "kill", "--kill-who=main", "--signal=STOP", "netctld.service")
		s.wait("sh", "-c", "journalctl --unit netctld.service | grep 'Watchdog timeout'")
	})
	s.keeps("an upgrade", func() { s.install(build(t, newVersion)) })
	if v := s.Run("dpkg-query", "--show", "--showformat=${Version}", "netctl"); v != "1.0.0+7.gabcdef12" {
		t.Errorf("version %s", v)
	}

	// The unit lets the daemon do everything that it tries, also what it can do
	// without.
	s.Run("netctl", "network", "create", "br1", "ipv6.address=none")
	s.Run("netctl", "instance", "create", "web", "--start", "--nic", "network=br1,limits.max=100Mbit,security.mac_filtering=true")
	s.Run("netctl", "instance", "create", "vm", "--vm", "--start", "--nic", "network=br1,host_name=tapvm")
	s.Run("ip", "-n", "web", "link", "show", "eth0")
	s.Run("ip", "link", "show", "tapvm")
	s.Run("systemctl", "restart", "netctld.service")
	s.Run("netctl", "instance", "delete", "--force", "web", "vm")
	if out, err := s.Try("ip", "netns", "exec", "web", "true"); err == nil {
		t.Errorf("a namespace is left: %s", out)
	}
	s.Run("netctl", "network", "delete", "br1")
	if out, err := s.Try("sh", "-c", "journalctl --unit netctld.service | grep -i -e 'not permitted' -e 'permission denied' -e 'follows every address'"); err == nil {
		t.Errorf("what the unit forbids:\n%s", out)
	}

	// The guard of the host's end does nothing while the host goes on.
	begin := time.Now()
	s.Run("systemctl", "stop", "netctl-shutdown.service")
	s.Run("systemctl", "start", "netctl-shutdown.service")
	s.Run("netctl", "bgp", "peers")
	s.undisturbed(begin)
}

// checkInstalled checks that everything is where it belongs and works there.
func checkInstalled(t *testing.T, s *site) {
	t.Helper()
	for _, unit := range []string{"netctld.service", "netctl-shutdown.service"} {
		s.Run("systemctl", "is-active", unit)
		s.Run("systemctl", "is-enabled", unit)
	}
	if out := s.Run("systemd-analyze", "verify", "netctld.service", "netctl-shutdown.service"); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	if out := s.Run("stat", "--format=%A %U %G", "/var/lib/netctl/unix.socket"); out != "srw-rw---- root netctl" {
		t.Errorf("socket is %s", out)
	}
	if out := s.Run("readlink", "/proc/"+strconv.Itoa(s.pid())+"/exe"); out != "/usr/sbin/netctld" {
		t.Errorf("the daemon runs from %s", out)
	}
	for page, text := range map[string]string{
		"netctl": "HTTPS", "netctl-network-set": "<network> <key>=<value>", "netctld": "SIGTERM",
	} {
		if out := s.Run("man", page); !strings.Contains(strings.ReplaceAll(out, "\u2010\n", ""), text) {
			t.Errorf("man %s does not have %q:\n%s", page, text, out)
		}
	}
	const complete = `source /usr/share/bash-completion/completions/netctl && complete -p netctl && netctl __complete netw`
	if out := s.Run("bash", "-c", complete); !strings.Contains(out, "-F __start_netctl netctl") || !strings.Contains(out, "network\tManage networks") {
		t.Errorf("bash completes by %s", out)
	}
	for _, file := range []string{"/usr/share/zsh/vendor-completions/_netctl", "/usr/share/fish/vendor_completions.d/netctl.fish", "/usr/share/doc/netctl/copyright"} {
		s.Run("test", "-s", file)
	}
}

// A host that goes down takes its routes back; one that comes up has them
// again.
func TestPowerOff(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.install(build(t, oldVersion))
	s.announce()
	for _, how := range []string{"reboot", "poweroff"} {
		s.Run("systemctl", how)
		s.Off()
		// The peer would keep them for two minutes, had they not been withdrawn.
		lab.WaitKernel(s.router, 0, 5*time.Second, prefixes...)
		if !strings.Contains(s.router.Log(), "hypervisor goes down") {
			t.Errorf("after %s the router was not told why:\n%s", how, s.router.Log())
		}
		if how == "reboot" {
			s.Boot()
			s.known()
		}
	}
}

// Files that stay when the package is removed: what dpkg, systemd and others
// know of packages, and the state of netctl.
var remains = regexp.MustCompile(`^/var/(lib/(dpkg|netctl|systemd)|log|cache)/|^/etc/(group|gshadow|\.pwd\.lock)|^/etc/systemd/system/multi-user\.target\.wants/`)

func TestRemove(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	before := s.Layer()
	s.install(build(t, oldVersion))
	s.announce()
	s.Run("dpkg", "--force-unsafe-io", "--remove", "netctl")
	lab.WaitKernel(s.router, 0, 5*time.Second, prefixes...)
	if !strings.Contains(s.router.Log(), "netctl is removed from hypervisor") {
		t.Errorf("the router was not told why:\n%s", s.router.Log())
	}
	for _, nothing := range []string{"pgrep netctld", "pgrep dnsmasq", "ip link show br0", "nft list table inet netctl"} {
		if out, err := s.Try("sh", "-c", nothing); err == nil {
			t.Errorf("%s: %s", nothing, out)
		}
	}
	var left []string
	for _, file := range s.Layer() {
		if !slices.Contains(before, file) && !remains.MatchString(file) {
			left = append(left, file)
		}
	}
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	// The state is there for a daemon that comes back.
	s.install(build(t, newVersion))
	s.known()
	s.Run("dpkg", "--force-unsafe-io", "--purge", "netctl")
	if out, err := s.Try("test", "-e", "/var/lib/netctl"); err == nil {
		t.Errorf("a purge leaves the state: %s", out)
	}
}

// The package's dependency on the C library is what the daemon needs.
func TestLibraryVersion(t *testing.T) {
	t.Parallel()
	bin, err := lab.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(filepath.Join(bin, "netctld"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	needs := 0
	for _, sym := range symbols {
		if minor, ok := strings.CutPrefix(sym.Version, "GLIBC_2."); ok {
			major, _, _ := strings.Cut(minor, ".")
			n, err := strconv.Atoi(major)
			if err != nil {
				t.Fatal(err)
			}
			needs = max(needs, n)
		}
	}
	control, err := exec.CommandContext(t.Context(), "dpkg-deb", "--field", build(t, oldVersion), "Depends").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "libc6 (>= 2." + strconv.Itoa(needs) + ")"; !strings.Contains(string(control), want) {
		t.Errorf("depends on %s, want %s", control, want)
	}
}
