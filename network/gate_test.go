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
