package dataplane_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"netctl/network/firewall"
)

// ipFamily is what differs between families in tests that are the same for
// both.
type ipFamily struct {
	tcp, udp        string // networks
	gateway, subnet string // of lan
	client          []netip.Addr
	host, outside   netip.Addr
	listen          []netip.Addr // that the outside routes to the host
}

var ipFamilies = []ipFamily{
	{
		tcp: "tcp4", udp: "udp4", gateway: "10.77.0.1", subnet: "10.77.0.0/24",
		client: []netip.Addr{addr("10.77.0.11"), addr("10.77.0.12")}, host: hostV4, outside: outsideV4,
		listen: []netip.Addr{addr("203.0.113.1"), addr("203.0.113.2"), addr("203.0.113.3")},
	},
	{
		tcp: "tcp6", udp: "udp6", gateway: "fd77::1", subnet: "fd77::/64",
		client: []netip.Addr{addr("fd77::11"), addr("fd77::12")}, host: hostV6, outside: outsideV6,
		listen: []netip.Addr{addr("fd99::1"), addr("fd99::2"), addr("fd99::3")},
	},
}

// static gives the clients of a site the addresses of ipFamilies.
func (s *site) static() {
	s.Helper()
	for i, c := range s.clients {
		for _, f := range ipFamilies {
			c.Addr("eth0", f.client[i].String()+f.subnet[strings.Index(f.subnet, "/"):])
			c.Run("ip", "route", "replace", "default", "via", f.gateway)
		}
	}
}

// serve makes a client answer on ports of all its addresses.
func (s *site) serve(i int, ports ...string) {
	s.Helper()
	for _, f := range ipFamilies {
		for _, network := range []string{f.tcp, f.udp} {
			for _, port := range ports {
				s.clients[i].call("Serve", map[string]string{"Network": network, "Addr": join(f.client[i], port)}, nil)
			}
		}
	}
}

func join(a netip.Addr, port string) string {
	if a.Is6() {
		return "[" + a.String() + "]:" + port
	}
	return a.String() + ":" + port
}

// forwards returns a forward of each kind to the clients of a site.
func forwards(f ipFamily) []*firewall.Forward {
	both := func(first, last uint16, target netip.Addr, to, toLast uint16) []firewall.Port {
		return []firewall.Port{
			{Protocol: "tcp", First: first, Last: last, Target: target, To: to, ToLast: toLast},
			{Protocol: "udp", First: first, Last: last, Target: target, To: to, ToLast: toLast},
		}
	}
	subnet := prefix(f.subnet)
	ports := both(80, 80, f.client[0], 8080, 8080)
	ports = append(ports, both(1000, 1010, f.client[0], 1000, 1010)...)
	ports = append(ports, both(2000, 2010, f.client[1], 3000, 3010)...)
	ports = append(ports, both(4000, 4999, f.client[1], 8080, 8080)...)
	return []*firewall.Forward{
		{Listen: f.listen[0], Ports: ports, Subnet: subnet},
		{Listen: f.listen[1], Target: f.client[1], Ports: both(80, 80, f.client[0], 80, 80), Subnet: subnet},
	}
}

