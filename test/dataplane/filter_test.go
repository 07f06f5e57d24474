package dataplane_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/test/lab"
)

const (
	nicMAC   = "02:00:5e:00:00:11"
	otherMAC = "02:00:5e:00:00:66"
)

// A sent frame says which filters let it pass, by a letter for each: of MAC
// addresses (m), IPv4 (4), IPv6 (6), and all of them (a).
type sent struct {
	name  string
	pass  string
	frame []byte
}

// frames are what a NIC with the address of the first client and the prefixes
// behind it may try.
func frames() []sent {
	own, other := mac(nicMAC), mac(otherMAC)
	own4, other4, gateway4 := addr("10.77.0.11"), addr("10.77.0.12"), addr("10.77.0.1")
	own6, other6, local6 := addr("fd77::11"), addr("fd77::12"), addr("fe80::5eff:fe00:11")
	all4, all6, zero4, zero6 := addr("255.255.255.255"), addr("ff02::1"), addr("0.0.0.0"), netip.IPv6Unspecified()
	e := func(typ uint16, payload []byte) []byte { return ether(everybody, own, typ, payload) }
	v4 := func(src netip.Addr, from, to uint16) []byte {
		return e(etherIPv4, ip(src, all4, 17, udp(from, to, "some text to fill a frame")))
	}
	v6 := func(src netip.Addr, payload []byte) []byte { return e(etherIPv6, ip(src, all6, 58, payload)) }
	dg6 := func(src netip.Addr, from, to uint16) []byte {
		return e(etherIPv6, ip(src, all6, 17, udp(from, to, "some text")))
	}
	return []sent{
		{"own addresses", "m46a", v4(own4, 1, 2)},
		{"another MAC address", "46", ether(everybody, other, etherIPv4, ip(own4, all4, 17, udp(1, 3, "some text to fill a frame")))},
		{"another MAC address and IPv6", "46", ether(everybody, other, etherIPv6, ip(own6, all6, 17, udp(1, 3, "")))},

		{"an ARP request", "m46a", e(etherARP, arp(1, own, own4, make([]byte, 6), gateway4))},
		{"an ARP probe", "m46a", e(etherARP, arp(1, own, zero4, make([]byte, 6), own4))},
		{"an ARP probe for another's address", "m6", e(etherARP, arp(1, own, zero4, make([]byte, 6), other4))},
		{"an ARP answer without an address", "m6", e(etherARP, arp(2, own, zero4, own, own4))},
		{"an ARP answer for the gateway", "m6", e(etherARP, arp(2, own, gateway4, other, other4))},
		{"an ARP answer with another MAC address", "46", e(etherARP, arp(2, other, own4, other, other4))},
		{"an ARP answer for its own prefix", "m46a", e(etherARP, arp(2, own, addr("203.0.113.77"), other, other4))},
		{"ARP with long hardware addresses", "6", e(etherARP, append([]byte{0, 1, 8, 0, 8, 4, 0, 2}, make([]byte, 24)...))},

		{"another's IPv4 address", "m6", v4(other4, 1, 4)},
		{"an external address of its own", "m46a", v4(addr("198.51.100.7"), 1, 5)},
		{"a prefix of its own", "m46a", v4(addr("203.0.113.130"), 1, 6)},
		{"beside the prefix", "m6", v4(addr("203.0.114.1"), 1, 7)},
		{"a DHCP request", "m46a", v4(zero4, 68, 67)},
		{"a DHCP request from another's address", "m6", v4(other4, 68, 67)},
		{"no address and another port", "m6", v4(zero4, 1, 8)},
		{"a DHCP answer", "m6", v4(own4, 67, 68)},
		{"a DHCP answer from another port", "m6", v4(own4, 1067, 68)},

		{"another's IPv6 address", "m4", dg6(other6, 1, 9)},
		{"its IPv6 address", "m46a", dg6(own6, 1, 10)},
		{"its link-local address", "m46a", dg6(local6, 546, 547)},
		{"another's link-local address", "m4", dg6(addr("fe80::5eff:fe00:66"), 546, 547)},
		{"an external IPv6 address of its own", "m46a", dg6(addr("2001:db8:9::7"), 1, 11)},
		{"an IPv6 prefix of its own", "m46a", dg6(addr("2001:db8:a:ffff::9"), 1, 12)},
		{"beside the IPv6 prefix", "m4", dg6(addr("2001:db8:b::9"), 1, 13)},
		{"no IPv6 address", "m4", dg6(zero6, 1, 14)},
		{"a DHCPv6 answer", "m4", dg6(local6, 547, 546)},
		{"a DHCPv6 answer from another port", "m4", dg6(local6, 1547, 546)},

		{"a neighbour solicitation", "m46a", v6(own6, nd(135, other6, 1, own))},
		{"one with another MAC address", "46", v6(own6, nd(135, other6, 1, other))},
		{"one from another", "m4", v6(other6, nd(135, own6, 1, own))},
		{"detection of its duplicates", "m46a", v6(zero6, nd(135, own6, 0, nil))},
		{"detection with a nonce", "m46a", v6(zero6, nd(135, local6, 14, mac("01:02:03:04:05:06")))},
		{"detection of duplicates of another", "m4", v6(zero6, nd(135, other6, 0, nil))},
		{"a neighbour advertisement", "m46a", v6(own6, nd(136, own6, 2, own))},
		{"one without an option", "m46a", v6(own6, nd(136, own6, 0, nil))},
		{"one of the link-local address", "m46a", v6(local6, nd(136, local6, 2, own))},
		{"one for its own prefix", "m46a", v6(own6, nd(136, addr("2001:db8:a:1::5"), 2, own))},
		{"one for its own external address", "m46a", v6(own6, nd(136, addr("2001:db8:9::7"), 2, own))},
		{"one for another's address", "m4", v6(own6, nd(136, other6, 2, own))},
		{"one for the gateway", "m4", v6(own6, nd(136, addr("fd77::1"), 2, own))},
		{"one for the gateway behind another header", "m4", v6hop(own6, nd(136, addr("fd77::1"), 0, nil))},
		{"one with another MAC address in it", "46", v6(own6, nd(136, own6, 2, other))},
		{"one with a second option", "46", v6(own6, append(nd(136, own6, 3, own), append([]byte{2, 1}, other...)...))},
		{"a router solicitation", "m46a", v6(local6, nd(133, netip.Addr{}, 1, own))},
		{"a router solicitation without an address", "m46a", v6(zero6, nd(133, netip.Addr{}, 0, nil))},
		{"one with another MAC address instead", "46", v6(local6, nd(133, netip.Addr{}, 1, other))},
		{"a router advertisement", "m4", v6(local6, append(nd(134, netip.Addr{}, 0, nil), make([]byte, 8)...))},
		{"a router advertisement behind another header", "m4", v6hop(local6, append(nd(134, netip.Addr{}, 0, nil), make([]byte, 8)...))},
		{"a redirect", "m4", v6(local6, append(nd(137, other6, 0, nil), other6.AsSlice()...))},
		{"a listener report", "m46a", v6hop(zero6, []byte{143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})},
		{"a listener query", "m4", v6hop(zero6, append([]byte{130, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 20)...))},

		{"another protocol", "m", e(0x88b5, []byte("some text"))},
		{"IPv4 inside a VLAN", "m", e(0x8100, append([]byte{0, 7, 8, 0}, ip(other4, all4, 17, udp(1, 15, "some text to fill a frame"))...))},
	}
}

