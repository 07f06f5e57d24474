package fault

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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

var scenarios = []scenario{
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
		s.Daemon.CLI(cmd...)
	}
	from := len(s.Daemon.Proc.Output())
	s.Daemon.CLI(sc.write...)
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
		s.Daemon.CLI(cmd...)
	}
	before := s.stored()
	s.Daemon.Vars = []string{fmt.Sprintf("NETCTL_FAULT=ready+%d", n)}
	s.Daemon.Restart(syscall.SIGTERM)
	s.back()
	_, err := s.Daemon.TryCLI(sc.write...)
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

// clean deletes the networks of the scenarios, and all that is left of them
// must be gone.
func (s *site) clean() {
	s.Helper()
	for _, name := range []string{"br1", "br2"} {
		_, _ = s.Daemon.TryCLI("network", "delete", name) // it may be neither, or one of them
	}
	s.empty("deleted")
	left := s.Host.Run("ip", "-o", "link") + s.Host.Run("ip", "-4", "route") + s.Host.Run("ip", "-6", "route") +
		s.Host.Run("nft", "list", "ruleset") + s.Host.Run("find", s.Daemon.Dir, "-path", "*/networks/*") +
		s.Host.Run("pgrep", "-af", s.Daemon.Dir+"/networks")
	for line := range strings.Lines(left) {
		if regexp.MustCompile(`\bbr[12]\b`).MatchString(line) {
			s.Fatalf("the networks are gone, but not: %s", line)
		}
	}
}

// stored returns the networks and their configuration as text.
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
		fmt.Fprintln(&b, n.Name, n.Config)
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
	s.WaitRoutes(1, "198.51.101.0/24", "2001:db8:101::/64")
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
	s.WaitRoutes(1, subnet4, subnet6, "198.51.101.0/24", "2001:db8:101::/64")
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
	_, _ = s.Host.Try("nft", "delete", "table", "inet", "netctl")
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
