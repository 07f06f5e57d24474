package dataplane_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"netctl/network/dhcp"
	"netctl/network/firewall"
)

// lan is a network with both families.
var lan = bridge{name: "br0", v4: "10.77.0.1/24", v6: "fd77::1/64"}

// TestClients holds that two clients of a bridge get addresses of both
// families, reach each other, the gateway and the outside, and find each
// other by name.
func TestClients(t *testing.T) {
	s := newSite(t, 2)
	b := lan
	b.service = func(d *dhcp.Service) { d.DNSMode = "dynamic" }
	s.host.apply(world(b))
	s.plug("br0")
	v4, v6 := s.lease(prefix(lan.v6).Masked())

	if v4[0].Router != addr("10.77.0.1") || !slices.Equal(v4[0].DNS, []netip.Addr{addr("10.77.0.1")}) ||
		v4[0].Domain != "netctl" || v4[0].Expiry != "3600" || v4[0].Addr.Bits() != 24 {
		t.Errorf("lease %+v", v4[0])
	}
	for i, c := range s.clients {
		other := 1 - i
		for what, a := range map[string]netip.Addr{
			"the gateway": addr("10.77.0.1"), "the gateway over IPv6": addr("fd77::1"),
			"the other": v4[other].Addr.Addr(), "the other over IPv6": v6[other],
			"the outside": outsideV4, "the outside over IPv6": outsideV6,
		} {
			if err := c.Ping(a); err != nil {
				t.Errorf("%s does not reach %s: %v", c.Name, what, err)
			}
		}
		for _, server := range []string{"10.77.0.1", "fd77::1"} {
			var found []string
			c.call("Resolve", map[string]string{"Server": server, "Name": "c2.netctl"}, &found)
			if !slices.Contains(found, v4[1].Addr.Addr().String()) {
				t.Errorf("%s: c2.netctl is at %v, want %s", server, found, v4[1].Addr)
			}
		}
	}
	var leases []dhcp.Lease
	s.host.call("Leases", "br0", &leases)
	var got []string
	for _, l := range leases {
		got = append(got, l.Addr.String()+" "+l.Hostname)
		if !strings.Contains(s.host.Run("ip", "neigh", "show", l.Addr.String()), l.MAC) || l.Expires.IsZero() {
			t.Errorf("lease %+v", l)
		}
	}
	want := []string{v4[0].Addr.Addr().String() + " c1", v4[1].Addr.Addr().String() + " c2"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("leases %v, want %v", got, want)
	}
}

// TestNAT holds what the outside sees of a client.
func TestNAT(t *testing.T) {
	nat := func(v4, v6 string, after bool) func(*firewall.Network) {
		return func(n *firewall.Network) {
			n.V4.NAT, n.V6.NAT, n.V4.After, n.V6.After = true, true, after, after
			if v4 != "" {
				n.V4.NATAddr, n.V6.NATAddr = addr(v4), addr(v6)
			}
		}
	}
	own := "" // the address of the client itself
	for _, tt := range []struct {
		name     string
		firewall func(*firewall.Network)
		v4, v6   string
	}{
		{"none", nil, own, own},
		{"masquerade", nat("", "", false), hostV4.String(), hostV6.String()},
		{"masquerade after", nat("", "", true), hostV4.String(), hostV6.String()},
		{"snat", nat("203.0.113.5", "fd99::5", false), "203.0.113.5", "fd99::5"},
		{"snat after", nat("203.0.113.5", "fd99::5", true), "203.0.113.5", "fd99::5"},
		{"without firewall", func(n *firewall.Network) {
			n.V4.NAT, n.V6.NAT, n.V4.Filter, n.V6.Filter = true, true, false, false
		}, hostV4.String(), hostV6.String()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, 2)
			b := lan
			b.firewall = tt.firewall
			s.host.apply(world(b))
			s.plug("br0")
			v4, v6 := s.lease(prefix(lan.v6).Masked())
			want4, want6 := v4[0].Addr.Addr().String(), v6[0].String()
			if tt.v4 != own {
				want4, want6 = tt.v4, tt.v6
			}
			c := s.clients[0]
			for dst, want := range map[netip.Addr]string{outsideV4: want4, outsideV6: want6} {
				got, err := c.look(dst.String(), mirror)
				if err != nil {
					t.Fatal(err)
				}
				if got.String() != want {
					t.Errorf("%s sees %s, want %s", dst, got, want)
				}
			}
			// Inside the subnet nothing is translated.
			s.clients[1].call("Mirror", ":7777", nil)
			for dst, want := range map[netip.Addr]netip.Addr{v4[1].Addr.Addr(): v4[0].Addr.Addr(), v6[1]: v6[0]} {
				if got, err := c.look(dst.String(), mirror); err != nil || got != want {
					t.Errorf("%s sees %s (%v), want %s", dst, got, err, want)
				}
			}
		})
	}
}

