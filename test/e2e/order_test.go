package e2e

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var opText = regexp.MustCompile(` op=("(?:[^"\\]|\\.)*"|\S+)`)

// operations runs something and returns what the daemon has done meanwhile to
// the host and its peers, in order.
func (s *site) operations(do func()) []string {
	s.Helper()
	from := len(s.Daemon.Proc.Output())
	do()
	s.Daemon.Settled()
	return operationsIn(s.Daemon.Proc.Output()[from:])
}

func operationsIn(log string) []string {
	var ops []string
	for _, m := range opText.FindAllStringSubmatch(log, -1) {
		if text, err := strconv.Unquote(m[1]); err == nil {
			m[1] = text
		}
		ops = append(ops, m[1])
	}
	return ops
}

// inOrder fails the test unless the first operation that starts with each text
// comes after the one before.
func inOrder(t *testing.T, what string, ops []string, texts ...string) {
	t.Helper()
	at := -1
	for _, text := range texts {
		i := slices.IndexFunc(ops, func(op string) bool { return strings.HasPrefix(op, text) })
		if i <= at {
			t.Errorf("%s: %q is operation %d, and what comes before it %d:\n%s", what, text, i, at, strings.Join(ops, "\n"))
			return
		}
		at = i
	}
}

// What a NIC needs is there before the NIC is up, and its routes before they
// are announced; a stop withdraws them first, and filters as long as there is
// anything to filter.
func TestOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t, bird, false)
	s.privateNetwork()
	web := s.Later("web")
	nic := append([]string{"network=br0", "host_name=vethweb", "limits.max=1Gbit", "security.ipv4_filtering=true", "security.port_isolation=true"}, static("10", vip4+"/32")...)
	s.Daemon.CLI("instance", "create", web.Full, "--nic", strings.Join(nic, ","))

	started := []string{
		"commit ", "nft add element bridge netctl nic_filtered { \"vethweb\" }", "ip link add vethweb ", "ip link set vethweb master br0",
		"bridge link set dev vethweb isolated on", "tc qdisc replace dev vethweb root", "ip link set vethweb up",
		"ip route add " + vip4 + "/32 via 10.1.0.10", "announce " + vip4 + "/32",
	}
	inOrder(t, "start", s.operations(func() { s.Daemon.CLI("instance", "start", web.Full) }), started...)
	inOrder(t, "another interface", s.operations(func() {
		s.Daemon.CLI("instance", "device", "set", web.Full, "eth0", "host_name=vethnew")
	}), "commit ", "nft add element bridge netctl nic_filtered { \"vethnew\" }", "ip link del vethweb", "nft delete element bridge netctl nic_filtered { \"vethweb\" }")
	s.WaitRoutes(1, vip4+"/32")
	inOrder(t, "stop", s.operations(func() { s.Daemon.CLI("instance", "stop", web.Full) }),
		"commit ", "withdraw "+vip4+"/32", "ip route del "+vip4+"/32", "ip link del vethnew", "nft delete table bridge netctl")

	s.Daemon.CLI("instance", "device", "set", web.Full, "eth0", "host_name=vethweb")
	s.Daemon.CLI("instance", "set", web.Full, "boot.autostart=true")
	s.Daemon.CLI("instance", "start", web.Full)
	s.reboot("00000000-0000-4000-8000-000000000002", web)
	s.WaitRoutes(1, vip4+"/32")
	inOrder(t, "boot", operationsIn(s.Daemon.Proc.Output()), started...)
}
