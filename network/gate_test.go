package network_test

import (
	"net/netip"
	"strings"
	"testing"

	"netctl/config"
	"netctl/network"
	"netctl/network/link"
)

// TestGate shows a network to what is announced in every state that its
// interface can be in.
func TestGate(t *testing.T) {
	server, err := config.ServerSchema.Decode(map[string]string{"core.bgp_asn": "65000", "core.bgp_address": "192.0.2.9"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := config.BridgeSchema.Decode(map[string]string{
		"ipv4.address": "10.1.0.1/24", "ipv6.address": "none", "bgp.peers.x.address": "192.0.2.1", "bgp.peers.x.asn": "65001",
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &network.Snapshot{
		Revision: 1, Servers: map[string]config.Server{"none": server},
		Objects: network.Objects{Networks: []*network.Network{{Name: "br0", Config: map[string]config.Bridge{"none": b}}}},
	}
	at := func(s string) []link.Addr { return []link.Addr{{Prefix: netip.MustParsePrefix(s)}} }
	for name, tt := range map[string]struct {
		seen link.Seen
		held string
	}{
		"up":                 {link.Seen{Name: "br0", Alias: "netctl:br0", Up: true, Addrs: at("10.1.0.1/24")}, ""},
		"down":               {link.Seen{Name: "br0", Alias: "netctl:br0", Addrs: at("10.1.0.1/24")}, "is down"},
		"not there":          {link.Seen{Name: "br1", Alias: "netctl:br0", Up: true, Addrs: at("10.1.0.1/24")}, "does not exist"},
		"foreign":            {link.Seen{Name: "br0", Up: true, Addrs: at("10.1.0.1/24")}, "is not netctl's"},
		"of another network": {link.Seen{Name: "br0", Alias: "netctl:br1", Up: true, Addrs: at("10.1.0.1/24")}, "is not netctl's"},
		"another address":    {link.Seen{Name: "br0", Alias: "netctl:br0", Up: true, Addrs: at("10.1.0.2/24")}, "does not have address 10.1.0.1/24"},
		"another length":     {link.Seen{Name: "br0", Alias: "netctl:br0", Up: true, Addrs: at("10.1.0.1/25")}, "does not have address 10.1.0.1/24"},
	} {
		o := &network.Observed{Observed: link.Observed{Links: map[string]*link.Seen{tt.seen.Name: &tt.seen}}}
		h, err := network.Derive(s, o, "none")
		if err != nil {
			t.Fatal(err)
		}
		held := h.Exports[0].Held
		if (held == "") != (tt.held == "") || !strings.Contains(held, tt.held) || (len(h.BGP.Paths) == 1) != (tt.held == "") {
			t.Errorf("%s: held %q, want %q; paths %v", name, held, tt.held, h.BGP.Paths)
		}
	}
}

// TestGateOfRoutes shows an external prefix to what is announced in every state
// that the route to it can be in.
func TestGateOfRoutes(t *testing.T) {
	f := fixture{
		Server:   map[string]string{"core.bgp_asn": "65000", "core.bgp_address": "192.0.2.9"},
		Networks: map[string]map[string]string{"br0": {"ipv4.address": "10.1.0.1/24", "ipv4.nat": "true", "ipv6.address": "none", "bgp.peers.x.address": "192.0.2.1", "bgp.peers.x.asn": "65001"}},
		Instances: map[string]map[string]map[string]string{
			"web": {"eth0": {"network": "br0", "ipv4.address": "10.1.0.10", "ipv4.routes.external": "198.51.100.0/24"}},
		},
		Up: true,
	}
	s, err := f.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	p := netip.MustParsePrefix("198.51.100.0/24")
	around, inside := netip.MustParsePrefix("198.51.0.0/16"), netip.MustParsePrefix("198.51.100.0/25")
	for name, tt := range map[string]struct {
		own, foreign []netip.Prefix
		metric       uint32
		addr         string
		held         string
		rests        bool
	}{
		"there":                  {own: []netip.Prefix{p}},
		"there among others":     {own: []netip.Prefix{around, p, inside}, foreign: []netip.Prefix{around, inside}},
		"not there":              {own: []netip.Prefix{around, inside}, foreign: []netip.Prefix{around}, held: "the host has no route to 198.51.100.0/24 yet"},
		"of another metric":      {own: []netip.Prefix{p}, metric: 5, held: "the host has no route to"},
		"somebody else's":        {foreign: []netip.Prefix{p}, held: "is not netctl's", rests: true},
		"of an interface":        {addr: "198.51.100.9/24", held: "is not netctl's", rests: true},
		"beside a subnet inside": {own: []netip.Prefix{p}, addr: "198.51.100.9/25"},
	} {
		o := f.observed(s)
		o.Own, o.Routes = nil, tt.foreign
		for _, p := range tt.own {
			r := link.OnLink(p, "br0", "web/eth0")
			r.Metric = tt.metric
			o.Own = append(o.Own, r)
		}
		if tt.addr != "" {
			o.Links["eth9"] = &link.Seen{Name: "eth9", Up: true, Addrs: []link.Addr{{Prefix: netip.MustParsePrefix(tt.addr)}}}
		}
		h, err := network.Derive(s, o, "none")
		if err != nil {
			t.Fatal(err)
		}
		e := h.Exports[0]
		if (e.Held == "") != (tt.held == "") || !strings.Contains(e.Held, tt.held) || e.Rests != tt.rests || (len(h.BGP.Paths) == 1) != (tt.held == "") {
			t.Errorf("%s: held %q, rests %t; want %q, %t; paths %v", name, e.Held, e.Rests, tt.held, tt.rests, h.BGP.Paths)
		}
	}
}