// v6hop is a frame with an ICMPv6 message behind a header of hop-by-hop options
// (RFC 8200 section 4.3).
func v6hop(src netip.Addr, payload []byte) []byte {
	header := []byte{58, 0, 5, 2, 0, 0, 1, 0}
	return ether(everybody, mac(nicMAC), etherIPv6, ip(src, addr("ff02::1"), 0, append(header, payload...)))
}

// spoofer is a NIC with the filters of a letter of sent.
func spoofer(dev, filters string) *firewall.NIC {
	n := &firewall.NIC{Owner: "c1/eth0", Dev: dev, Network: "br0", MAC: nicMAC, FilterMAC: strings.ContainsAny(filters, "ma")}
	n.V4 = firewall.NICFamily{
		Filter: strings.ContainsAny(filters, "4a"), Static: addr("10.77.0.11"), Subnet: prefix("10.77.0.0/24"),
		Behind: []netip.Prefix{prefix("198.51.100.7/32"), prefix("203.0.113.0/24")},
	}
	n.V6 = firewall.NICFamily{
		Filter: strings.ContainsAny(filters, "6a"), Static: addr("fd77::11"), Subnet: prefix("fd77::/64"),
		Behind: []netip.Prefix{prefix("2001:db8:9::7/128"), prefix("2001:db8:a::/48")},
	}
	return n
}