// TestForwards holds that what comes for an address of a forward reaches the
// target of its port, from outside, from the host and from the network itself,
// and that the target sees who it comes from.
func TestForwards(t *testing.T) {
	s := newSite(t, 2)
	b := lan
	b.firewall = func(n *firewall.Network) { n.V4.NAT = true }
	w := world(b)
	for _, f := range ipFamilies {
		w.Firewall.Forwards = append(w.Firewall.Forwards, forwards(f)...)
		s.host.Run("ip", "route", "add", "default", "via", f.outside.String()) // or the host would not try
	}
	s.host.apply(w)
	s.plug("br0")
	s.static()
	for _, c := range s.clients {
		// With bridge-nf-call-iptables, what a client sends to itself never
		// leaves the bridge, which has to send it back where it came from.
		s.host.Run("bridge", "link", "set", "dev", "v"+c.Name, "hairpin", "on")
	}
	s.serve(0, "80", "8080", "1000", "1005", "1010")
	s.serve(1, "8080", "3000", "3007", "3010", "999")
	for _, f := range ipFamilies {
		gateway := addr(f.gateway)
		froms := []struct {
			name   string
			host   *host
			source netip.Addr
		}{
			{"outside", s.outside, f.outside},
			{"the host", s.host, netip.Addr{}},
			{"the first client", s.clients[0], gateway},
			{"the second client", s.clients[1], gateway},
		}
		for _, tt := range []struct {
			listen   int
			port     string
			client   int // negative for none
			received string
		}{
			{0, "80", 0, "8080"},
			{0, "1000", 0, "1000"},
			{0, "1005", 0, "1005"},
			{0, "1010", 0, "1010"},
			{0, "2000", 1, "3000"},
			{0, "2007", 1, "3007"},
			{0, "2010", 1, "3010"},
			{0, "4000", 1, "8080"},
			{0, "4500", 1, "8080"},
			{0, "4999", 1, "8080"},
			{1, "80", 0, "80"},
			{1, "999", 1, "999"},
		} {
			for _, from := range froms {
				for _, network := range []string{f.tcp, f.udp} {
					seen, at, err := from.host.ask(network, join(f.listen[tt.listen], tt.port))
					want := join(f.client[tt.client], tt.received)
					if err != nil || at.String() != want || from.source.IsValid() && seen != from.source {
						t.Errorf("%s from %s to %s port %s: at %s seen as %s (%v), want %s and %s",
							network, from.name, f.listen[tt.listen], tt.port, at, seen, err, want, from.source)
					}
				}
			}
		}
		// To the target itself nothing changes.
		if seen, _, err := s.clients[1].askFrom(f.tcp, join(f.client[1], "0"), join(f.client[0], "80")); err != nil || seen != f.client[1] {
			t.Errorf("seen as %s (%v)", seen, err)
		}
	}
}

// TestForwardMisses holds that what no forward takes is not forwarded: the
// router has a route to the host for it, and would get it back.
func TestForwardMisses(t *testing.T) {
	s := newSite(t, 2)
	w := world(lan)
	for _, f := range ipFamilies {
		w.Firewall.Forwards = append(w.Firewall.Forwards, forwards(f)...)
		s.host.Run("ip", "route", "add", "default", "via", f.outside.String())
	}
	s.host.apply(w)
	s.plug("br0")
	s.static()
	s.serve(0, "80", "8080")
	for _, f := range ipFamilies {
		loops := func(port string) bool {
			t.Helper()
			before := s.host.Run("nft", "list", "table", "inet", "count")
			_, _, err := s.outside.askBriefly(f.udp, join(f.listen[0], port))
			return err == nil || before != s.host.Run("nft", "list", "table", "inet", "count")
		}
		s.host.Run("nft", "add table inet count; add chain inet count post { type filter hook postrouting priority 0; }; "+
			"add rule inet count post oifname up0 udp dport 81 counter")
		if loops("81") {
			t.Errorf("%s port 81 is sent back", f.listen[0])
		}
		if err := s.outside.Ping(f.listen[0]); err == nil {
			t.Errorf("%s answers", f.listen[0])
		}
		if _, _, err := s.outside.ask(f.tcp, join(f.listen[0], "80")); err != nil {
			t.Errorf("%s port 80: %v", f.listen[0], err)
		}
	}
}

