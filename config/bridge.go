package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go4.org/netipx"
)

// Short names for the types of fields.
type (
	addr     = netip.Addr
	addrPort = netip.AddrPort
)

// BridgeSchema declares the keys of networks of type bridge.
var BridgeSchema = newSchema("network-bridge", "Network of type bridge", bridgeRules, slices.Concat(
	peerKeys,
	nextHopKeys(4), nextHopKeys(6),
	bridgeKeys,
	familyKeys(4), familyKeys(6),
	[]entry[Bridge]{field(Key{
		Name: "raw.dnsmasq",
		Doc:  "Lines to append to the configuration of dnsmasq.",
	}, text, func(b *Bridge) *string { return &b.RawDNSMasq })},
	aclKeys,
)...)

// family returns the part of b that belongs to address family n.
func (b *Bridge) family(n int) *Family {
	if n == 4 {
		return &b.V4
	}
	return &b.V6
}

// peer returns the peer called name, and makes it when it does not exist.
func (b *Bridge) peer(name string) *Peer {
	if b.Peers == nil {
		b.Peers = map[string]*Peer{}
	}
	if b.Peers[name] == nil {
		b.Peers[name] = &Peer{}
	}
	return b.Peers[name]
}

var peerKeys = []entry[Bridge]{
	assign(Key{
		Name:   "bgp.peers.NAME.address",
		Doc:    "Address of the peer.",
		Detail: "`192.0.2.1:1179` and `[2001:db8::1]:1179` give the port as well.",
	}, peerAddress, func(b *Bridge, name string, v addrPort) {
		p := b.peer(name)
		p.Address = v.Addr()
		if v.Port() != 0 {
			p.Port = v.Port()
		}
	}),
	named(Key{
		Name: "bgp.peers.NAME.asn",
		Doc:  "AS number of the peer.",
	}, asn, func(b *Bridge, name string) *uint32 { return &b.peer(name).ASN }),
	named(Key{
		Name:       "bgp.peers.NAME.password",
		DefaultDoc: "no password",
		Doc:        "Password of the session (TCP MD5, RFC 2385).",
		Detail:     "At most 80 printable ASCII characters without spaces.",
	}, md5Key, func(b *Bridge, name string) *string { return &b.peer(name).Password }),
	named(Key{
		Name: "bgp.peers.NAME.holdtime", Default: "180",
		Doc:    "How long a silent peer is taken to be alive.",
		Detail: "0 for ever, or from 9 to 65535. The smaller of ours and the peer's applies. The two are agreed when a session begins: a change takes effect with the next one, see `netctl bgp reset`.",
	}, holdTime, func(b *Bridge, name string) *time.Duration { return &b.peer(name).HoldTime }),
	named(Key{
		Name: "bgp.peers.NAME.port", Default: fmt.Sprint(BGPPort),
		Doc: "Port of the peer.",
	}, port, func(b *Bridge, name string) *uint16 { return &b.peer(name).Port }),
	named(Key{
		Name:       "bgp.peers.NAME.local_address",
		DefaultDoc: "the address that packets to the peer have as their source",
		Doc:        "Our address of the session.",
		Detail:     "Of the same family as the address of the peer.",
	}, endpoint, func(b *Bridge, name string) *addr { return &b.peer(name).LocalAddr }),
	named(Key{
		Name:       "bgp.peers.NAME.multihop",
		DefaultDoc: "255 for a peer that is not on a link of the host",
		Doc:        "TTL of the packets of the session, for a peer that is some hops away.",
		Detail:     "From 1 to 255. Not together with `ttl_security`.",
	}, integer[uint8]("integer", 1, 255), func(b *Bridge, name string) *uint8 { return &b.peer(name).Multihop }),
	named(Key{
		Name:       "bgp.peers.NAME.ttl_security",
		DefaultDoc: "off",
		Doc:        "Smallest TTL that is accepted from the peer (GTSM, RFC 5082).",
		Detail:     "From 1 to 255; 255 for a peer on a link of the host, one less for each hop. Not together with `multihop`.",
	}, integer[uint8]("integer", 1, 255), func(b *Bridge, name string) *uint8 { return &b.peer(name).TTLSecurity }),
	named(Key{
		Name: "bgp.peers.NAME.passive", Default: "false",
		Doc:    "Wait for the peer to connect.",
		Detail: "A change takes effect with the next session.",
	}, boolean, func(b *Bridge, name string) *bool { return &b.peer(name).Passive }),
}

