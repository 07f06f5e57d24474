package dataplane_test

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"go4.org/netipx"

	"netctl/network/firewall"
)

// guarded is a world in which lan has ACLs, and the defaults of a network.
func guarded(ingress, egress firewall.Action, acls ...*firewall.ACL) World {
	b := lan
	b.firewall = func(n *firewall.Network) {
		for _, a := range acls {
			n.ACLs = append(n.ACLs, a.Name)
		}
		n.Ingress, n.Egress = firewall.Default{Action: ingress}, firewall.Default{Action: egress}
	}
	w := world(b)
	w.Firewall.ACLs = acls
	return w
}

// outcome is what became of a question: an answer, a refusal or silence.
func outcome(err error) string {
	switch {
	case err == nil:
		return "answer"
	case strings.Contains(err.Error(), syscall.ECONNREFUSED.Error()):
		return "refused"
	case strings.Contains(err.Error(), "timeout"):
		return "silence"
	}
	return err.Error()
}

// guardedSite makes a site with ACLs, where the clients have static addresses.
func guardedSite(t *testing.T, clients int, w World) *site {
	t.Helper()
	s := newSite(t, clients)
	s.host.apply(w)
	s.plug("br0")
	s.static()
	for i := range s.clients {
		s.serve(i, "80", "81")
	}
	for _, f := range ipFamilies {
		for _, network := range []string{f.tcp, f.udp} {
			s.outside.call("Serve", map[string]string{"Network": network, "Addr": join(f.outside, "80")}, nil)
			s.host.call("Serve", map[string]string{"Network": network, "Addr": join(addr(f.gateway), "80")}, nil)
		}
	}
	return s
}

func single(as ...netip.Addr) (out []netipx.IPRange) {
	for _, a := range as {
		out = append(out, netipx.IPRangeFrom(a, a))
	}
	return out
}

// TestACLs holds what rules and defaults do to packets of both families.
func TestACLs(t *testing.T) {
	port := func(n uint16) []firewall.PortRange { return []firewall.PortRange{{First: n, Last: n}} }
	allow80 := []firewall.ACLRule{
		{Action: firewall.Allow, Protocol: "tcp", DestPort: port(80)},
		{Action: firewall.Allow, Protocol: "udp", DestPort: port(80)},
	}
	outside := single(outsideV4, outsideV6)
	for _, tt := range []struct {
		name            string
		ingress, egress firewall.Action
		acls            []*firewall.ACL
		// What becomes of questions from outside to ports 80 and 81 of a
		// client, and from a client to outside, of TCP and UDP alike.
		in80, in81, out80 string
	}{
		{"an empty ACL and refusal", firewall.Reject, firewall.Reject, []*firewall.ACL{{Name: "a"}}, "refused", "refused", "refused"},
		{"an empty ACL and silence", firewall.Drop, firewall.Drop, []*firewall.ACL{{Name: "a"}}, "silence", "silence", "silence"},
		{"an empty ACL that allows", firewall.Allow, firewall.Allow, []*firewall.ACL{{Name: "a"}}, "answer", "answer", "answer"},
		{"one port toward clients", firewall.Drop, firewall.Reject, []*firewall.ACL{{Name: "a", Ingress: allow80}}, "answer", "silence", "refused"},
		{"one port from clients", firewall.Reject, firewall.Drop, []*firewall.ACL{{Name: "a", Egress: allow80}}, "refused", "refused", "answer"},
		{"two ACLs, of which one refuses", firewall.Drop, firewall.Drop, []*firewall.ACL{
			{Name: "a", Ingress: allow80, Egress: allow80},
			{Name: "b", Ingress: []firewall.ACLRule{{Action: firewall.Reject, Source: outside}}},
		}, "refused", "refused", "answer"},
		{"silence comes first", firewall.Allow, firewall.Allow, []*firewall.ACL{{Name: "a", Ingress: []firewall.ACLRule{
			{Action: firewall.Allow},
			{Action: firewall.Reject, Logged: true},
			{Action: firewall.Drop, Source: outside, Protocol: "tcp", DestPort: port(81)},
			{Action: firewall.Drop, Destination: single(ipFamilies[0].client[0], ipFamilies[1].client[0]), Protocol: "udp", DestPort: []firewall.PortRange{{First: 81, Last: 90}}},
		}}}, "refused", "silence", "answer"},
		{"everybody but others", firewall.Drop, firewall.Allow, []*firewall.ACL{{Name: "a", Ingress: []firewall.ACLRule{
			{Action: firewall.Allow, Source: []netipx.IPRange{netipx.RangeOfPrefix(prefix("0.0.0.0/0")), netipx.RangeOfPrefix(prefix("::/0"))}, Protocol: "tcp", DestPort: []firewall.PortRange{{First: 0, Last: 65535}}},
			{Action: firewall.Allow, Source: []netipx.IPRange{netipx.MustParseIPRange("192.0.2.2-192.0.2.5"), netipx.MustParseIPRange("2001:db8::2-2001:db8::5")}, Protocol: "udp"},
			{Action: firewall.Reject, Source: single(addr("192.0.2.3"), addr("2001:db8::3"))},
		}}}, "answer", "answer", "answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := guardedSite(t, 2, guarded(tt.ingress, tt.egress, tt.acls...))
			for _, f := range ipFamilies {
				for _, network := range []string{f.tcp, f.udp} {
					for _, q := range []struct {
						from     *host
						to, want string
					}{
						{s.outside, join(f.client[0], "80"), tt.in80},
						{s.outside, join(f.client[0], "81"), tt.in81},
						{s.clients[0], join(f.outside, "80"), tt.out80},
						// Nothing is between clients.
						{s.clients[0], join(f.client[1], "81"), "answer"},
					} {
						ask := q.from.ask
						if q.want == "silence" {
							ask = q.from.askBriefly
						}
						if _, _, err := ask(network, q.to); outcome(err) != q.want {
							t.Errorf("%s from %s to %s: %s, want %s", network, q.from.Name, q.to, outcome(err), q.want)
						}
					}
				}
			}
		})
	}
}