// TestForwardChanges holds that a change of a forward is a change of that one
// only, and that connections go on as they began.
func TestForwardChanges(t *testing.T) {
	s := newSite(t, 2)
	f := ipFamilies[0]
	first, second := forwards(f)[0], forwards(f)[1]
	with := func(fs ...*firewall.Forward) World {
		w := world(lan)
		w.Firewall.Forwards = fs
		return w
	}
	s.host.apply(with(first, second))
	s.plug("br0")
	s.static()
	s.serve(0, "80", "8080", "1000")
	s.serve(1, "8080", "999")
	dial := func(name, network, to string) {
		t.Helper()
		s.outside.call("Dial", Dialing{Name: name, Network: network, Addr: to, Wait: patience}, nil)
	}
	at := func(name, want string) {
		t.Helper()
		if seen, at, err := s.outside.again(name, patience); err != nil || at.String() != want || seen != f.outside {
			t.Errorf("%s is at %s seen as %s (%v), want %s", name, at, seen, err, want)
		}
	}
	dial("tcp", f.tcp, join(f.listen[0], "80"))
	dial("udp", f.udp, join(f.listen[0], "80"))
	for _, name := range []string{"tcp", "udp"} {
		at(name, join(f.client[0], "8080"))
	}
	// Another port, another forward.
	var plan []string
	more := *first
	more.Ports = append(slices.Clone(more.Ports),
		firewall.Port{Protocol: "udp", First: 5000, Last: 5000, Target: f.client[0], To: 1000, ToLast: 1000})
	third := &firewall.Forward{Listen: f.listen[2], Target: f.client[0], Subnet: prefix(f.subnet)}
	s.host.call("Plan", with(&more, second, third), &plan)
	want := []string{
		"nft add element inet netctl forward_port4 { 203.0.113.1 . udp . 5000 : 10.77.0.11 . 1000 }",
		"nft add element inet netctl forward_rest4 { 203.0.113.3 : 10.77.0.11 }",
		"nft add element inet netctl listens4 { 203.0.113.3 }",
	}
	if strings.Join(plan, "\n") != strings.Join(want, "\n") {
		t.Errorf("plan %q, want %q", plan, want)
	}
	s.host.apply(with(&more, second, third))
	for _, name := range []string{"tcp", "udp"} {
		at(name, join(f.client[0], "8080"))
	}
	for listen, port := range map[netip.Addr]string{f.listen[0]: "5000", f.listen[2]: "1000"} {
		if _, got, err := s.outside.ask(f.udp, join(listen, port)); err != nil || got.String() != join(f.client[0], "1000") {
			t.Errorf("%s port %s is at %s (%v)", listen, port, got, err)
		}
	}
	// The daemon starts anew.
	s.host.restart()
	s.host.settled(with(&more, second, third))
	s.host.apply(with(&more, second, third))
	s.host.call("Resync", struct{}{}, nil) // it has to read the tables when it changes them
	// Another target counts for new connections of TCP, and for every packet of
	// UDP, but other ports are not touched by it.
	dial("other", f.udp, join(f.listen[0], "5000"))
	at("other", join(f.client[0], "1000"))
	moved := more
	moved.Ports = slices.Clone(more.Ports)
	for i, p := range moved.Ports {
		if p.First == 80 {
			moved.Ports[i].Target = f.client[1]
		}
	}
	s.host.apply(with(&moved, second, third))
	at("tcp", join(f.client[0], "8080"))
	at("udp", join(f.client[1], "8080"))
	at("other", join(f.client[0], "1000"))
	if _, got, err := s.outside.ask(f.tcp, join(f.listen[0], "80")); err != nil || got.String() != join(f.client[1], "8080") {
		t.Errorf("a new connection is at %s (%v)", got, err)
	}
	s.host.apply(with())
	at("tcp", join(f.client[0], "8080"))
	if _, got, err := s.outside.askBriefly(f.tcp, join(f.listen[0], "80")); err == nil {
		t.Errorf("without the forward %s answers", got)
	}
	for _, name := range []string{"udp", "other"} {
		if _, got, err := s.outside.again(name, brief); err == nil {
			t.Errorf("without the forward %s answers", got)
		}
	}
}

// TestForwardMovesUDP holds that a sender of UDP that never stops is sent where
// the forward says, in both families.
func TestForwardMovesUDP(t *testing.T) {
	s := newSite(t, 2)
	with := func(target int) World {
		w := world(lan)
		for _, f := range ipFamilies {
			w.Firewall.Forwards = append(w.Firewall.Forwards,
				&firewall.Forward{Listen: f.listen[1], Target: f.client[0], Subnet: prefix(f.subnet)},
				&firewall.Forward{Listen: f.listen[2], Target: f.client[target], Subnet: prefix(f.subnet)})
		}
		return w
	}
	s.host.apply(with(0))
	s.plug("br0")
	s.static()
	for i := range s.clients {
		s.serve(i, "80")
	}
	for _, f := range ipFamilies {
		for _, listen := range f.listen[1:] {
			s.outside.call("Dial", Dialing{Name: listen.String(), Network: f.udp, Addr: join(listen, "80"), Wait: patience}, nil)
		}
	}
	for _, target := range []int{0, 1, 0} {
		s.host.apply(with(target))
		for _, f := range ipFamilies {
			for i, listen := range f.listen[1:] {
				want := join(f.client[i*target], "80")
				if _, at, err := s.outside.again(listen.String(), patience); err != nil || at.String() != want {
					t.Errorf("%s is at %s (%v), want %s", listen, at, err, want)
				}
			}
		}
	}
}