func nextHopKeys(n int) []entry[Bridge] {
	return []entry[Bridge]{field(Key{
		Name: fmt.Sprintf("bgp.ipv%d.nexthop", n), Scope: Member,
		DefaultDoc: "the member's own address toward the peer",
		Doc:        fmt.Sprintf("Next hop of the IPv%d prefixes that this network exports.", n),
	}, address(n), func(b *Bridge) *addr { return &b.family(n).NextHop })}
}

var bridgeKeys = []entry[Bridge]{
	field(Key{
		Name: "bridge.mtu", Default: "1500",
		Doc:    "MTU of the bridge.",
		Detail: "From 68 to 65535 bytes, at least 1280 with IPv6.",
	}, integer("integer", 68, 65535), func(b *Bridge) *int { return &b.MTU }),
	field(Key{
		Name:       "bridge.hwaddr",
		DefaultDoc: "derived from the name, always the same",
		Doc:        "MAC address of the bridge.",
	}, macAddress, func(b *Bridge) *string { return &b.HWAddr }),
	field(Key{
		Name: "bridge.external_interfaces", Scope: Member,
		DefaultDoc: "none",
		Doc:        "Interfaces of the host to make ports of the bridge.",
		Detail:     "They must have no addresses of their own.",
	}, interfaces, func(b *Bridge) *[]string { return &b.External }),
	field(Key{
		Name: "dns.domain", Default: "netctl",
		Doc:    "Domain that is announced to clients and that their names are in.",
		Detail: "Not with `dns.mode=none`.",
	}, dnsName, func(b *Bridge) *string { return &b.Domain }),
	field(Key{
		Name: "dns.mode", Default: "managed",
		Doc:    "Which names the DNS server of the bridge knows.",
		Detail: "`managed`: the names of instances, for static addresses always and for others while they are leased; clients cannot name themselves. `dynamic`: the names that clients send with DHCP, but for those of instances with static addresses. `none`: there is no DNS server. `raw.dnsmasq` can add more.",
	}, oneOf("managed", "dynamic", "none"), func(b *Bridge) *string { return &b.DNSMode }),
	field(Key{
		Name:       "dns.search",
		DefaultDoc: "the value of `dns.domain`, or none with `dns.mode=none`",
		Doc:        "Domains in which clients search for names.",
	}, list(dnsName, "list of DNS names"), func(b *Bridge) *[]string { return &b.Search }),
}

// familyKeys declares what exists for IPv4 and IPv6 alike, and what exists for
// one of them only.
func familyKeys(n int) []entry[Bridge] {
	keys := slices.Concat(dhcpKeys(n), trafficKeys(n))
	return append([]entry[Bridge]{field(Key{
		Name:       fmt.Sprintf("ipv%d.address", n),
		DefaultDoc: "auto when the network is created, then none",
		Doc:        fmt.Sprintf("IPv%d address of the bridge, with the length of its subnet.", n),
		Detail:     fmt.Sprintf("`auto` chooses a free subnet and turns on `ipv%d.nat`; the chosen address takes its place. `none` turns IPv%d off. No interface of the host may have an address in the subnet, other than a /%d.", n, n, map[int]int{4: 32, 6: 128}[n]),
	}, hostCIDR(n), func(b *Bridge) *netip.Prefix { return &b.family(n).Address })}, keys...)
}

