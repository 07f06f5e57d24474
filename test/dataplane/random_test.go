package dataplane_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go4.org/netipx"
	"pgregory.net/rapid"

	"netctl/network/firewall"
	"netctl/network/link"
)

// turns is how many worlds follow each other on one host.
const turns = 60

// draw returns what is drawn at a seed, so that a failure can be repeated.
func draw[T any](seed int, g *rapid.Generator[T]) T { return g.Example(seed) }

func oneOf(t *rapid.T, label string, ss ...string) string {
	return rapid.SampledFrom(ss).Draw(t, label)
}

// families generates how a family is treated, with subnets that do not
// overlap those of other networks.
func families(v6 bool, i int) *rapid.Generator[firewall.Family] {
	return rapid.Custom(func(t *rapid.T) firewall.Family {
		b := func(label string) bool { return rapid.Bool().Draw(t, label) }
		f := firewall.Family{Filter: b("filter"), Routing: b("routing"), DHCP: b("dhcp"), NAT: b("nat"), After: b("after")}
		subnets := []string{fmt.Sprintf("10.%d.0.0/24", i), fmt.Sprintf("10.%d.0.0/16", i), fmt.Sprintf("10.%d.1.0/31", i), fmt.Sprintf("10.%d.1.9/32", i)}
		routes := []string{"192.168.0.0/16", "192.168.7.0/24", "203.0.113.9/32", "203.0.113.8/31"}
		nat := []string{"192.0.2.5", "192.0.2.6"}
		if v6 {
			subnets = []string{fmt.Sprintf("fd%02x::/64", i), fmt.Sprintf("fd%02x::/48", i), fmt.Sprintf("fd%02x::1:0/127", i), fmt.Sprintf("fd%02x:0:0:1::/64", i)}
			routes = []string{"2001:db8::/32", "2001:db8:1::/48", "fe00::1/128", "::ffff:0:0/96"}
			nat = []string{"2001:db8::5", "2001:db8::6"}
		}
		if b("off") {
			return f
		}
		f.Subnet = prefix(oneOf(t, "subnet", subnets...))
		for _, r := range rapid.SliceOfDistinct(rapid.SampledFrom(routes), rapid.ID[string]).Draw(t, "routes") {
			f.Routes = append(f.Routes, prefix(r))
		}
		slices.SortFunc(f.Routes, netip.Prefix.Compare)
		if b("snat") {
			f.NATAddr = addr(oneOf(t, "address", nat...))
		}
		return f
	})
}

// defaults generates what a network does with what its ACLs do not match.
func defaults() *rapid.Generator[firewall.Default] {
	return rapid.Custom(func(t *rapid.T) firewall.Default {
		return firewall.Default{
			Action: rapid.SampledFrom([]firewall.Action{firewall.Allow, firewall.Drop, firewall.Reject}).Draw(t, "action"),
			Logged: rapid.Bool().Draw(t, "logged"),
		}
	})
}

// aclRules generates rules of ACLs.
func aclRules() *rapid.Generator[firewall.ACLRule] {
	subjects := rapid.SliceOfN(rapid.Map(rapid.SampledFrom([]string{
		"0.0.0.0/0", "10.0.0.0/8", "10.0.0.7/32", "192.0.2.0/25", "::/0", "2001:db8::/32", "2001:db8::7/128", "fe80::/10", "255.255.255.255/32",
	}), func(s string) netipx.IPRange { return netipx.RangeOfPrefix(prefix(s)) }), 0, 3)
	ports := rapid.SliceOfN(rapid.SampledFrom([]firewall.PortRange{{First: 0, Last: 0}, {First: 1, Last: 80}, {First: 22, Last: 22}, {First: 80, Last: 99}, {First: 1024, Last: 65535}, {First: 0, Last: 65535}}), 0, 3)
	number := rapid.Ptr(rapid.Uint8(), true)
	return rapid.Custom(func(t *rapid.T) firewall.ACLRule {
		d := defaults().Draw(t, "action")
		r := firewall.ACLRule{Action: d.Action, Logged: d.Logged, Source: subjects.Draw(t, "source"), Destination: subjects.Draw(t, "destination")}
		r.Protocol = oneOf(t, "protocol", "", "tcp", "udp", "icmp4", "icmp6")
		switch r.Protocol {
		case "tcp", "udp":
			r.SourcePort, r.DestPort = ports.Draw(t, "from"), ports.Draw(t, "to")
		case "icmp4", "icmp6":
			r.ICMPType, r.ICMPCode = number.Draw(t, "type"), number.Draw(t, "code")
		}
		return r
	})
}

