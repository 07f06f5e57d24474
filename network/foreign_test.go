package network_test

import (
	"net/netip"
	"testing"

	"netctl/network"
	"netctl/network/link"
)

// TestTakes holds that nothing can be put behind a bridge that the host itself
// needs where it is, and everything else can.
func TestTakes(t *testing.T) {
	t.Parallel()
	addrs := func(list ...string) []link.Addr {
		var out []link.Addr
		for _, a := range list {
			out = append(out, link.Addr{Prefix: netip.MustParsePrefix(a)})
		}
		return out
	}
	o := &network.Observed{Observed: link.Observed{
		Links: map[string]*link.Seen{
			"lo":   {Name: "lo", Addrs: addrs("127.0.0.1/8", "203.0.113.7/32", "2001:db8:ffff::1/128")},
			"eth0": {Name: "eth0", Addrs: addrs("192.0.2.2/24", "2001:db8::2/64", "fe80::2/64")},
			"br0":  {Name: "br0", Alias: "netctl:br0", Addrs: addrs("10.1.0.1/24")},
		},
		Toward: map[netip.Addr]link.Toward{
			netip.MustParseAddr("192.0.2.1"):    {Dev: "eth0"},
			netip.MustParseAddr("198.51.100.1"): {Dev: "eth0", Via: netip.MustParseAddr("192.0.2.254")},
			netip.MustParseAddr("10.1.0.9"):     {Dev: "br0"},
		},
	}}
	const eth0 = "the address 192.0.2.2/24 of interface eth0"
	for p, want := range map[string]string{
		"192.0.2.0/24":           eth0,
		"192.0.0.0/16":           eth0,
		"192.0.2.0/29":           eth0,
		"192.0.2.2/32":           eth0,
		"192.0.2.1/32":           "peer 192.0.2.1 on interface eth0",
		"192.0.2.254/32":         "192.0.2.254 on interface eth0, the gateway to peer 198.51.100.1",
		"192.0.2.248/29":         "192.0.2.254 on interface eth0, the gateway to peer 198.51.100.1",
		"192.0.2.77/32":          "",
		"192.0.2.64/26":          "",
		"198.51.100.0/24":        "", // the peer is behind the gateway
		"203.0.113.0/24":         "",
		"203.0.113.7/32":         "the address 203.0.113.7/32 of interface lo",
		"10.1.0.9/32":            "", // what is ours is compared elsewhere
		"10.1.0.0/24":            "",
		"2001:db8::/32":          "the address 2001:db8::2/64 of interface eth0",
		"2001:db8::2/128":        "the address 2001:db8::2/64 of interface eth0",
		"2001:db8::77/128":       "",
		"2001:db8:0:1::/64":      "",
		"2001:db8:ffff::/48":     "",
		"2001:db8:ffff::1/128":   "the address 2001:db8:ffff::1/128 of interface lo",
		"2001:db8:ffff::1:0/112": "",
	} {
		if got := o.Takes(netip.MustParsePrefix(p)); got != want {
			t.Errorf("%s takes %q, want %q", p, got, want)
		}
	}
	if got := (&network.Observed{}).Takes(netip.MustParsePrefix("0.0.0.0/0")); got != "" {
		t.Errorf("of a host that has not been looked at, %q is taken", got)
	}
}