// TestNATRoutes holds that what goes to the network's own routes keeps its
// source, wherever they lead, and that order decides between our rules and
// those of others.
func TestNATRoutes(t *testing.T) {
	s := newSite(t, 1)
	s.outside.Addr("eth0", "198.51.100.1/32", "2001:db8:9::1/128")
	s.host.Run("ip", "route", "add", "198.51.100.0/24", "via", outsideV4.String())
	s.host.Run("ip", "route", "add", "2001:db8:9::/48", "via", outsideV6.String())
	b := lan
	b.firewall = func(n *firewall.Network) {
		n.V4.NAT, n.V4.Routes = true, []netip.Prefix{prefix("198.51.100.0/24")}
		n.V6.NAT, n.V6.Routes = true, []netip.Prefix{prefix("2001:db8:9::/48")}
	}
	s.host.apply(world(b))
	s.plug("br0")
	v4, v6 := s.lease(prefix(lan.v6).Masked())
	for dst, want := range map[string]netip.Addr{
		"198.51.100.1": v4[0].Addr.Addr(), "2001:db8:9::1": v6[0],
		outsideV4.String(): hostV4, outsideV6.String(): hostV6,
	} {
		if got, err := s.clients[0].look(dst, mirror); err != nil || got != want {
			t.Errorf("%s sees %s (%v), want %s", dst, got, err, want)
		}
	}

	// Somebody else translates too, at the usual priority.
	s.host.Run("nft", "add table ip other; add chain ip other post { type nat hook postrouting priority srcnat; }; "+
		"add rule ip other post ip daddr "+outsideV4.String()+" snat to 203.0.113.77")
	for _, after := range []bool{false, true} {
		b := lan
		b.firewall = func(n *firewall.Network) { n.V4.NAT, n.V4.After = true, after }
		s.host.apply(world(b))
		want := hostV4
		if after {
			want = addr("203.0.113.77")
		}
		if got, err := s.clients[0].look(outsideV4.String(), mirror); err != nil || got != want {
			t.Errorf("after=%v: %s sees %s (%v), want %s", after, outsideV4, got, err, want)
		}
	}
	if out := s.host.Run("nft", "list", "table", "ip", "other"); !strings.Contains(out, "203.0.113.77") {
		t.Errorf("the table of somebody else is now\n%s", out)
	}
}