// TestACLHost holds that clients get what they need of the host whatever the
// ACLs say, and that these count for the rest.
func TestACLHost(t *testing.T) {
	echo4, echo6 := uint8(8), uint8(128)
	a := &firewall.ACL{Name: "a"}
	s := guardedSite(t, 2, guarded(firewall.Reject, firewall.Reject, a))
	v4, v6 := s.lease(prefix(lan.v6).Masked())
	c := s.clients[0]
	var found []string
	for _, server := range []string{"10.77.0.1", "fd77::1"} {
		c.call("Resolve", map[string]string{"Server": server, "Name": "_gateway.netctl"}, &found)
	}
	if err := c.Ping(v4[1].Addr.Addr()); err != nil {
		t.Errorf("another client: %v", err)
	}
	if err := c.Ping(v6[1]); err != nil {
		t.Errorf("another client: %v", err)
	}
	for _, f := range ipFamilies {
		for _, network := range []string{f.tcp, f.udp} {
			if _, _, err := c.ask(network, join(addr(f.gateway), "80")); outcome(err) != "refused" {
				t.Errorf("%s to the host: %v", network, err)
			}
			if _, _, err := s.host.askBriefly(network, join(f.client[0], "80")); err == nil {
				t.Errorf("%s from the host is answered", network)
			}
		}
		if err := c.Ping(addr(f.gateway)); err == nil {
			t.Errorf("%s answers", f.gateway)
		}
		if err := s.outside.Ping(f.client[0]); err == nil {
			t.Errorf("%s answers", f.client[0])
		}
	}
	// Echo requests, and those only.
	b := &firewall.ACL{Name: "a", Egress: []firewall.ACLRule{
		{Action: firewall.Allow, Protocol: "icmp4", ICMPType: &echo4}, {Action: firewall.Allow, Protocol: "icmp6", ICMPType: &echo6, ICMPCode: new(uint8)},
	}}
	s.host.apply(guarded(firewall.Reject, firewall.Reject, b))
	for _, f := range ipFamilies {
		for _, to := range []netip.Addr{addr(f.gateway), f.outside} {
			if err := c.Ping(to); err != nil {
				t.Errorf("%s: %v", to, err)
			}
		}
		if err := s.outside.Ping(f.client[0]); err == nil {
			t.Errorf("%s answers", f.client[0])
		}
		if _, _, err := c.ask(f.tcp, join(f.outside, "80")); outcome(err) != "refused" {
			t.Errorf("to %s: %v", f.outside, err)
		}
	}
}

