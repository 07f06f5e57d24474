package fault

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"netctl/test/lab"
)

// An interference is something that others do to what is ours, and how its
// repair shows.
type interference struct {
	name   string
	cmd    string // run on the host by a shell
	repair string // a shell command that succeeds once it is repaired
	warn   string // a regular expression for the one line that the log has about it
	gated  bool   // br0 is not up meanwhile, and may be withdrawn for as long as that takes
}

var interferences = []interference{
	{"bridge deleted", "ip link del br0", "ip addr show br0 | grep -q 198.51.100.1/24", "ip link add br0", true},
	{"bridge down", "ip link set br0 down", "ip -o link show br0 | grep -q ,UP", "ip link set br0 up", true},
	// What comes during a repair is a part of it, and told with it.
	{"bridge renamed", "ip link set br0 down; ip link set br0 name other0", "ip addr show br0 | grep -q 198.51.100.1/24 && ! ip link show other0", "ip link (add br0|set br0 up)", true},
	{"mark removed", "ip link set br0 alias ''", "ip -d link show br0 | grep -q 'alias netctl:br0'", "ip link set br0 alias netctl:br0", true},
	{"address removed", "ip addr del 198.51.100.1/24 dev br0", "ip addr show br0 | grep -q 198.51.100.1/24", "ip addr add 198.51.100.1/24 dev br0", true},
	{"IPv6 address removed", "ip addr del 2001:db8:100::1/64 dev br0", "ip addr show br0 | grep -q 2001:db8:100::1/64", "ip addr add 2001:db8:100::1/64", true},
	{"address added", "ip addr add 10.99.0.1/24 dev br0", "! ip addr show br0 | grep -q 10.99.0.1", "ip addr del 10.99.0.1/24 dev br0", false},
	{"route removed", "ip route del 198.51.102.0/24", "ip route | grep -q '198.51.102.0/24 dev br0'", "ip route add 198.51.102.0/24 dev br0", false},
	{"MTU changed", "ip link set br0 mtu 1300", "ip link show br0 | grep -q 'mtu 1500'", "ip link set br0 mtu 1500", false},
	{"MAC changed", "ip link set br0 address 02:00:00:00:00:99", "! ip link show br0 | grep -q 02:00:00:00:00:99", "ip link set br0 address", false},
	{"port taken out", "ip link set ext0 nomaster", "ip link show ext0 | grep -q 'master br0'", "ip link set ext0 master br0", false},
	{"table flushed", "nft flush table inet netctl", "nft list chain inet netctl input | grep -q 'jump bgp'", "nft add table inet netctl", false},
	{"table deleted", "nft delete table inet netctl", "nft list set inet netctl dhcp4 | grep -q br0", "nft add table inet netctl", false},
	{"rule added", "nft insert rule inet netctl forward drop", "! nft list chain inet netctl forward | grep -q '^[[:space:]]*drop'", "nft add table inet netctl", false},
	{"rules deleted", "nft flush chain inet netctl forward", "nft list chain inet netctl forward | grep -q routed4", "nft add table inet netctl", false},
	{"element deleted", "nft delete element inet netctl dhcp4 '{ br0 }'", "nft list set inet netctl dhcp4 | grep -q br0", "nft add element inet netctl dhcp4", false},
	{"peer let in", "nft add element inet netctl bgp_peers4 '{ 10.66.66.66 }'", "! nft list set inet netctl bgp_peers4 | grep -q 10.66.66.66", "nft delete element inet netctl bgp_peers4 { 10.66.66.66 }", false},
	{"forwarding off", "sysctl -qw net.ipv4.ip_forward=0", "test $(sysctl -n net.ipv4.ip_forward) = 1", "net/ipv4/ip_forward=1", false},
	{"forwarding of the bridge off", "sysctl -qw net.ipv4.conf.br0.forwarding=0", "test $(sysctl -n net.ipv4.conf.br0.forwarding) = 1", "net/ipv4/conf/br0/forwarding=1", false},
	{"router advertisements heeded", "sysctl -qw net.ipv6.conf.br0.accept_ra=2", "test $(sysctl -n net.ipv6.conf.br0.accept_ra) = 0", "net/ipv6/conf/br0/accept_ra=0", false},
	{"IPv6 off", "sysctl -qw net.ipv6.conf.br0.disable_ipv6=1", "ip addr show br0 | grep -q 2001:db8:100::1/64", "net/ipv6/conf/br0/disable_ipv6=0", true},
}