func dhcpKeys(n int) []entry[Bridge] {
	keys := []entry[Bridge]{
		field(Key{
			Name: fmt.Sprintf("ipv%d.dhcp", n), Default: "true",
			Doc:    [...]string{4: "Give clients addresses over DHCP.", 6: "Answer DHCPv6: with addresses when `ipv6.dhcp.stateful` is set, else with the DNS server and its domains only."}[n],
			Detail: [...]string{4: "", 6: "Router advertisements are sent in a subnet of length 64 or less even when this is false; with `ipv6.routing=false` they name no gateway."}[n],
		}, boolean, func(b *Bridge) *bool { return &b.family(n).DHCP }),
		field(Key{
			Name: fmt.Sprintf("ipv%d.dhcp.expiry", n), Default: "1h",
			Doc:    "How long a lease is valid.",
			Detail: "A number with unit `s`, `m`, `h`, `d` or `w`, at least two minutes, or `infinite`.",
		}, leaseTime, func(b *Bridge) *time.Duration { return &b.family(n).DHCPExpiry }),
		field(Key{
			Name:       fmt.Sprintf("ipv%d.dhcp.ranges", n),
			DefaultDoc: "all addresses of the subnet",
			Doc:        "Ranges to give addresses from.",
			Detail:     "Each is written `first-last`, inside the subnet.",
		}, ranges(n), func(b *Bridge) *[]netipx.IPRange { return &b.family(n).DHCPRanges }),
	}
	if n == 4 {
		return append(keys, field(Key{
			Name:       "ipv4.dhcp.gateway",
			DefaultDoc: "the address of the bridge",
			Doc:        "Gateway that clients are told.",
			Detail:     "Inside the subnet.",
		}, address(4), func(b *Bridge) *addr { return &b.V4.DHCPGateway }))
	}
	return append(keys, field(Key{
		Name: "ipv6.dhcp.stateful", Default: "false",
		Doc: "Give clients addresses over DHCPv6 instead of letting them choose.",
	}, boolean, func(b *Bridge) *bool { return &b.V6.Stateful }))
}

func trafficKeys(n int) []entry[Bridge] {
	key := func(suffix string) string { return fmt.Sprintf("ipv%d.%s", n, suffix) }
	return []entry[Bridge]{
		field(Key{
			Name: key("firewall"), Default: "true",
			Doc:    "Add the firewall rules that the network needs.",
			Detail: "They let DHCP, DNS and ICMP in from the bridge, and traffic through it. Other firewalls of the host are not touched and still apply: what one of them drops, no rule of ours lets pass.",
		}, boolean, func(b *Bridge) *bool { return &b.family(n).Firewall }),
		field(Key{
			Name: key("routing"), Default: "true",
			Doc:    "Route traffic in and out of the bridge.",
			Detail: "With `false` what would be routed is dropped, and clients are told no gateway. What the network exports over BGP stays as it is.",
		}, boolean, func(b *Bridge) *bool { return &b.family(n).Routing }),
		field(Key{
			Name: key("nat"), Default: "false", DefaultDoc: "false, or true when the address is chosen by `auto`",
			Doc:    "Translate the source address of what leaves the subnet.",
			Detail: "A subnet that is not translated is exported over BGP.",
		}, boolean, func(b *Bridge) *bool { return &b.family(n).NAT }),
		field(Key{
			Name: key("nat.address"), DefaultDoc: "the address of the outgoing interface",
			Doc:    "Source address of translated traffic.",
			Detail: "It is exported over BGP as a host route. The host need not have it; what is sent there and answers nothing that was translated is dropped then.",
		}, address(n), func(b *Bridge) *addr { return &b.family(n).NATAddress }),
		field(Key{
			Name: key("nat.order"), Default: "before",
			Doc: "Whether to translate before or after the rules of other tables.",
		}, oneOf("before", "after"), func(b *Bridge) *string { return &b.family(n).NATOrder }),
		field(Key{
			Name: key("routes"), DefaultDoc: "none",
			Doc: "Further prefixes to route to the bridge.",
		}, routes(n), func(b *Bridge) *[]netip.Prefix { return &b.family(n).Routes }),
		field(Key{
			Name: key("routes.anycast"), Default: "false",
			Doc:    fmt.Sprintf("Let several NICs have the same prefix in `ipv%d.routes.external`.", n),
			Detail: "Traffic is spread over those of them that run here, flow by flow.",
		}, boolean, func(b *Bridge) *bool { return &b.family(n).Anycast }),
		field(Key{
			Name: key("ovn.ranges"), DefaultDoc: "none",
			Doc:    "Ranges of the subnet that are reserved for the routers of OVN networks.",
			Detail: "Each is written `first-last`. DHCP needs ranges that do not overlap them.",
		}, ranges(n), func(b *Bridge) *[]netipx.IPRange { return &b.family(n).OVNRanges }),
	}
}
