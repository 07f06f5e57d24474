package fault

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netctl/api"
	"netctl/client"
	"netctl/test/lab"
)

// A scenario is a write whose every step the daemon is killed at.
type scenario struct {
	name    string
	prepare [][]string // makes it possible
	write   []string
}

// second are the settings of a network that has some of everything.
var second = []string{
	"network", "create", "br1", "ipv4.address=198.51.101.1/24", "ipv6.address=2001:db8:101::1/64", "ipv4.routes=198.51.102.0/24",
	"ipv6.dhcp.stateful=true", "bridge.external_interfaces=ext0", "bridge.mtu=1400",
	"bgp.peers.tor.address=" + lab.Router4, "bgp.peers.tor.asn=65000",
}

// A guest is an instance on that network, with some of everything. Its name is
// guestName in a command.
const guestName = "GUEST"

func guest(how ...string) []string {
	return slices.Concat([]string{"instance", "create", guestName, "--nic", "network=br1,host_name=guest0,ipv4.address=198.51.101.10,ipv6.address=2001:db8:101::10," +
		"ipv4.routes=198.51.105.0/24,ipv4.routes.external=198.51.106.7/32,ipv6.routes.external=2001:db8:106::/64," +
		"limits.ingress=100Mbit,limits.egress=50Mbit,limits.priority=7,security.ipv4_filtering=true,security.ipv6_filtering=true,security.port_isolation=true"}, how)
}

var scenarios = []scenario{
	{
		name:    "start an instance",
		prepare: [][]string{second, guest()},
		write:   []string{"instance", "start", guestName},
	},
	{
		name:    "create a virtual machine and start it",
		prepare: [][]string{second},
		write:   guest("--vm", "--start"),
	},
	{
		name:    "stop an instance",
		prepare: [][]string{second, guest("--start")},
		write:   []string{"instance", "stop", guestName},
	},
	{
		name:    "restart an instance",
		prepare: [][]string{second, guest("--start")},
		write:   []string{"instance", "restart", guestName},
	},
	{
		name:    "delete an instance that runs",
		prepare: [][]string{second, guest("--start")},
		write:   []string{"instance", "delete", guestName, "--force"},
	},
	{
		name:    "change a NIC",
		prepare: [][]string{second, guest("--start")},
		write: []string{
			"instance", "device", "set", guestName, "eth0", "host_name=guest1", "hwaddr=00:16:3e:00:00:77", "ipv4.address=198.51.101.11", "ipv4.routes=",
			"ipv4.routes.external=198.51.106.8/32", "limits.ingress=", "security.ipv6_filtering=", "security.port_isolation=",
		},
	},
	{
		name:    "create a forward",
		prepare: [][]string{second},
		write:   []string{"network", "forward", "create", "br1", "198.51.107.7", "target_address=198.51.101.10"},
	},
	{
		name:    "add a port to a forward",
		prepare: [][]string{second, {"network", "forward", "create", "br1", "198.51.107.7"}},
		write:   []string{"network", "forward", "port", "add", "br1", "198.51.107.7", "tcp", "80,8000-8002", "198.51.101.10"},
	},

	{
		name:  "create",
		write: second,
	},
	{
		name:    "change",
		prepare: [][]string{second},
		write: []string{
			"network", "set", "br1", "ipv4.address=198.51.103.1/24", "ipv6.nat=true", "ipv4.routes=198.51.104.0/24", "bridge.mtu=1300",
			"bridge.external_interfaces=ext1", "bridge.hwaddr=02:00:00:00:00:77", "ipv4.firewall=false", "bgp.ipv4.nexthop=192.0.2.99",
		},
	},
	{
		name:    "rename",
		prepare: [][]string{second},
		write:   []string{"network", "rename", "br1", "br2"},
	},
	{
		name:    "delete",
		prepare: [][]string{second},
		write:   []string{"network", "delete", "br1"},
	},
}

