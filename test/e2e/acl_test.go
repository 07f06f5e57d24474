package e2e

import (
	"net/netip"
	"testing"

	"netctl/test/lab"
)

// What a network's ACLs allow passes in both directions, and nothing else.
func TestACL(t *testing.T) {
	t.Parallel()
	s := newSite(t, bird, false)
	s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
	s.Established()
	s.WaitRoutes(1, "198.51.100.0/24")
	web := s.Client("web", "br0", []string{"198.51.100.10/24"}, []string{"198.51.100.1"})
	inside, outside := netip.MustParseAddr("198.51.100.10"), netip.MustParseAddr(lab.Far4)
	for _, port := range []uint16{80, 81} {
		tell(t, web, inside, port)
		tell(t, s.Far, outside, port)
	}
	passes := func(what string, from *lab.NS, to netip.Addr, port uint16, want bool) {
		t.Helper()
		s.Soon(what, func() error {
			text, err := told(t, from, to.String(), port)
			return lab.Expect((err == nil) == want, "%q, %v", text, err)
		})
	}
	passes("to 80 without ACLs", s.Far, inside, 80, true)
	passes("to 81 without ACLs", s.Far, inside, 81, true)

	s.Daemon.CLI("network", "acl", "create", "web")
	s.Daemon.CLI("network", "acl", "rule", "add", "web", "ingress", "action=allow", "protocol=tcp", "destination_port=80", "source=203.0.113.0/24")
	s.Daemon.CLI("network", "acl", "rule", "add", "web", "egress", "action=allow", "protocol=tcp", "destination_port=81")
	s.Daemon.CLI("network", "set", "br0", "security.acls=web")
	passes("in to 80", s.Far, inside, 80, true)
	passes("in to 81", s.Far, inside, 81, false)
	passes("out to 80", web, outside, 80, false)
	passes("out to 81", web, outside, 81, true)

	s.Daemon.CLI("network", "acl", "rule", "remove", "web", "ingress", "destination_port=80")
	passes("in to 80 without its rule", s.Far, inside, 80, false)
	s.Daemon.CLI("network", "set", "br0", "security.acls.default.ingress.action=allow", "security.acls.default.egress.action=drop")
	passes("in to 81 by default", s.Far, inside, 81, true)
	passes("out to 80 by default", web, outside, 80, false)
	s.Daemon.CLI("network", "unset", "br0", "security.acls")
	passes("out to 80 without ACLs", web, outside, 80, true)
	s.Daemon.CLI("network", "acl", "delete", "web")
}