// TestACLChanges holds that a change of an ACL is one of its own chain, that
// connections that were allowed go on, and that what others change is repaired.
func TestACLChanges(t *testing.T) {
	port := []firewall.PortRange{{First: 80, Last: 80}}
	open := &firewall.ACL{Name: "web", Ingress: []firewall.ACLRule{{Action: firewall.Allow, Protocol: "tcp", DestPort: port}}}
	other := &firewall.ACL{Name: "other", Egress: []firewall.ACLRule{{Action: firewall.Allow}}}
	shut := &firewall.ACL{Name: "web", Ingress: []firewall.ACLRule{{Action: firewall.Reject, Protocol: "tcp", DestPort: port, Logged: true}}}
	f := ipFamilies[0]
	w := guarded(firewall.Drop, firewall.Drop, open, other)
	s := guardedSite(t, 1, w)
	to := join(f.client[0], "80")
	s.outside.call("Dial", Dialing{Name: "tcp", Network: f.tcp, Addr: to, Wait: patience}, nil)
	again := func() {
		t.Helper()
		if _, _, err := s.outside.again("tcp", patience); err != nil {
			t.Errorf("a connection: %v", err)
		}
	}
	again()
	w = guarded(firewall.Drop, firewall.Drop, shut, other)
	var plan []string
	s.host.call("Plan", w, &plan)
	want := []string{
		"nft flush chain inet netctl acl.web.ingress.allow", "nft flush chain inet netctl acl.web.ingress.reject",
		`nft add rule inet netctl acl.web.ingress.reject meta l4proto tcp th dport { 80 } log prefix "netctl acl web ingress reject: " reject with tcp reset`,
	}
	if strings.Join(plan, "\n") != strings.Join(want, "\n") {
		t.Errorf("plan %q, want %q", plan, want)
	}
	s.host.apply(w)
	again()
	if _, _, err := s.outside.ask(f.tcp, to); outcome(err) != "refused" {
		t.Errorf("a new connection: %v", err)
	}
	if out := s.host.Run("nft", "list", "chain", "inet", "netctl", "acl.web.ingress.reject"); !strings.Contains(out, `log prefix "netctl acl web ingress reject: "`) {
		t.Errorf("nothing is logged:\n%s", out)
	}
	s.host.restart()
	s.host.settled(w)
	for _, cmd := range []string{
		"nft flush chain inet netctl acl.web.ingress.reject",
		"nft add rule inet netctl net.br0.ingress accept",
		"nft insert rule inet netctl acl.other.egress.drop drop",
		"nft add chain inet netctl acl.more.egress.drop",
		"nft add chain inet netctl x.y; nft add rule inet netctl x.y drop",
		`nft delete element inet netctl acl_ingress '{ "br0" : jump net.br0.ingress }'`,
		"nft flush map inet netctl acl_egress",
		"nft flush chain inet netctl acl_ingress",
	} {
		var noticed bool
		s.host.call("Quiet", "filter", &noticed)
		s.host.Run("sh", "-c", cmd)
		s.host.call("Changed", "filter", nil)
		s.host.apply(w)
		if t.Failed() {
			t.Fatalf("after %s", cmd)
		}
	}
	if _, _, err := s.outside.ask(f.tcp, to); outcome(err) != "refused" {
		t.Errorf("after the repair: %v", err)
	}
	// Without ACLs all is open again, and nothing is left of them.
	s.host.apply(world(lan))
	if _, _, err := s.outside.ask(f.tcp, to); err != nil {
		t.Error(err)
	}
	if out := s.host.Run("nft", "list", "table", "inet", "netctl"); strings.Contains(out, "acl.") || strings.Contains(out, "net.br0") {
		t.Errorf("left over:\n%s", out)
	}
}

// TestACLTwoNetworks holds that what one network sends to another must be
// allowed by both.
func TestACLTwoNetworks(t *testing.T) {
	allow := firewall.Default{Action: firewall.Allow}
	reject := firewall.Default{Action: firewall.Reject}
	with := func(first, second firewall.Default) World {
		b := lan
		b.firewall = func(n *firewall.Network) { n.ACLs, n.Ingress, n.Egress = []string{"a"}, reject, first }
		w := world(b, bridge{name: "br1", v4: "10.78.0.1/24", firewall: func(n *firewall.Network) {
			n.ACLs, n.Ingress, n.Egress = []string{"a"}, second, reject
		}})
		w.Firewall.ACLs = []*firewall.ACL{{Name: "a"}}
		return w
	}
	s := guardedSite(t, 1, with(allow, allow))
	far := newHost(t, s.Lab, "far")
	s.Link(s.host.NS, "vfar", far.NS, "eth0")
	s.host.Run("ip", "link", "set", "vfar", "master", "br1")
	far.Addr("eth0", "10.78.0.5/24")
	far.Run("ip", "route", "add", "default", "via", "10.78.0.1")
	far.call("Serve", map[string]string{"Network": "tcp4", "Addr": "10.78.0.5:80"}, nil)
	for _, tt := range []struct {
		first, second firewall.Default
		want          string
	}{{allow, allow, "answer"}, {allow, reject, "refused"}, {reject, allow, "refused"}} {
		s.host.apply(with(tt.first, tt.second))
		if _, _, err := s.clients[0].ask("tcp4", "10.78.0.5:80"); outcome(err) != tt.want {
			t.Errorf("%s and %s: %v, want %s", tt.first.Action, tt.second.Action, err, tt.want)
		}
	}
}