// The daemon is killed before every single operation of a write. The next one
// brings the host to what is stored, whether or not the write got there, and
// the router sees nothing of it in what was not written.
func TestKillAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.Host.Run("ip", "link", "add", "ext0", "type", "veth", "peer", "name", "ext1")
			since := time.Now()
			ops := s.operations(sc)
			t.Logf("%d operations:\n%s", len(ops), strings.Join(ops, "\n"))
			for n, op := range ops {
				// A transaction of the firewall is one step.
				if n == 0 || !strings.HasPrefix(op, "nft ") || !strings.HasPrefix(ops[n-1], "nft ") {
					s.killedAt(sc, n+1)
				}
			}
			s.Undisturbed(since, subnet4, subnet6)
		})
	}
}

// operations runs the write of a scenario undisturbed and returns the
// operations that it takes.
func (s *site) operations(sc scenario) []string {
	s.Helper()
	for _, cmd := range sc.prepare {
		s.Daemon.CLI(s.named(cmd)...)
	}
	from := len(s.Daemon.Proc.Output())
	s.Daemon.CLI(s.named(sc.write)...)
	var ops []string
	for _, line := range logged(s.Daemon, from, opText.String()) {
		op := opText.FindStringSubmatch(line)[1]
		if text, err := strconv.Unquote(op); err == nil {
			op = text
		}
		ops = append(ops, op)
	}
	s.clean()
	return ops
}

// killedAt runs the write of a scenario with a daemon that is killed before
// its n-th operation.
func (s *site) killedAt(sc scenario, n int) {
	s.Helper()
	for _, cmd := range sc.prepare {
		s.Daemon.CLI(s.named(cmd)...)
	}
	before := s.stored()
	s.Daemon.Vars = []string{fmt.Sprintf("NETCTL_FAULT=ready+%d", n)}
	s.Daemon.Restart(syscall.SIGTERM)
	s.back()
	_, err := s.Daemon.TryCLI(s.named(sc.write)...)
	patience := 10 * time.Second
	if err == nil { // the others came in another order, and this was the last
		patience = 100 * time.Millisecond
	}
	_ = s.Daemon.Proc.Wait(patience)
	what := fmt.Sprintf("killed after %d operations, the last of them %s", n-1, lastOp(s.Daemon.Proc))
	if !s.Daemon.Proc.Exited() {
		if err != nil {
			s.Fatalf("%v", err)
		}
		s.Daemon.Stop(syscall.SIGKILL)
	}
	s.Daemon.Vars = nil
	s.Daemon.Start()
	s.Daemon.WaitReady()
	s.empty(what)
	// The first operation is the commit.
	if lost := s.stored() == before; lost != (n == 1) {
		s.Fatalf("%s: the write is lost: %v", what, lost)
	}
	s.clean()
}

// named returns a command with the name of the guest, of which all hosts of the
// machine share the namespaces.
func (s *site) named(cmd []string) []string {
	out := slices.Clone(cmd)
	for i, arg := range out {
		if arg == guestName {
			out[i] = s.guest
		}
	}
	return out
}

// clean deletes the networks of the scenarios and what is on them, and all that
// is left of them must be gone.
func (s *site) clean() {
	s.Helper()
	_, _ = s.Daemon.TryCLI("instance", "delete", s.guest, "--force") // it may not be there
	for _, name := range []string{"br1", "br2"} {
		_, _ = s.Daemon.TryCLI("network", "delete", name) // it may be neither, or one of them
	}
	s.empty("deleted")
	left := s.Host.Run("ip", "-o", "-d", "link") + s.Host.Run("ls", "/run/netns") + s.Host.Run("tc", "qdisc") + s.Host.Run("ip", "-4", "route") + s.Host.Run("ip", "-6", "route") +
		s.Host.Run("nft", "list", "ruleset") + s.Host.Run("find", s.Daemon.Dir, "-path", "*/networks/*") +
		s.Host.Run("pgrep", "-af", s.Daemon.Dir+"/networks")
	for line := range strings.Lines(left) {
		if regexp.MustCompile(`\b(br[12]|guest[01]|198\.51\.10[567]|` + s.guest + `)\b`).MatchString(line) {
			s.Fatalf("the networks and instances are gone, but not: %s", line)
		}
	}
}

