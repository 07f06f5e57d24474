package firewall

// The names of the sets of the bridge table. All find a NIC by the name of its
// interface.
const (
	nicFiltered = "nic_filtered" // that are looked at at all
	nicMAC      = "nic_mac"      // whose MAC address is held to
	nicIP       = "nic_ip"       // that send nothing but IP and ARP
	nicIPv      = "nic_ipv"      // whose addresses of a family are held to

	nicMACs       = "nic_macs"        // their MAC addresses
	nicLinks      = "nic_links"       // the same, in neighbour discovery
	nicAddrs      = "nic_addrs"       // their addresses, single ones
	nicNets       = "nic_nets"        // and prefixes
	nicTargets    = "nic_targets"     // the same of IPv6, in neighbour discovery
	nicTargetNets = "nic_target_nets" //

	nicPriorities = "nic_priorities" // the priorities of what they send
	nicSelves     = "nic_selves"     // twice the same, where frames may turn
)

// bridgeFilter is the priority of filters in a bridge (NF_BR_PRI_FILTER_BRIDGED),
// which is before the bridge looks at frames as IP.
const bridgeFilter = -200

// Where things are in neighbour discovery (RFC 4861 section 4), from the
// beginning of the ICMPv6 header, in bits: nft 1.0 has no names for them.
const (
	ndTarget   = "@th,64,128" // of solicitations and advertisements
	ndOption   = "@th,192,8"  // the type of their first option
	ndLink     = "@th,208,48" // the link-layer address in it
	ndRSOption = "@th,64,8"   // the same of router solicitations
	ndRSLink   = "@th,80,48"
)

// Bridge is the layout of our table of family bridge: what NICs may send.
// Frames are looked at when they enter the bridge, before it learns from them
// and whether they are for the host or for others.
var Bridge = bridge()

func bridge() *Layout {
	l := &Layout{
		Family: "bridge",
		Chains: []Chain{
			{Name: "prerouting", Type: "filter", Hook: "prerouting", Priority: bridgeFilter},
			{Name: "input", Type: "filter", Hook: "input", Priority: bridgeFilter},
			{Name: "forward", Type: "filter", Hook: "forward", Priority: bridgeFilter},
			{Name: "nic"},
			{Name: "nic_mac"},
			{Name: "nic_arp"},
			{Name: "nic_ipv4"},
			{Name: "nic_ipv6"},
			{Name: "nic_target"},
		},
		Sets: bridgeSets(),
	}
	l.add("prerouting", "meta priority set iifname map @"+nicPriorities, "iifname @"+nicFiltered+" jump nic")
	// Frames that no bridge forwards (IEEE 802.1Q, table 8-1) do not pass there,
	// but the bridge learns from them too.
	l.add("input", "ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 iifname @"+nicFiltered+" jump nic")
	// What a NIC sends to itself through a forward has to turn, but nobody
	// must hear his own broadcasts: duplicate address detection would fail.
	l.add("forward", "iifname . oifname @"+nicSelves+" ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop")
	l.add("nic", "iifname @"+nicMAC+" jump nic_mac",
		"iifname @"+nicIP+" ether type != { ip, arp, ip6 } drop",
		"iifname @"+nicIPv+"4 ether type arp jump nic_arp",
		"iifname @"+nicIPv+"4 ether type ip jump nic_ipv4",
		"iifname @"+nicIPv+"6 ether type ip6 jump nic_ipv6")
	l.add("nic_mac", "iifname . ether saddr != @"+nicMACs+" drop",
		"ether type arp arp hlen != 6 drop",
		"ether type arp iifname . arp saddr ether != @"+nicMACs+" drop",
		// There is room for the one option that is looked at.
		"icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 length > 32 drop",
		"icmpv6 type nd-router-solicit ip6 length > 16 drop",
		"icmpv6 type nd-neighbor-solicit "+ndOption+" 1 iifname . "+ndLink+" != @"+nicLinks+" drop",
		"icmpv6 type nd-neighbor-advert "+ndOption+" 2 iifname . "+ndLink+" != @"+nicLinks+" drop",
		"icmpv6 type nd-router-solicit "+ndRSOption+" 1 iifname . "+ndRSLink+" != @"+nicLinks+" drop")
	l.add("nic_arp", "arp htype != 1 drop", "arp ptype != ip drop", "arp hlen != 6 drop", "arp plen != 4 drop",
		// Probes have no sender yet (RFC 5227 section 2.1.1).
		"arp operation request arp saddr ip 0.0.0.0 iifname . arp daddr ip @"+nicAddrs+"4 return",
		"arp operation request arp saddr ip 0.0.0.0 iifname . arp daddr ip @"+nicNets+"4 return",
		"iifname . arp saddr ip @"+nicAddrs+"4 return",
		"iifname . arp saddr ip @"+nicNets+"4 return",
		"drop")
	l.add("nic_ipv4", "udp sport 67 drop", "udp dport 68 drop", // a DHCP server (RFC 2131 section 4.1)
		"ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 return",
		"iifname . ip saddr @"+nicAddrs+"4 return",
		"iifname . ip saddr @"+nicNets+"4 return",
		"drop")
	l.add("nic_ipv6", "icmpv6 type { nd-router-advert, nd-redirect, router-renumbering } drop",
		"udp sport 547 drop", "udp dport 546 drop", // a DHCPv6 server (RFC 8415 section 7.2)
		"icmpv6 type nd-neighbor-advert jump nic_target",
		// Whoever looks for duplicates of his address has none yet.
		"ip6 saddr :: icmpv6 type nd-neighbor-solicit jump nic_target",
		"ip6 saddr :: icmpv6 type { nd-router-solicit, nd-neighbor-solicit, mld-listener-report, mld-listener-done, mld2-listener-report } return",
		"iifname . ip6 saddr @"+nicAddrs+"6 return",
		"iifname . ip6 saddr @"+nicNets+"6 return",
		"drop")
	l.add("nic_target", "iifname . "+ndTarget+" @"+nicTargets+" return", "iifname . "+ndTarget+" @"+nicTargetNets+" return", "drop")
	return l
}

func bridgeSets() []Set {
	s := []Set{
		{Name: nicPriorities, Key: []string{"ifname"}, Value: "classid"},
		{Name: nicSelves, Key: []string{"ifname", "ifname"}},
		{Name: nicMACs, Key: []string{"ifname", "ether_addr"}},
		{Name: nicLinks, Key: []string{"ifname", "integer"}, TypeOf: "iifname . " + ndLink},
		{Name: nicTargets, Key: []string{"ifname", "integer"}, TypeOf: "iifname . " + ndTarget},
		{Name: nicTargetNets, Key: []string{"ifname", "integer"}, TypeOf: "iifname . " + ndTarget, Interval: true},
	}
	for _, name := range []string{nicFiltered, nicMAC, nicIP, nicIPv + "4", nicIPv + "6"} {
		s = append(s, Set{Name: name, Key: []string{"ifname"}})
	}
	for _, f := range families {
		s = append(s, Set{Name: nicAddrs + f.n, Key: []string{"ifname", f.addr}},
			Set{Name: nicNets + f.n, Key: []string{"ifname", f.addr}, Interval: true})
	}
	return s
}