// filters generates what a packet filter may be wanted to do.
func filters() *rapid.Generator[firewall.Config] {
	return rapid.Custom(func(t *rapid.T) firewall.Config {
		var c firewall.Config
		for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"0-a", "accept", "web"}), rapid.ID[string]).Draw(t, "acls") {
			c.ACLs = append(c.ACLs, &firewall.ACL{
				Name: name, Ingress: rapid.SliceOfN(aclRules(), 0, 4).Draw(t, "ingress"), Egress: rapid.SliceOfN(aclRules(), 0, 2).Draw(t, "egress"),
			})
		}
		for i, name := range []string{"a.b", "br-0", "br0", "br_1", "x012345678901_4"} {
			if rapid.Bool().Draw(t, name) {
				n := &firewall.Network{
					Name: name, DNS: rapid.Bool().Draw(t, "dns"),
					V4: families(false, i+1).Draw(t, "v4"), V6: families(true, i+1).Draw(t, "v6"),
				}
				for _, a := range c.ACLs {
					if rapid.Bool().Draw(t, "assigned") {
						n.ACLs = append(n.ACLs, a.Name)
					}
				}
				n.Ingress, n.Egress = defaults().Draw(t, "ingress"), defaults().Draw(t, "egress")
				c.Networks = append(c.Networks, n)
			}
		}
		for _, dev := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "veth0", "x012345678901_4"}), rapid.ID[string]).Draw(t, "nics") {
			n := spoofer(dev, oneOf(t, "filters", "", "m", "4", "6", "a"))
			n.Owner, n.Hairpin = "i/"+dev, rapid.Bool().Draw(t, "hairpin")
			n.Priority = rapid.SampledFrom([]uint32{0, 1, 0x10000, 0xabcdef, 1<<32 - 1}).Draw(t, "priority")
			n.V4.NAT, n.V4.Subnet = rapid.Bool().Draw(t, "nat"), prefix("203.0.0.0/16")
			if rapid.Bool().Draw(t, "static") {
				n.V4.Static, n.V6.Static, n.V6.Subnet = netip.Addr{}, netip.Addr{}, netip.Prefix{}
			}
			c.NICs = append(c.NICs, n)
		}
		for _, f := range slices.Concat(forwards(ipFamilies[0]), forwards(ipFamilies[1])) {
			if rapid.Bool().Draw(t, "forward") {
				c.Forwards = append(c.Forwards, f)
			}
		}
		if rapid.Bool().Draw(t, "bgp") {
			c.BGP = &firewall.BGP{Port: rapid.SampledFrom([]uint16{179, 1179}).Draw(t, "port")}
			for _, p := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"192.0.2.2", "192.0.2.3", "2001:db8::2", "fe80::1%eth0"}), rapid.ID[string]).Draw(t, "peers") {
				c.BGP.Peers = append(c.BGP.Peers, addr(p))
			}
			slices.SortFunc(c.BGP.Peers, netip.Addr.Compare)
		}
		return c
	})
}

// TestRandomFirewall holds that every configuration follows every other, in
// the real packet filter.
func TestRandomFirewall(t *testing.T) {
	h := newBare(t)
	for seed := range turns {
		w := World{Firewall: draw(seed, filters())}
		h.apply(w)
		if seed%7 == 0 {
			h.restart()
			h.settled(w)
		}
		none := true
		for range w.Firewall.Parts() {
			none = false
		}
		if none != (h.Run("nft", "list", "tables") == "") {
			t.Errorf("wanted nothing: %v, tables %q", none, h.Run("nft", "list", "tables"))
		}
		if t.Failed() {
			t.Fatalf("at seed %d: %+v", seed, w.Firewall)
		}
	}
}