// untagged is a frame as sockets see it, which are told the tag of its VLAN
// elsewhere.
func untagged(frame []byte) []byte {
	if frame[12] == 0x81 && frame[13] == 0 {
		return slices.Concat(frame[:12], frame[16:])
	}
	return frame
}

// TestNICFilters holds which frames of a NIC reach the host and other clients,
// with each of the filters.
func TestNICFilters(t *testing.T) {
	s := newSite(t, 2)
	s.host.apply(world(lan))
	s.plug("br0")
	s.clients[0].Run("ip", "link", "set", "eth0", "arp", "off", "address", nicMAC)
	s.clients[0].Sysctl("net/ipv6/conf/eth0/disable_ipv6", "1")
	s.host.call("Listen", "br0", nil)
	s.clients[1].call("Listen", "eth0", nil)
	for _, filters := range []string{"", "m", "4", "6", "a"} {
		w := world(lan)
		if filters != "" {
			w.Firewall.NICs = []*firewall.NIC{spoofer("vc1", filters)}
		}
		s.host.apply(w)
		all := frames()
		last := ether(everybody, mac(nicMAC), etherIPv4, ip(addr("10.77.0.11"), addr("10.77.0.255"), 17, udp(9, 9, "the last with filters "+filters)))
		var send [][]byte
		for _, f := range all {
			send = append(send, f.frame)
		}
		s.clients[0].call("Send", map[string]any{"Dev": "eth0", "Frames": append(send, last)}, nil)
		for _, to := range []struct {
			*host
			dev string
		}{{s.host, "br0"}, {s.clients[1], "eth0"}} {
			var heard [][]byte
			to.call("Hear", map[string]any{"Dev": to.dev, "Until": last}, &heard)
			for _, f := range all {
				want := filters == "" || strings.Contains(f.pass, filters)
				got := slices.ContainsFunc(heard, func(b []byte) bool { return bytes.Equal(b, untagged(f.frame)) })
				if got != want {
					t.Errorf("with the filters %q, %s heard %s: %v", filters, to.Name, f.name, got)
				}
			}
		}
	}
}