// stored returns the networks and instances and their configuration as text.
func (s *site) stored() string {
	s.Helper()
	c := client.Unix(s.Daemon.Socket())
	defer c.Close()
	networks, err := c.Networks(context.Background())
	if err != nil {
		s.Fatalf("networks: %v", err)
	}
	var b strings.Builder
	for _, n := range networks {
		forwards, err := c.NetworkForwards(context.Background(), n.Name)
		if err != nil {
			s.Fatalf("forwards: %v", err)
		}
		fmt.Fprintln(&b, n.Name, n.Config, forwards)
	}
	instances, err := c.Instances(context.Background())
	if err != nil {
		s.Fatalf("instances: %v", err)
	}
	for _, i := range instances {
		fmt.Fprintln(&b, i.Name, i.Config, i.Devices, i.LastUsedAt, i.StatusCode == api.StatusStopped)
	}
	return b.String()
}

// A host that boots brings everything up by itself; the daemon is killed
// before every step of that.
func TestKillWhileBooting(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Host.Run("ip", "link", "add", "ext0", "type", "veth", "peer", "name", "ext1")
	s.Daemon.CLI(second...)
	s.Daemon.CLI(s.named(guest("--start"))...)
	s.WaitRoutes(1, "198.51.101.0/24", "2001:db8:101::/64", "198.51.106.7/32", "2001:db8:106::/64")
	for n := 1; ; n++ {
		s.Daemon.Stop(syscall.SIGKILL)
		s.wipe()
		s.Daemon.Vars = []string{fmt.Sprintf("NETCTL_FAULT=%d", n)}
		s.Daemon.Start()
		s.Soon("killed or ready", func() error {
			ready := len(logged(s.Daemon, 0, "msg=ready")) > 0
			return lab.Expect(ready || s.Daemon.Proc.Exited(), "neither")
		})
		if s.Daemon.Proc.Exited() {
			step := lastOp(s.Daemon.Proc)
			s.Daemon.Vars = nil
			s.Daemon.Start()
			s.Daemon.WaitReady()
			s.empty(fmt.Sprintf("killed after %d operations, the last of them %s", n-1, step))
			continue
		}
		s.empty("nothing left to kill")
		s.Logf("boot: %d operations", n-1)
		break
	}
	// A router forgets what it kept when we go again before we have told it
	// everything (RFC 4724 section 4.2), so it may have seen this.
	s.WaitRoutes(1, subnet4, subnet6, "198.51.101.0/24", "2001:db8:101::/64", "198.51.106.7/32", "2001:db8:106::/64")
}

// wipe takes away what does not outlive a boot.
func (s *site) wipe() {
	s.Helper()
	for _, bridge := range []string{"br0", "br1"} {
		if pid := s.dnsmasq(bridge); pid != 0 {
			s.Host.Run("kill", "-9", strconv.Itoa(pid))
		}
		_, _ = s.Host.Try("ip", "link", "del", bridge) // it may have got no further
	}
	_, _ = s.Host.Try("ip", "netns", "del", s.guest)
	_, _ = s.Host.Try("sh", "-c", "for l in $(ip -o link show type ifb | cut -d: -f2); do ip link del $l; done")
	_, _ = s.Host.Try("nft", "delete", "table", "inet", "netctl")
	_, _ = s.Host.Try("nft", "delete", "table", "bridge", "netctl")
	s.Host.Sysctl("net/ipv4/ip_forward", "0")
	s.Host.Sysctl("net/ipv6/conf/all/forwarding", "0")
}

var opText = regexp.MustCompile(` op=("(?:[^"\\]|\\.)*"|\S+)`)

// lastOp returns the last operation that a daemon has logged.
func lastOp(p *lab.Proc) string {
	all := opText.FindAllStringSubmatch(p.Output(), -1)
	if len(all) == 0 {
		return "none"
	}
	return all[len(all)-1][1]
}

// empty waits until the host is as it is stored.
func (s *site) empty(what string) {
	s.Helper()
	s.Soon(what+": empty plan", func() error {
		out, err := s.Daemon.TryCLI("plan")
		if err != nil {
			return err
		}
		return lab.Expect(out == "Nothing would change\n", "%s", out)
	})
}