// links generates what links may be wanted.
func links() *rapid.Generator[link.State] {
	return rapid.Custom(func(t *rapid.T) link.State {
		var s link.State
		free := []string{"eth1", "eth2", "eth3"}
		for i, name := range []string{"br-0", "br0", "br0.5", "br1"} {
			if !rapid.Bool().Draw(t, name) {
				continue
			}
			l := link.Link{
				Name: name, Kind: link.Bridge, Owner: oneOf(t, "network", name, "other"),
				MAC: oneOf(t, "mac", "", "02:00:00:00:00:01", "02:00:00:00:00:02"),
				MTU: rapid.SampledFrom([]int{1400, 1500, 9000}).Draw(t, "mtu"),
			}
			for len(free) > 0 && rapid.Bool().Draw(t, "port") {
				l.Ports, free = append(l.Ports, free[0]), free[1:]
			}
			used := map[netip.Addr]bool{}
			for _, a := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{
				"10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24", "10.0.0.1/16", "10.0.1.1/31", "10.0.2.1/32",
				"fd42::1/64", "fd42::1/48", "fd42::2/64", "fd43::1/128",
			}), rapid.ID[string]).Draw(t, "addrs") {
				if p := prefix(a); !used[p.Addr()] {
					l.Addrs, used[p.Addr()] = append(l.Addrs, p), true
				}
			}
			slices.SortFunc(l.Addrs, netip.Prefix.Compare)
			if rapid.Bool().Draw(t, "routes") {
				for _, r := range []string{fmt.Sprintf("10.9.%d.0/24", i), fmt.Sprintf("10.9.%d.7/32", i+10), fmt.Sprintf("fd4%d::/64", i)} {
					s.Routes = append(s.Routes, link.OnLink(prefix(r), name, name))
				}
			}
			for _, k := range []string{"ipv4/conf/" + name + "/forwarding", "ipv6/conf/" + name + "/accept_ra", "ipv6/conf/" + name + "/forwarding"} {
				l.Sysctls = append(l.Sysctls, link.Sysctl{Key: "net/" + k, Value: oneOf(t, k, "0", "1")})
			}
			s.Links = append(s.Links, &l)
		}
		slices.SortFunc(s.Routes, (*link.Route).Compare)
		s.Sysctls = []link.Sysctl{
			{Key: "net/ipv4/ip_forward", Value: oneOf(t, "forward4", "0", "1")},
			{Key: "net/ipv6/conf/all/forwarding", Value: oneOf(t, "forward6", "0", "1")},
		}
		return s
	})
}

// drifts are what others may do between two turns.
func drifts() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		dev := oneOf(t, "dev", "br-0", "br0", "br0.5", "br1")
		port := oneOf(t, "port", "eth1", "eth2", "eth3")
		return strings.NewReplacer("DEV", dev, "PORT", port).Replace(oneOf(t, "drift",
			"true", "ip link del DEV", "ip link set DEV down", "ip addr flush dev DEV scope global", "ip link set DEV alias ''",
			"ip addr add 10.0.0.9/24 dev DEV", "ip addr add fd42::9/64 dev DEV", "ip addr add 10.6.6.1 peer 10.6.6.2/32 dev DEV",
			"ip link set PORT nomaster", "ip link set PORT down", "ip link set PORT master DEV",
			"ip route flush dev DEV proto 213", "ip route add 10.8.0.0/24 dev DEV proto 213", "ip -6 route add fd48::/64 dev DEV proto 213",
			"ip link property del dev PORT altname netctl.port.PORT",
		))
	})
}

// TestRandomLinks holds that every state of links follows every other in the
// real kernel, whatever others do in between.
func TestRandomLinks(t *testing.T) {
	h := newBare(t)
	for _, dev := range []string{"eth1", "eth2", "eth3"} {
		h.Run("ip", "link", "add", dev, "type", "veth", "peer", "name", dev+"p")
	}
	for seed := range turns {
		var done []string
		for i := range seed % 4 {
			cmd := draw(1000*seed+i, drifts())
			if _, err := h.Try("sh", "-c", cmd); err == nil {
				done = append(done, cmd)
			}
		}
		w := World{Link: draw(seed, links())}
		h.apply(w)
		if t.Failed() {
			t.Fatalf("at seed %d after %q: %+v", seed, done, w.Link)
		}
	}
	h.apply(World{})
	if out := h.Run("ip", "-o", "link"); strings.Contains(out, "bridge") || strings.Contains(out, "netctl") || strings.Contains(out, "master") {
		t.Errorf("left over:\n%s", out)
	}
}
