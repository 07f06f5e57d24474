package firewall

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNIC(t *testing.T) {
	base := NIC{Owner: "web/eth0", Dev: "veth1", Network: "br0", MAC: "00:16:3e:00:00:07"}
	with := func(change func(*NIC)) NIC { n := base; change(&n); return n }
	for _, tt := range []struct {
		name string
		nic  NIC
		want string
	}{
		{"without filters", with(func(n *NIC) { n.V4.Static, n.V4.Behind = addr("10.0.0.5"), []netip.Prefix{prefix("198.51.100.0/24")} }), ``},
		{"MAC", with(func(n *NIC) { n.FilterMAC = true }), `
nic_filtered { "veth1" }
nic_links { "veth1" . 0x163e000007 }
nic_mac { "veth1" }
nic_macs { "veth1" . 00:16:3e:00:00:07 }`},
		{"IPv4", with(func(n *NIC) {
			n.V4 = NICFamily{Filter: true, Static: addr("10.0.0.5"), Subnet: prefix("10.0.0.0/24"), Behind: []netip.Prefix{prefix("198.51.100.0/24"), prefix("203.0.113.9/32")}}
		}), `
nic_addrs4 { "veth1" . 10.0.0.5 }
nic_addrs4 { "veth1" . 203.0.113.9 }
nic_filtered { "veth1" }
nic_ip { "veth1" }
nic_ipv4 { "veth1" }
nic_nets4 { "veth1" . 198.51.100.0/24 }`},
		{"IPv6", with(func(n *NIC) {
			n.V6 = NICFamily{Filter: true, Subnet: prefix("fd42::/64"), Behind: []netip.Prefix{prefix("2001:db8::/48")}}
		}), `
nic_addrs6 { "veth1" . fe80::216:3eff:fe00:7 }
nic_filtered { "veth1" }
nic_ip { "veth1" }
nic_ipv6 { "veth1" }
nic_nets6 { "veth1" . 2001:db8::/48 }
nic_target_nets { "veth1" . 0x20010db8000000000000000000000000-0x20010db80000ffffffffffffffffffff }
nic_targets { "veth1" . 0xfe8000000000000002163efffe000007 }`},
		{"without addresses", with(func(n *NIC) { n.V6.Filter = true }), `
nic_filtered { "veth1" }
nic_ip { "veth1" }
nic_ipv6 { "veth1" }`},
		{"part of what is translated", with(func(n *NIC) {
			n.V4 = NICFamily{NAT: true, Subnet: prefix("10.0.0.0/24"), Behind: []netip.Prefix{prefix("10.0.0.128/25"), prefix("203.0.113.9/32")}}
		}), `
own4 { 10.0.0.128/25 }`},
		{"priority", with(func(n *NIC) { n.Priority, n.Hairpin = 0xabcdef01, true }), `
nic_priorities { "veth1" : abcd:ef01 }
nic_selves { "veth1" . "veth1" }`},
		{"the highest priority", with(func(n *NIC) { n.Priority, n.MAC = 1<<32-1, "" }), `
nic_priorities { "veth1" : root }`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			listed(t, &tt.nic, tt.want)
			if got := (Config{NICs: []*NIC{&tt.nic}}).Needs(Bridge); got != strings.Contains(tt.want, "nic_") {
				t.Errorf("needs the table: %v", got)
			}
		})
	}
}

func TestBadNIC(t *testing.T) {
	for _, tt := range []struct {
		nic  NIC
		want string
	}{
		{NIC{Owner: "web/eth0", Dev: `a"`}, `nic web/eth0: the interface "a\"" is not fit for the packet filter`},
		{NIC{Owner: "web/eth0", Dev: "a", FilterMAC: true}, `nic web/eth0: "" is not its MAC address`},
		{NIC{Owner: "web/eth0", Dev: "a", FilterMAC: true, MAC: "00:00:5e:00:53:00:00:01"}, `is not its MAC address`},
	} {
		if _, err := tt.nic.Content(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.nic, err, tt.want)
		}
	}
}

// FuzzNIC holds that no name or address can say anything to nft but itself.
func FuzzNIC(f *testing.F) {
	for _, s := range []string{"veth0", "veth*", `veth"`, "veth\n", "0x1", ""} {
		f.Add(s, "02:00:00:00:00:01")
		f.Add("veth0", s)
	}
	f.Fuzz(func(t *testing.T, dev, mac string) {
		n := NIC{Owner: "a/b", Dev: dev, MAC: mac, FilterMAC: true, Priority: 7, Hairpin: true, V4: NICFamily{Filter: true}, V6: NICFamily{Filter: true}}
		c, err := n.Content()
		if err != nil {
			return
		}
		for _, e := range c.Elements {
			for word := range strings.SplitSeq(e.Key, " . ") {
				if word != `"`+dev+`"` && strings.Trim(word, "0123456789abcdefx:.") != "" || strings.ContainsAny(dev, "\"*\\ \t\r\n{}:,;#$") {
					t.Errorf("%q and %q become %s", dev, mac, e)
				}
			}
		}
	})
}
