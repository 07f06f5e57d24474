package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// NIC is the decoded configuration of a device of type nic.
type NIC struct {
	Network  string
	Name     string // of the interface inside the instance; empty for the name of the device
	HWAddr   string // empty for one that is chosen when the device is added
	HostName string // of the interface on the host; empty for one that is chosen
	MTU      int    // bytes; 0 for that of the network
	V4, V6   NICFamily
	Ingress  uint64 // toward the instance, bits per second; 0 for no limit
	Egress   uint64 // from the instance, bits per second; 0 for no limit
	Priority uint32 // of its packets; 0 leaves it to them

	MACFilter bool // security.mac_filtering, or implied by the filters of addresses
	Isolated  bool // security.port_isolation

	TapUID, TapGID uint32 // who may open the tap of a virtual machine
	MultiQueue     bool   // the tap has several queues
}

// NICFamily is what a NIC has once for each address family.
type NICFamily struct {
	Address  netip.Addr     // static; zero for none
	Routes   []netip.Prefix // to the NIC; sorted, masked
	External []netip.Prefix // the same, and exported over BGP; sorted, masked
	Filter   bool           // security.ipvN_filtering
}

// NICSchema declares the keys of devices of type nic.
var NICSchema = newSchema("device-nic", "Device of type nic", nicRules, slices.Concat(
	nicKeys, nicFamilyKeys(4), nicFamilyKeys(6), nicLimitKeys, nicSecurityKeys, tapKeys,
)...).refuse(map[string]string{
	"vlan":        "VLANs are not possible on a NIC; give each its own network",
	"vlan.tagged": "VLANs are not possible on a NIC; give each its own network",
	"nictype":     "a NIC is on one of netctl's networks: use network=NAME instead",
	"parent":      "a NIC is on one of netctl's networks: use network=NAME instead",
})

func (n *NIC) family(v int) *NICFamily {
	if v == 4 {
		return &n.V4
	}
	return &n.V6
}

var nicKeys = []entry[NIC]{
	assign(Key{
		Name: "type", Default: "nic",
		Doc: "Type of the device.",
	}, oneOf("nic"), func(*NIC, string, string) {}),
	field(Key{
		Name: "network",
		Doc:  "Network that the NIC is on.",
	}, networkName, func(n *NIC) *string { return &n.Network }),
	field(Key{
		Name: "name", DefaultDoc: "the name of the device",
		Doc: "Name of the interface inside the instance.",
	}, nicInterface, func(n *NIC) *string { return &n.Name }),
	field(Key{
		Name: "hwaddr", DefaultDoc: "chosen when the device is added, and kept",
		Doc: "MAC address of the NIC.",
	}, macAddress, func(n *NIC) *string { return &n.HWAddr }),
	field(Key{
		Name: "host_name", DefaultDoc: "chosen when the device is added, and kept",
		Doc: "Name of the interface on the host.",
	}, nicInterface, func(n *NIC) *string { return &n.HostName }),
	field(Key{
		Name: "mtu", DefaultDoc: "that of the network",
		Doc:    "MTU of the NIC.",
		Detail: "From 68 to 65535 bytes.",
	}, integer("integer", 68, 65535), func(n *NIC) *int { return &n.MTU }),
}

func nicFamilyKeys(v int) []entry[NIC] {
	key := func(suffix string) string { return fmt.Sprintf("ipv%d.%s", v, suffix) }
	return []entry[NIC]{
		field(Key{
			Name: key("address"), DefaultDoc: "one from the DHCP ranges of the network",
			Doc:    fmt.Sprintf("IPv%d address that DHCP always gives to the NIC.", v),
			Detail: "Inside the subnet of the network.",
		}, address(v), func(n *NIC) *addr { return &n.family(v).Address }),
		field(Key{
			Name: key("routes"), DefaultDoc: "none",
			Doc:    "Prefixes to route to the NIC while the instance runs.",
			Detail: fmt.Sprintf("Through `ipv%d.address` when that is set, else they are taken to be on the bridge.", v),
		}, routes(v), func(n *NIC) *[]netip.Prefix { return &n.family(v).Routes }),
		field(Key{
			Name: key("routes.external"), DefaultDoc: "none",
			Doc:    fmt.Sprintf("Prefixes that are routed as with `ipv%d.routes` and exported over BGP while the instance runs.", v),
			Detail: fmt.Sprintf("No other NIC may have the same unless their networks have `ipv%d.routes.anycast=true`.", v),
		}, routes(v), func(n *NIC) *[]netip.Prefix { return &n.family(v).External }),
	}
}