// Whatever others do to what is ours is repaired at once, logged once with
// what it took, and not announced while it is broken. What only looks like
// ours survives all of it.
func TestOutside(t *testing.T) {
	t.Parallel()
	s := newSite(t, "ipv4.routes=198.51.102.0/24")
	s.Host.Run("ip", "link", "add", "ext0", "type", "veth", "peer", "name", "ext0p")
	s.Daemon.CLI("network", "set", "br0", "bridge.external_interfaces=ext0")
	foreign := s.foreign()
	before := foreign()
	for _, i := range interferences {
		since, from := time.Now(), len(s.Daemon.Proc.Output())
		took := s.within(i.name, func() { s.Host.Run("sh", "-ec", i.cmd) }, func() error {
			_, err := s.Host.Try("sh", "-ec", i.repair)
			return err
		})
		if took > time.Second {
			t.Logf("%s: that is more than the second that is promised", i.name)
		}
		s.empty(i.name)
		warnings := logged(s.Daemon, from, "level=(WARN|ERROR)|repairing what others have changed")
		if n := len(warnings); n == 0 || n > 1+2*strings.Count(i.cmd, ";") || !regexp.MustCompile(i.warn).MatchString(warnings[n-1]) {
			t.Errorf("%s: the log says %q, want one line with %q", i.name, warnings, i.warn)
		}
		s.WaitRoutes(1, subnet4, subnet6)
		if i.gated {
			s.fence() // what the router has yet to do is not the next one's
		} else if gone := s.Monitor.Deletes(since, nil); len(gone) > 0 {
			t.Errorf("%s: withdrawn: %v", i.name, gone)
		}
	}
	s.Daemon.CLI("network", "delete", "br0")
	s.empty("deleted")
	if after := foreign(); before != after {
		t.Errorf("others have\n%s\nbefore it was\n%s", after, before)
	}
	if n := s.peers()[lab.Router4].Flaps; n != 0 {
		t.Errorf("the session went down %d times", n)
	}
}

// fence waits until the router has done everything that it was told before: a
// network that comes and goes is the last of it.
func (s *site) fence() {
	s.Helper()
	s.Network("fence", "198.51.111.1/24", "2001:db8:111::1/64")
	s.WaitRoutes(1, "198.51.111.0/24", "2001:db8:111::/64")
	s.Daemon.CLI("network", "delete", "fence")
	s.WaitRoutes(0, "198.51.111.0/24", "2001:db8:111::/64")
}

// foreign makes things that look like ours and are not, and returns a function
// that lists them.
func (s *site) foreign() func() string {
	s.Helper()
	dir := filepath.Join(s.Dir, "foreign", "networks", "br0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.Fatalf("%v", err)
	}
	conf := filepath.Join(dir, "dnsmasq-0123456789abcdef.conf")
	if err := os.WriteFile(conf, []byte("port=5353\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\n"), 0o644); err != nil {
		s.Fatalf("%v", err)
	}
	for _, cmd := range []string{
		"ip link add br0x type bridge", "ip link set br0x alias netctl-br0", "ip addr add 10.88.0.1/24 dev br0x", "ip link set br0x up",
		"ip link add name br type bridge", "ip link set dev br group 213", "ip link add netctl type bridge",
		"ip link property add dev br0x altname netctl.ports.br0x",
		"ip route add 10.89.0.0/16 dev br0x proto 212",
		"nft add table ip netctl", "nft add chain ip netctl input", "nft add table inet netctl2", "nft add set inet netctl2 dhcp4 '{ type ifname; }'",
	} {
		s.Host.Run("sh", "-ec", cmd)
	}
	dnsmasq := s.Host.Start("dnsmasq", "--keep-in-foreground", "--conf-file="+conf)
	s.Soon("foreign dnsmasq", func() error {
		_, err := s.Host.Try("sh", "-c", "ss -Hlnu | grep -q 127.0.0.1:5353")
		return err
	})
	return func() string {
		var b strings.Builder
		for _, cmd := range []string{
			"ip -o link show dev br0x", "ip -o link show dev br", "ip -o link show dev netctl", "ip -4 -o addr show dev br0x", "ip route show proto 212",
			"cat " + conf, "nft list table ip netctl", "nft list table inet netctl2",
		} {
			b.WriteString(s.Host.Run("sh", "-ec", cmd))
		}
		fmt.Fprintln(&b, "dnsmasq has ended:", dnsmasq.Exited())
		return b.String()
	}
}

// What is not up is not announced, for as long as that takes.
func TestGate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Network("br1", "198.51.101.1/24", "none")
	s.WaitRoutes(1, "198.51.101.0/24")
	since := time.Now()
	s.Host.Run("ip", "link", "set", "br0", "alias", "somebody else's")
	s.WaitRoutes(0, subnet4, subnet6)
	if out := s.Daemon.CLI("bgp", "routes"); !strings.Contains(out, "interface br0 exists and is not netctl's") {
		t.Errorf("bgp routes does not say why: %s", out)
	}
	s.Undisturbed(since, "198.51.101.0/24")
	s.within("announced again", func() { s.Host.Run("ip", "link", "set", "br0", "alias", "netctl:br0") }, func() error {
		routes, err := s.Router.NS().Routes(s.Router.Protocol())
		return errors.Join(err, lab.Expect(len(routes) == 3, "%v", routes))
	})
	s.Undisturbed(since, "198.51.101.0/24")
}