// TestFilteredNIC holds that an instance with every filter gets its lease and
// its addresses, reaches everybody, and is reached at what is routed to it,
// untranslated; and that nothing is learned of what it pretends to be.
func TestFilteredNIC(t *testing.T) {
	s := newSite(t, 2)
	b := lan
	b.service = func(d *dhcp.Service) { d.V4.Ranges = ranges("10.77.0.11-10.77.0.11") }
	b.firewall = func(n *firewall.Network) { n.V4.NAT, n.V6.NAT = true, true }
	w := world(b)
	n := spoofer("vc1", "a")
	n.V6.Static = addr("fd77::5eff:fe00:11")
	n.V4.NAT, n.V6.NAT = true, true
	// Part of what is translated, but not when it is routed to a NIC.
	n.V4.Behind = append(n.V4.Behind, prefix("10.77.0.128/28"))
	w.Firewall.NICs = []*firewall.NIC{n}
	s.host.apply(w)
	s.plug("br0")
	c, other := s.clients[0], s.clients[1]
	other.Addr("eth0", "10.77.0.12/24", "fd77::12/64")
	other.Run("ip", "route", "add", "default", "via", "10.77.0.1")
	c.Run("ip", "link", "set", "eth0", "down", "address", nicMAC)
	c.Run("ip", "link", "set", "eth0", "up")
	if lease := c.DHCP4("eth0"); lease.Addr != prefix("10.77.0.11/24") {
		t.Fatalf("lease %+v", lease)
	}
	if out, err := c.RouterAdvertisement("eth0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if a := c.Address("eth0", prefix("fd77::/64"), 10*time.Second); a != n.V6.Static {
		t.Fatalf("address %s, want %s", a, n.V6.Static)
	}
	for _, a := range []string{"10.77.0.1", "fd77::1", "10.77.0.12", "fd77::12", outsideV4.String(), outsideV6.String()} {
		if err := c.Ping(addr(a)); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	// What is routed to it is reached from everywhere with its own source.
	for _, p := range []struct{ a, route, via, back, from string }{
		{"198.51.100.7/32", "198.51.100.7/32", "10.77.0.11", hostV4.String(), outsideV4.String()},
		{"10.77.0.130/32", "10.77.0.128/28", "10.77.0.11", hostV4.String(), outsideV4.String()},
		{"2001:db8:9::7/128", "2001:db8:9::7/128", n.V6.Static.String(), hostV6.String(), outsideV6.String()},
		{"2001:db8:a:1::7/128", "2001:db8:a::/48", n.V6.Static.String(), hostV6.String(), outsideV6.String()},
	} {
		c.Addr("lo", p.a)
		s.host.Run("ip", "route", "add", p.route, "via", p.via)
		s.outside.Run("ip", "route", "add", p.route, "via", p.back)
		a := prefix(p.a).Addr()
		s.host.Lab.Eventually(10*time.Second, fmt.Sprintf("%s is seen as itself", a), func() error {
			seen, err := c.lookFrom(join(a, "0"), join(addr(p.from), "7777"))
			return errors.Join(err, lab.Expect(seen == a, "it is seen as %s", seen))
		})
		network := map[bool]string{true: "tcp4", false: "tcp6"}[a.Is4()]
		c.call("Serve", map[string]string{"Network": network, "Addr": join(a, "80")}, nil)
		s.host.Lab.Eventually(10*time.Second, fmt.Sprintf("%s answers", a), func() error {
			seen, _, err := s.outside.ask(network, join(a, "80"))
			return errors.Join(err, lab.Expect(seen.String() == p.from, "%s is seen as %s", p.from, seen))
		})
	}
	if seen, _, err := other.ask("tcp4", "198.51.100.7:80"); err != nil || seen != addr("10.77.0.12") {
		t.Errorf("inside, another is seen as %s (%v)", seen, err)
	}
	if seen, err := c.look(outsideV4.String(), mirror); err != nil || seen != hostV4 {
		t.Errorf("its own address is seen as %s (%v)", seen, err)
	}
	// With another address it reaches nobody.
	c.Addr("eth0", "10.77.0.66/24")
	if _, err := c.lookFrom("10.77.0.66:0", "10.77.0.12:7777"); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("with another address: %v", err)
	}
	// Frames to the bridge itself are looked at too, or nothing is learned from
	// them.
	other.call("Listen", "eth0", nil)
	last := ether(everybody, mac(nicMAC), etherIPv4, ip(addr("10.77.0.11"), addr("10.77.0.255"), 17, udp(9, 9, "the last of the frames")))
	c.call("Send", map[string]any{"Dev": "eth0", "Frames": [][]byte{
		ether(mac("01:80:c2:00:00:03"), mac(otherMAC), 0x888e, []byte("hello")),
		ether(mac("01:80:c2:00:00:0e"), mac(otherMAC), 0x88cc, []byte("hello")),
		ether(mac("01:80:c2:00:00:00"), mac(otherMAC), 0x88cc, []byte("hello")),
		ether(everybody, mac("02:00:5e:00:00:67"), etherARP, arp(1, mac("02:00:5e:00:00:67"), addr("10.77.0.1"), mac(nicMAC), addr("10.77.0.1"))),
		last,
	}}, nil)
	var heard [][]byte
	other.call("Hear", map[string]any{"Dev": "eth0", "Until": last}, &heard)
	fdb := s.host.Run("bridge", "fdb", "show", "br", "br0")
	if !strings.Contains(fdb, nicMAC+" dev vc1") || strings.Contains(fdb, otherMAC) || strings.Contains(fdb, "02:00:5e:00:00:67") {
		t.Errorf("the bridge has learned\n%s", fdb)
	}
	// Without the filters it has.
	s.host.apply(world(b))
	c.call("Send", map[string]any{"Dev": "eth0", "Frames": [][]byte{ether(everybody, mac(otherMAC), 0x888e, []byte("hello"))}}, nil)
	s.Eventually(5*time.Second, "that the bridge learns", func() error {
		if fdb := s.host.Run("bridge", "fdb", "show", "br", "br0"); !strings.Contains(fdb, otherMAC) {
			return errors.New(fdb)
		}
		return nil
	})
}