// TestRoutingOff holds that a family without routing is not forwarded, while
// clients still reach each other and the gateway; and that no router is
// offered.
func TestRoutingOff(t *testing.T) {
	s := newSite(t, 2)
	b := lan
	b.firewall = func(n *firewall.Network) { n.V4.Routing, n.V6.Routing = false, false }
	b.service = func(d *dhcp.Service) { d.V4.NoRouter, d.V6.NoRouter = true, true }
	s.host.apply(world(b))
	s.plug("br0")
	v4, v6 := s.lease(prefix(lan.v6).Masked())
	c := s.clients[0]
	if v4[0].Router.IsValid() {
		t.Errorf("router %s was offered", v4[0].Router)
	}
	if out := c.Run("ip", "-6", "route", "show", "default"); out != "" {
		t.Errorf("default route %s", out)
	}
	c.Run("ip", "route", "add", "default", "via", "10.77.0.1")
	c.Run("ip", "route", "add", "default", "via", "fd77::1")
	for _, a := range []netip.Addr{addr("10.77.0.1"), addr("fd77::1"), v4[1].Addr.Addr(), v6[1]} {
		if err := c.Ping(a); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	for _, a := range []netip.Addr{outsideV4, outsideV6} {
		if err := c.Ping(a); err == nil {
			t.Errorf("%s answers a client", a)
		}
	}
	for _, a := range []netip.Addr{v4[0].Addr.Addr(), v6[0]} {
		if err := s.outside.Ping(a); err == nil {
			t.Errorf("%s answers the outside", a)
		}
	}
	// Turned on again it works at once.
	s.host.apply(world(lan))
	for _, a := range []netip.Addr{outsideV4, outsideV6} {
		if err := c.Ping(a); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
}

// TestOffered holds what clients are told besides addresses.
func TestOffered(t *testing.T) {
	s := newSite(t, 1)
	b := lan
	b.service = func(d *dhcp.Service) {
		d.MTU, d.Search, d.Domain = 1400, []string{"a.example", "b.example"}, "lan.example"
		d.V4.Gateway, d.V4.Expiry = addr("10.77.0.250"), 5*time.Minute
		d.V4.Ranges = ranges("10.77.0.40-10.77.0.40")
	}
	s.host.apply(world(b))
	s.plug("br0")
	got := s.clients[0].DHCP4("eth0")
	if got.Addr != prefix("10.77.0.40/24") || got.Router != addr("10.77.0.250") || got.Domain != "lan.example" ||
		got.Search != "a.example b.example" || got.MTU != "1400" || got.Expiry != "300" {
		t.Errorf("lease %+v", got)
	}
	ra, err := s.clients[0].RouterAdvertisement("eth0")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Stateful address conf.    :           No", "Stateful other conf.      :          Yes",
		"fd77::/64", "Recursive DNS server     : fe80::", "a.example b.example",
	} {
		if !strings.Contains(ra, want) {
			t.Errorf("router advertisement without %q:\n%s", want, ra)
		}
	}
	// No DNS at all.
	b.service = func(d *dhcp.Service) { d.DNSMode = "none" }
	s.host.apply(world(b))
	if got := s.clients[0].DHCP4("eth0"); len(got.DNS) != 0 {
		t.Errorf("lease %+v", got)
	}
	if out := s.host.Run("ss", "-Hlnut", "sport = :53"); out != "" {
		t.Errorf("somebody listens on port 53:\n%s", out)
	}
}

// TestStateful holds that addresses come by DHCPv6, from the ranges that were
// set, and not by router advertisements.
func TestStateful(t *testing.T) {
	s := newSite(t, 1)
	b := lan
	b.service = func(d *dhcp.Service) {
		d.V6.Stateful, d.V6.Ranges, d.DNSMode = true, ranges("fd77::100-fd77::100"), "dynamic"
	}
	s.host.apply(world(b))
	s.plug("br0")
	c := s.clients[0]
	c.Address("eth0", prefix("fe80::/64"), 10*time.Second)
	ra, err := c.RouterAdvertisement("eth0")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Stateful address conf.    :          Yes", "Autonomous address conf.:           No"} {
		if !strings.Contains(ra, want) {
			t.Errorf("router advertisement without %q:\n%s", want, ra)
		}
	}
	var got []string
	c.call("DHCP6", map[string]string{"Dev": "eth0", "Name": "six"}, &got)
	if want := []string{"fd77::100", "fd77::1"}; !slices.Equal(got, want) {
		t.Errorf("address and name server %v, want %v", got, want)
	}
	mac := c.mac()
	// dnsmasq answers first and writes its leases then.
	s.Eventually(5*time.Second, "the lease", func() error {
		var leases []dhcp.Lease
		s.host.call("Leases", "br0", &leases)
		if len(leases) != 1 || leases[0].Addr != addr("fd77::100") || leases[0].MAC != mac || leases[0].Hostname != "six" {
			return fmt.Errorf("leases %+v, want one of %s", leases, mac)
		}
		return nil
	})
	var found []string
	c.Addr("eth0", "fd77::100/64")
	c.call("Resolve", map[string]string{"Server": "fd77::1", "Name": "six.netctl"}, &found)
	if !slices.Contains(found, "fd77::100") {
		t.Errorf("six.netctl is at %v", found)
	}
}

// TestOpenResolver holds that DNS is served to the network only, even when
// its subnet is public.
func TestOpenResolver(t *testing.T) {
	s := newSite(t, 1)
	b := lan
	b.v4 = "203.0.113.1/25"
	s.host.apply(world(b))
	s.plug("br0")
	s.lease(netip.Prefix{})
	var found []string
	ask := map[string]string{"Server": "203.0.113.1", "Name": "_gateway.netctl"}
	s.clients[0].call("Resolve", ask, &found)
	if !slices.Contains(found, "203.0.113.1") {
		t.Errorf("the client finds %v", found)
	}
	if err := s.outside.Ping(addr("203.0.113.1")); err != nil {
		t.Fatal(err)
	}
	if err := s.outside.try("Resolve", ask, &found); err == nil {
		t.Errorf("the outside finds %v", found)
	}
}