// An external interface that is unplugged is a port again as soon as it is
// back; the rest works meanwhile, and the log does not fill.
func TestUnplugged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	plug := func() { s.Host.Run("ip", "link", "add", "ext0", "type", "veth", "peer", "name", "ext0p") }
	plug()
	s.Daemon.CLI("network", "set", "br0", "bridge.external_interfaces=ext0")
	since, from := time.Now(), len(s.Daemon.Proc.Output())
	s.Host.Run("ip", "link", "del", "ext0")
	s.Soon("trouble is told", func() error {
		out, err := s.Daemon.TryCLI("network", "set", "br0", "user.note=x", "--wait=100ms")
		return lab.Expect(err != nil && strings.Contains(err.Error(), "ext0"), "%s %v", out, err)
	})
	s.Network("br1", "198.51.101.1/24", "none", "--wait=0")
	s.WaitRoutes(1, "198.51.101.0/24")
	s.Soon("some more attempts", func() error {
		return lab.Expect(len(logged(s.Daemon, from, "turn failed")) >= 4, "fewer")
	})
	if loud := logged(s.Daemon, from, "level=(WARN|ERROR)"); len(loud) > 2 {
		t.Errorf("the log fills with %q", loud)
	}
	s.within("plugged in", plug, func() error {
		_, err := s.Host.Try("sh", "-ec", "ip link show ext0 | grep -q 'master br0'")
		return err
	})
	s.empty("plugged in")
	s.Undisturbed(since, subnet4, subnet6)
}

// A dnsmasq that is killed, with its files made useless, serves again at once.
func TestDNSMasqKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	leases := filepath.Join(s.Daemon.Dir, "networks", "br0", "dnsmasq.leases")
	for name, spoil := range map[string]func() error{
		"killed": func() error { return nil },
		"lease file": func() error {
			return os.WriteFile(leases, []byte("garbage\n\x00\xff 1 2 3 4 5 6\n99999999999999999999 x 10.0.0.1 * *\n"), 0o644)
		},
		"long lease file": func() error { return os.WriteFile(leases, []byte(strings.Repeat("z", 1<<20)), 0o644) },
		"no lease file":   func() error { return os.Remove(leases) },
		"no files at all": func() error { return os.RemoveAll(filepath.Dir(leases)) },
		"garbled pid file": func() error {
			return os.WriteFile(filepath.Join(filepath.Dir(leases), "dnsmasq.pid"), []byte("1"), 0o644)
		},
	} {
		from := len(s.Daemon.Proc.Output())
		if out, err := s.Daemon.TryCLI("network", "list-leases", "br0"); err != nil {
			t.Errorf("%s: list-leases: %s %v", name, out, err)
		}
		old := s.dnsmasq("br0")
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if out, err := s.Daemon.TryCLI("network", "list-leases", "br0"); err != nil {
			t.Errorf("%s: list-leases: %s %v", name, out, err)
		}
		s.within("dnsmasq with "+name, func() { s.Host.Run("kill", "-9", fmt.Sprint(old)) }, func() error {
			now := s.dnsmasq("br0")
			if now == old || now == 0 {
				return fmt.Errorf("pid %d, it was %d", now, old)
			}
			_, err := s.Host.Try("sh", "-c", "ss -Hlnu | grep -q ':67 '")
			return err
		})
		s.empty(name)
		if w := logged(s.Daemon, from, "level=(WARN|ERROR)"); len(w) != 1 || !strings.Contains(w[0], "dnsmasq died") {
			t.Errorf("%s: the log says %q", name, w)
		}
	}
}

// The socket of the API is made anew when somebody deletes it, and those who
// are connected stay so.
func TestSocketDeleted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	path := filepath.Join(s.Daemon.Dir, "unix.socket")
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	ask := func() {
		t.Helper()
		if _, err := io.WriteString(c, "GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s, %v", resp.Status, err)
		}
	}
	ask()
	since, from := time.Now(), len(s.Daemon.Proc.Output())
	s.within("socket deleted", func() { s.Host.Run("rm", path) }, func() error {
		_, err := s.Daemon.TryCLI("network", "list")
		return err
	})
	ask()
	if w := logged(s.Daemon, from, "level=(WARN|ERROR)"); len(w) != 1 || !strings.Contains(w[0], "the socket was deleted") {
		t.Errorf("the log says %q", w)
	}

	if err := errors.Join(os.WriteFile(path+".new", []byte("mine"), 0o644), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
	s.Soon("the daemon says that something else is there", func() error {
		return lab.Expect(len(logged(s.Daemon, from, "something else is in its place")) == 1, "it does not")
	})
	ask()
	s.Undisturbed(since, subnet4, subnet6)
	s.Daemon.Stop(syscall.SIGTERM)
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("what was put there: %q, %v", b, err)
	}
}