// TestNICPriority holds that packets of a NIC get its priority, and that a
// port where frames may turn does not hear its own broadcasts.
func TestNICPriority(t *testing.T) {
	s := newSite(t, 2)
	w := world(lan)
	w.Firewall.NICs = []*firewall.NIC{
		{Owner: "c1/eth0", Dev: "vc1", Network: "br0", Priority: 0x10007, Hairpin: true},
		{Owner: "c2/eth0", Dev: "vc2", Network: "br0", Priority: 4294967295},
	}
	s.host.apply(w)
	s.plug("br0")
	s.static()
	s.host.Run("bridge", "link", "set", "dev", "vc1", "hairpin", "on")
	s.host.Run("nft", "add table bridge count; add set bridge count seen { type classid; flags dynamic; }; "+
		"add chain bridge count input { type filter hook input priority 0; }; "+
		"add rule bridge count input ip saddr { 10.77.0.11, 10.77.0.12 } add @seen { meta priority }")
	for _, c := range s.clients {
		if err := c.Ping(addr("10.77.0.1")); err != nil {
			t.Error(err)
		}
	}
	if out := s.host.Run("nft", "list", "set", "bridge", "count", "seen"); !strings.Contains(out, "1:7") || !strings.Contains(out, "root") {
		t.Errorf("priorities\n%s", out)
	}
	for i, c := range s.clients {
		c.call("Listen", "eth0", nil)
		c.Run("ip", "link", "set", "eth0", "address", []string{nicMAC, otherMAC}[i])
	}
	own, others := arp(1, mac(nicMAC), addr("10.77.0.11"), mac(nicMAC), addr("10.77.0.99")), arp(1, mac(otherMAC), addr("10.77.0.12"), mac(nicMAC), addr("10.77.0.98"))
	var heard [][]byte
	s.clients[0].call("Send", map[string]any{"Dev": "eth0", "Frames": [][]byte{ether(everybody, mac(nicMAC), etherARP, own)}}, nil)
	s.clients[1].call("Hear", map[string]any{"Dev": "eth0", "Until": ether(everybody, mac(nicMAC), etherARP, own)}, &heard)
	s.clients[1].call("Send", map[string]any{"Dev": "eth0", "Frames": [][]byte{ether(everybody, mac(otherMAC), etherARP, others)}}, nil)
	s.clients[0].call("Hear", map[string]any{"Dev": "eth0", "Until": ether(everybody, mac(otherMAC), etherARP, others)}, &heard)
	for _, b := range heard {
		if bytes.Contains(b, own) {
			t.Error("a client hears itself")
		}
	}
}

// TestTablesApart holds that what goes wrong with the table for NICs keeps
// nothing from the other, and is made good for.
func TestTablesApart(t *testing.T) {
	h := newBare(t)
	// Somebody else holds the table.
	holder := h.Start("sh", "-c", "(echo 'add table bridge netctl { flags owner; }'; while test ! -e "+h.dir+"/release; do sleep 0.05; done) | nft -i")
	h.Lab.Eventually(5*time.Second, "the table", func() error {
		if out := h.Run("nft", "list", "tables"); !strings.Contains(out, "bridge netctl") {
			return errors.New(out)
		}
		return nil
	})
	w := world(lan)
	w.Firewall.NICs = []*firewall.NIC{spoofer("v0", "a")}
	err := h.try("Apply", w, nil)
	if err == nil || !strings.Contains(err.Error(), "table bridge netctl: ") || strings.Contains(err.Error(), "table inet") {
		t.Errorf("err = %v", err)
	}
	if out := h.Run("nft", "list", "set", "inet", "netctl", "routed4"); !strings.Contains(out, "br0") {
		t.Errorf("the other table is not made:\n%s", out)
	}
	h.Run("touch", h.dir+"/release")
	if err := holder.Wait(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	h.apply(w)
}