var nicLimitKeys = []entry[NIC]{
	field(Key{
		Name: "limits.ingress", DefaultDoc: "none",
		Doc:    "Highest rate of what goes to the instance.",
		Detail: "In bits per second, with a suffix like `kbit`, `Mbit`, `Gbit` or `Kibit`.",
	}, bitRate, func(n *NIC) *uint64 { return &n.Ingress }),
	field(Key{
		Name: "limits.egress", DefaultDoc: "none",
		Doc:    "Highest rate of what comes from the instance.",
		Detail: "As `limits.ingress`.",
	}, bitRate, func(n *NIC) *uint64 { return &n.Egress }),
	assign(Key{
		Name: "limits.max", DefaultDoc: "none",
		Doc:    "Both `limits.ingress` and `limits.egress`.",
		Detail: "Not together with either.",
	}, bitRate, func(n *NIC, _ string, v uint64) { n.Ingress, n.Egress = v, v }),
	field(Key{
		Name: "limits.priority", DefaultDoc: "left as it is",
		Doc:    "Priority (`skb->priority`) of what comes from the instance.",
		Detail: "A number from 1 to 4294967295, for queueing disciplines of the host.",
	}, integer[uint32]("integer", 1, math.MaxUint32), func(n *NIC) *uint32 { return &n.Priority }),
}

var nicSecurityKeys = []entry[NIC]{
	field(Key{
		Name: "security.mac_filtering", Default: "false",
		Doc: "Drop what the instance sends with a MAC address other than its own.",
	}, boolean, func(n *NIC) *bool { return &n.MACFilter }),
	field(Key{
		Name: "security.ipv4_filtering", Default: "false",
		Doc:    "Drop what the instance sends with an IPv4 address, also in ARP, other than its own and its routes, and what only a DHCP server sends.",
		Detail: "Needs `ipv4.address` unless the network has no IPv4. Turns on `security.mac_filtering`.",
	}, boolean, func(n *NIC) *bool { return &n.V4.Filter }),
	field(Key{
		Name: "security.ipv6_filtering", Default: "false",
		Doc:    "Drop what the instance sends with an IPv6 address, also in neighbour discovery, other than its own, its link-local one and its routes, and what only routers and DHCP servers send.",
		Detail: "Needs `ipv6.address` unless the network has no IPv6. Turns on `security.mac_filtering`.",
	}, boolean, func(n *NIC) *bool { return &n.V6.Filter }),
	field(Key{
		Name: "security.port_isolation", Default: "false",
		Doc: "Keep the NIC from talking to others of the network that are isolated too.",
	}, boolean, func(n *NIC) *bool { return &n.Isolated }),
}

var tapKeys = []entry[NIC]{
	field(Key{
		Name: "tap.uid", Default: "0",
		Doc:    "User, as a number, that may open the tap of a virtual machine.",
		Detail: "Root always may. Only for instances of type virtual-machine, as all of `tap`.",
	}, integer[uint32]("integer", 0, math.MaxUint32-1), func(n *NIC) *uint32 { return &n.TapUID }),
	field(Key{
		Name: "tap.gid", Default: "0",
		Doc: "Group, as a number, that may open the tap.",
	}, integer[uint32]("integer", 0, math.MaxUint32-1), func(n *NIC) *uint32 { return &n.TapGID }),
	field(Key{
		Name: "tap.multiqueue", Default: "false",
		Doc:    "Make a tap with several queues.",
		Detail: "It must agree with how it is opened (`queues=` of QEMU). Virtual network headers are up to whoever opens it.",
	}, boolean, func(n *NIC) *bool { return &n.MultiQueue }),
}

// nicRules are the conditions that involve more than one key of a NIC.
var nicRules = []rule[NIC]{
	{"A NIC needs `network`.", func(c *check[NIC]) {
		if c.raw["network"] == "" {
			c.fail("network", "missing; a NIC needs a network")
		}
	}},
	{"`limits.max` stands alone.", func(c *check[NIC]) {
		for _, key := range []string{"limits.ingress", "limits.egress"} {
			if c.raw["limits.max"] != "" && c.raw[key] != "" {
				c.fail(key, "cannot be used together with limits.max")
			}
		}
	}},
	{"The routes of a NIC do not overlap.", checkNICRoutes},
	{"", func(c *check[NIC]) {
		n := &c.value
		n.MACFilter = n.MACFilter || n.V4.Filter || n.V6.Filter
	}},
}

// checkNICRoutes refuses routes of one NIC inside each other, and static
// addresses inside its own routes: the host would look for the address behind
// itself.
func checkNICRoutes(c *check[NIC]) {
	for _, v := range []int{4, 6} {
		f, prefix := c.value.family(v), fmt.Sprintf("ipv%d.", v)
		type keyed struct {
			netip.Prefix
			key string
		}
		var seen []keyed
		for _, l := range []struct {
			key string
			all []netip.Prefix
		}{{"routes", f.Routes}, {"routes.external", f.External}} {
			for _, r := range l.all {
				for _, o := range seen {
					if o.Overlaps(r) {
						c.fail(prefix+l.key, "%s overlaps %s of %s", r, o.Prefix, prefix+o.key)
					}
				}
				if f.Address.IsValid() && r.Contains(f.Address) {
					c.fail(prefix+l.key, "%s contains the NIC's own %saddress %s", r, prefix, f.Address)
				}
				seen = append(seen, keyed{r, l.key})
			}
		}
	}
}
