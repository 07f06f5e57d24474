package dataplane_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go4.org/netipx"

	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/network/link"
	"netctl/test/lab"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// A bridge is a network, from which all that it needs of a host follows.
type bridge struct {
	name     string
	v4, v6   string // addresses, empty for none
	ports    []string
	routes   []string
	firewall func(*firewall.Network)
	service  func(*dhcp.Service)
	link     func(*link.Link)
}

// world is a host with networks, as the daemon would want it.
func world(bridges ...bridge) World {
	w := World{Link: link.State{Sysctls: []link.Sysctl{
		{Key: "net/ipv4/ip_forward", Value: "1"},
		{Key: "net/ipv6/conf/all/forwarding", Value: "1"},
	}}}
	if len(bridges) == 0 {
		return World{}
	}
	bridges = slices.Clone(bridges)
	slices.SortFunc(bridges, func(a, b bridge) int { return strings.Compare(a.name, b.name) })
	for _, b := range bridges {
		l := link.Link{Name: b.name, Kind: link.Bridge, Owner: b.name, MTU: 1500, Ports: b.ports}
		n := firewall.Network{Name: b.name, DNS: true}
		s := dhcp.Service{Network: b.name, DNSMode: "managed", Domain: "netctl", MTU: 1500}
		conf6 := "net/ipv6/conf/" + b.name + "/"
		for _, k := range []string{"accept_dad", "accept_ra"} {
			l.Sysctls = append(l.Sysctls, link.Sysctl{Key: conf6 + k, Value: "0"})
		}
		for _, f := range []struct {
			address  string
			firewall *firewall.Family
			dhcp     *dhcp.Family
		}{{b.v4, &n.V4, &s.V4}, {b.v6, &n.V6, &s.V6}} {
			if f.address == "" {
				continue
			}
			p := prefix(f.address)
			l.Addrs = append(l.Addrs, p)
			*f.firewall = firewall.Family{Subnet: p.Masked(), Filter: true, Routing: true, DHCP: true}
			*f.dhcp = dhcp.Family{Address: p, DHCP: true, Expiry: time.Hour}
		}
		if b.firewall != nil {
			b.firewall(&n)
		}
		if b.service != nil {
			b.service(&s)
		}
		if b.link != nil {
			b.link(&l)
		}
		slices.SortFunc(l.Sysctls, func(a, b link.Sysctl) int { return strings.Compare(a.Key, b.Key) })
		w.Link.Links = append(w.Link.Links, &l)
		for _, r := range b.routes {
			w.Link.Routes = append(w.Link.Routes, link.OnLink(prefix(r), b.name, b.name))
		}
		w.Firewall.Networks = append(w.Firewall.Networks, &n)
		w.DHCP = append(w.DHCP, &s)
	}
	slices.SortFunc(w.Link.Routes, (*link.Route).Compare)
	return w
}

// tools are what every lab here needs.
var tools = []string{"nft", "dnsmasq", "udhcpc", "rdisc6", "ping", "bridge"}

// A site is a host with an uplink to the outside, and clients whose
// interfaces eth0 are ports of br0, as the instances of a hypervisor are.
type site struct {
	*lab.Lab
	host, outside *host
	clients       []*host
}

// The uplink of a site.
var (
	hostV4, outsideV4 = addr("192.0.2.1"), addr("192.0.2.2")
	hostV6, outsideV6 = addr("2001:db8::1"), addr("2001:db8::2")
)

const mirror = 7777

// newSite makes a site with n clients. What leaves the host unchanged finds
// back through routes to the documentation's subnets for tests.
func newSite(t *testing.T, n int) *site {
	t.Helper()
	t.Parallel()
	l := lab.New(t, tools...)
	s := &site{Lab: l, host: newHost(t, l, "host"), outside: newHost(t, l, "outside")}
	l.Link(s.host.NS, "up0", s.outside.NS, "eth0")
	s.host.Addr("up0", hostV4.String()+"/24", hostV6.String()+"/64")
	s.outside.Addr("eth0", outsideV4.String()+"/24", outsideV6.String()+"/64")
	s.outside.Run("ip", "route", "add", "10.0.0.0/8", "via", hostV4.String())
	s.outside.Run("ip", "route", "add", "203.0.113.0/24", "via", hostV4.String())
	s.outside.Run("ip", "route", "add", "fd00::/8", "via", hostV6.String())
	s.outside.call("Mirror", ":7777", nil)
	for i := range n {
		s.clients = append(s.clients, newHost(t, l, "c"+string(rune('1'+i))))
	}
	return s
}

// plug makes all clients ports of a bridge.
func (s *site) plug(bridge string) {
	s.Helper()
	for _, c := range s.clients {
		port := "v" + c.Name
		s.Link(s.host.NS, port, c.NS, "eth0")
		s.host.Run("ip", "link", "set", port, "master", bridge)
	}
}

// lease gets an IPv4 lease for every client, and an IPv6 address over router
// advertisements when within is valid.
func (s *site) lease(within netip.Prefix) (v4 []lab.DHCPLease, v6 []netip.Addr) {
	s.Helper()
	for _, c := range s.clients {
		v4 = append(v4, c.DHCP4("eth0"))
		if within.IsValid() {
			if out, err := c.RouterAdvertisement("eth0"); err != nil {
				s.Fatalf("%s: %v\n%s", c.Name, err, out)
			}
			v6 = append(v6, c.Address("eth0", within, 10*time.Second))
		}
	}
	return v4, v6
}

func ranges(ss ...string) []netipx.IPRange {
	var rs []netipx.IPRange
	for _, s := range ss {
		rs = append(rs, netipx.MustParseIPRange(s))
	}
	return rs
}
