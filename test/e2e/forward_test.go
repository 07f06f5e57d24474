package e2e

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"netctl/test/lab"
)

// A forward is announced while it leads anywhere, and what arrives for it goes
// where its ports say, with its own source.
func TestForward(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name, subnet, client, other, length, listen, far, family, hop string
	}{
		{"IPv4", "10.0.0.1", "10.0.0.10", "10.0.0.11", "/24", "198.51.100.7", lab.Far4, "ipv4", "192.0.2.77"},
		{"IPv6", "fd42::1", "fd42::10", "fd42::11", "/64", "2001:db8:100::7", lab.Far6, "ipv6", "2001:db8::77"},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, bird, false)
			v4, v6, prefix := f.subnet+f.length, "none", f.listen+"/32"
			if f.name == "IPv6" {
				v4, v6, prefix = "none", v4, f.listen+"/128"
			}
			s.Network("br0", v4, v6, "ipv4.nat=true", "ipv6.nat=true")
			s.Established()
			web := s.guest("web")
			web.Run("ip", "addr", "add", f.client+f.length, "dev", "eth0", "nodad")
			web.Run("ip", "route", "add", "default", "via", f.subnet)
			other := s.Client("other", "br0", []string{f.other + f.length}, []string{f.subnet})
			tell(t, web, netip.MustParseAddr(f.client), 8080)

			s.Daemon.CLI("network", "forward", "create", "br0", f.listen)
			s.explained(f.listen, "the forward has neither target_address nor ports")
			s.Daemon.CLI("network", "forward", "port", "add", "br0", f.listen, "tcp", "80", f.client, "8080")
			s.WaitRoutes(1, prefix)
			s.explained(f.listen, prefix+" is announced")
			s.Soon("an answer from outside", func() error {
				text, err := told(t, s.Far, f.listen, 80)
				want := f.far + " for " + netip.AddrPortFrom(netip.MustParseAddr(f.client), 8080).String()
				return lab.Expect(err == nil && text == want, "%q, %v", text, err)
			})
			for _, from := range []*lab.NS{other, web} {
				s.Soon("an answer inside, to "+from.Name, func() error {
					text, err := told(t, from, f.listen, 80)
					return lab.Expect(err == nil && text != "", "%q, %v", text, err)
				})
			}
			if text, err := told(t, s.Far, f.listen, 81); err == nil {
				t.Errorf("a port that nobody forwards: %q", text)
			}

			since := time.Now()
			s.Daemon.CLI("network", "forward", "set", "br0", f.listen, "user.x=y")
			s.Daemon.CLI("network", "forward", "port", "add", "br0", f.listen, "tcp", "443", f.client, "8080")
			s.Undisturbed(since, prefix)
			s.Daemon.CLI("network", "set", "br0", "bgp."+f.family+".nexthop="+f.hop)
			s.gateway(prefix, f.hop)
			for _, c := range s.Monitor.Withdrawn(since, func(p netip.Prefix) bool { return p.String() == prefix }) {
				t.Errorf("a new next hop withdrew the prefix: %s", c)
			}
			s.Daemon.CLI("network", "forward", "port", "remove", "br0", f.listen, "--force")
			s.WaitRoutes(0, prefix)
			s.Daemon.CLI("network", "forward", "set", "br0", f.listen, "target_address="+f.client)
			s.WaitRoutes(1, prefix)
			s.Daemon.CLI("network", "forward", "delete", "br0", f.listen)
			s.WaitRoutes(0, prefix)
		})
	}
}

// explained waits until the daemon explains a prefix with a text.
func (s *site) explained(prefix, text string) {
	s.Helper()
	s.Soon("explanation of "+prefix, func() error {
		out := s.Daemon.CLI("bgp", "explain", prefix)
		return lab.Expect(strings.Contains(out, text), "%s", out)
	})
}
