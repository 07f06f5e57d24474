package firewall

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Chain is one chain of a table; Hook is empty for one that is only
// jumped to. The policy of a hooked chain is accept.
type Chain struct {
	Name     string
	Type     string // filter or nat
	Hook     string // prerouting, input, forward, output or postrouting
	Priority int
}

// A Set is a named set, or with Value a map, of a table.
type Set struct {
	Name     string
	Key      []string // nftables types; several for a concatenation
	Value    string   // the type of the values of a map
	Interval bool     // the keys are prefixes and ranges
	TypeOf   string   // says what Key cannot: the expression whose values are the keys
}

// A Rule is one rule in the text form of nft(8). Comment is a digest of its
// place and text, by which a listing shows whether it is there unchanged.
type Rule struct {
	Chain   string
	Text    string
	Comment string
}

// A Layout is the part of a table that is the same whatever is wanted. Rules
// find what belongs to a network in sets, by the name of its bridge or by its
// subnet, and what belongs to a NIC by the name of its interface: the cost of a
// packet does not grow with the number of networks and NICs, nor does that of a
// change.
type Layout struct {
	Family string // of the table
	Chains []Chain
	Sets   []Set
	Rules  []Rule // in order within each chain
}

// The priorities of translation: of targets as others do (dstnat), of sources
// before and after those of others, which use srcnat (100).
const (
	natTarget = -100
	natBefore = 95
	natAfter  = 105
)

// Inet is the layout of our table of family inet.
var Inet = inet()

// Layouts are those of all our tables.
var Layouts = []*Layout{Inet, Bridge}

// FamilyOf returns the family of the table that has a set.
func FamilyOf(set string) string { return familyOf[set] }

var familyOf = maps.Collect(func(yield func(string, string) bool) {
	for _, l := range Layouts {
		for _, s := range l.Sets {
			if !yield(s.Name, l.Family) {
				return
			}
		}
	}
})

// IsList reports whether a chain of that name would be a List.
func IsList(name string) bool { return strings.Contains(name, ".") }

// Needs reports whether c needs the table of a layout.
func (c Config) Needs(l *Layout) bool {
	if l == Bridge {
		return slices.ContainsFunc(c.NICs, (*NIC).bridge)
	}
	return len(c.Networks) > 0 || len(c.NICs) > 0 || len(c.Forwards) > 0 || len(c.ACLs) > 0 || c.BGP != nil
}

func inet() *Layout {
	l := &Layout{
		Family: "inet",
		Chains: []Chain{
			{Name: "prerouting", Type: "nat", Hook: "prerouting", Priority: natTarget},
			{Name: "output", Type: "nat", Hook: "output", Priority: natTarget},
			{Name: "forwards4"},
			{Name: "forwards6"},
			{Name: "input", Type: "filter", Hook: "input"},
			{Name: "forward", Type: "filter", Hook: "forward"},
			{Name: "nat_before", Type: "nat", Hook: "postrouting", Priority: natBefore},
			{Name: "nat_after", Type: "nat", Hook: "postrouting", Priority: natAfter},
			{Name: "bgp"},
			{Name: "acl_input", Type: "filter", Hook: "input"},
			{Name: "acl_output", Type: "filter", Hook: "output"},
			// Each of the two networks of a packet has its say: to accept it
			// ends a chain with a hook, and only that.
			{Name: "acl_egress", Type: "filter", Hook: "forward"},
			{Name: "acl_ingress", Type: "filter", Hook: "forward"},
		},
		Sets: []Set{
			{Name: bgpPorts, Key: []string{"inet_service"}},
			{Name: bridged, Key: []string{"ifname", "ifname"}},
			{Name: aclNets, Key: []string{"ifname"}},
			{Name: aclDNS, Key: []string{"ifname"}},
			{Name: aclWithin, Key: []string{"ifname", "ifname"}},
			{Name: aclEgress, Key: []string{"ifname"}, Value: "verdict"},
			{Name: aclIngress, Key: []string{"ifname"}, Value: "verdict"},
		},
	}
	for _, f := range families {
		l.Sets = append(l.Sets, f.sets()...)
	}
	l.add("input", `iifname != "lo" tcp dport @`+bgpPorts+` tcp flags & (fin | syn | rst | ack) == syn jump bgp`)
	l.add("bgp", "ip saddr @bgp_peers4 return", "ip6 saddr @bgp_peers6 return", "drop")
	// With bridge-nf-call-iptables, frames between the ports of one bridge
	// pass here too, and nobody routes those.
	l.add("forward", "iifname . oifname @"+bridged+" accept")
	// An answer to what was translated has its receiver back by now, and what
	// a forward sends elsewhere has its target. All else to such an address,
	// which the host is sent because it is exported, would go to and fro
	// between the host and its router until its TTL is used up.
	for _, f := range families {
		l.add("forward", fmt.Sprintf("%s daddr @%s%s drop", f.ip, translated, f.n), fmt.Sprintf("%s daddr @%s%s drop", f.ip, listens, f.n))
	}
	for _, f := range families {
		l.add("forward", f.match("iifname", blocked)+" drop", f.match("oifname", blocked)+" drop")
	}
	for _, f := range families {
		l.add("input", f.match("iifname", filtered)+" "+f.icmp+" accept",
			f.match("iifname", dhcp)+fmt.Sprintf(" udp dport %d accept", f.dhcpPort),
			f.match("iifname", dns)+" meta l4proto { tcp, udp } th dport 53 accept")
		l.add("forward", f.match("iifname", routed)+" accept", f.match("oifname", routed)+" accept")
	}
	for _, f := range families {
		jump := fmt.Sprintf("%s daddr @%s%s jump forwards%s", f.ip, listens, f.n, f.n)
		l.add("prerouting", jump)
		l.add("output", jump)
		l.add("forwards"+f.n, f.forwards()...)
	}
	for _, order := range []string{"before", "after"} {
		l.add("nat_"+order, `oifname "lo" return`)
		if order == "before" {
			for _, f := range families {
				l.add("nat_before", f.hairpin())
			}
		}
		for _, f := range families {
			l.add("nat_"+order, f.nat(order)...)
		}
	}
	l.acls()
	return l
}

// acls adds the rules that lead to those of ACLs.
func (l *Layout) acls() {
	in, out := "iifname @"+aclNets, "oifname @"+aclNets
	l.add("acl_input", "iifname @"+aclDNS+" meta l4proto { tcp, udp } th dport 53 accept")
	for _, f := range families {
		l.add("acl_input", fmt.Sprintf("%s meta nfproto %s udp dport %d accept", in, f.nfproto, f.dhcpPort), in+" "+f.vital+" accept")
		l.add("acl_output", fmt.Sprintf("%s meta nfproto %s udp sport %d accept", out, f.nfproto, f.dhcpPort), out+" "+f.vital+" accept")
	}
	l.add("acl_input", "iifname vmap @"+aclEgress)
	l.add("acl_output", "oifname vmap @"+aclIngress)
	l.add("acl_egress", "iifname . oifname @"+aclWithin+" accept", "iifname vmap @"+aclEgress)
	l.add("acl_ingress", "iifname . oifname @"+aclWithin+" accept", "oifname vmap @"+aclIngress)
}

// add appends rules to a chain.
func (l *Layout) add(chain string, texts ...string) {
	n := 0
	for _, r := range l.Rules {
		if r.Chain == chain {
			n++
		}
	}
	for i, text := range texts {
		l.Rules = append(l.Rules, newRule(chain, n+i, text))
	}
}

// newRule returns the rule at a place of a chain.
func newRule(chain string, place int, text string) Rule {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %s", chain, place, text))
	return Rule{Chain: chain, Text: text, Comment: hex.EncodeToString(sum[:8])}
}

// The names of sets. Those that exist once for each address family end in 4
// or 6, and those that exist once for each order of translation in the order.
const (
	bgpPorts   = "bgp_ports"  // the ports that only peers may connect to
	bgpPeers   = "bgp_peers"  // the peers
	bridged    = "bridged"    // a bridge twice, where nothing is forwarded
	routed     = "routed"     // bridges for which we accept forwarding
	blocked    = "blocked"    // bridges for which nothing is forwarded
	filtered   = "filtered"   // bridges for whose clients we accept ICMP
	dhcp       = "dhcp"       // bridges for whose clients we accept DHCP
	dns        = "dns"        // bridges for whose clients we accept DNS
	inside     = "inside"     // subnets and destinations that are not translated
	masquerade = "masquerade" // subnets to masquerade
	snat       = "snat"       // subnets and the addresses to translate to
	translated = "translated" // the addresses to translate to
	home       = "home"       // subnets that are translated, and their bridges, behind which they are not
	own        = "own"        // parts of such subnets that are not translated
	hairpin    = "hairpin"    // the subnets of forwards twice, where answers would not pass the host
	listens    = "listens"    // the addresses of forwards

	aclNets    = "acl_nets"    // bridges of networks with ACLs
	aclDNS     = "acl_dns"     // those whose clients may ask for DNS
	aclWithin  = "acl_within"  // those twice, between whose ports ACLs do not count
	aclEgress  = "acl_egress"  // those, and what becomes of what comes from there
	aclIngress = "acl_ingress" // those, and what becomes of what goes there

	forwardPort  = "forward_port"  // ports and their targets
	forwardRange = "forward_range" // ranges of ports that stay what they are, and their targets
	forwardInto  = "forward_into"  // ranges of ports that become one, and their targets
	forwardRest  = "forward_rest"  // addresses and the targets of all other ports
)

// A family is what differs between IPv4 and IPv6 in the layout.
type family struct {
	n         string // ends the names of sets
	nfproto   string
	ip        string // the protocol, and the family of snat
	addr      string // the type of addresses
	icmp      string // what clients may send to the host
	vital     string // what IP needs of ICMP, whatever ACLs say
	dhcpPort  int
	multicast string // destinations that are never translated
}

var families = []family{
	{
		n: "4", nfproto: "ipv4", ip: "ip", addr: "ipv4_addr", dhcpPort: 67,
		vital:     "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
		icmp:      "icmp type { destination-unreachable, echo-request, time-exceeded, parameter-problem }",
		multicast: "{ 224.0.0.0/4, 255.255.255.255 }",
	},
	{
		n: "6", nfproto: "ipv6", ip: "ip6", addr: "ipv6_addr", dhcpPort: 547,
		icmp: "icmpv6 type { " + strings.Join([]string{
			"destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem", "echo-request",
			"mld-listener-report", "mld-listener-done", "nd-router-solicit", "nd-neighbor-solicit",
			"nd-neighbor-advert", "mld2-listener-report",
		}, ", ") + " }",
		vital: "icmpv6 type { " + strings.Join([]string{
			"destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem",
			"mld-listener-query", "mld-listener-report", "mld-listener-done", "mld2-listener-report",
			"nd-router-solicit", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert",
		}, ", ") + " }",
		multicast: "ff00::/8",
	},
}

// match matches packets of the family whose interface is in a set.
func (f family) match(iface, set string) string {
	return fmt.Sprintf("meta nfproto %s %s @%s%s", f.nfproto, iface, set, f.n)
}

func (f family) sets() []Set {
	var s []Set
	for _, name := range []string{routed, blocked, filtered, dhcp, dns} {
		s = append(s, Set{Name: name + f.n, Key: []string{"ifname"}})
	}
	s = append(s, Set{Name: bgpPeers + f.n, Key: []string{f.addr}},
		Set{Name: translated + f.n, Key: []string{f.addr}},
		Set{Name: inside + f.n, Key: []string{f.addr, f.addr}, Interval: true},
		Set{Name: home + f.n, Key: []string{f.addr, "ifname"}, Interval: true},
		Set{Name: own + f.n, Key: []string{f.addr}, Interval: true},
		Set{Name: hairpin + f.n, Key: []string{f.addr, f.addr}, Interval: true},
		Set{Name: listens + f.n, Key: []string{f.addr}},
		Set{Name: forwardRest + f.n, Key: []string{f.addr}, Value: f.addr})
	port := []string{f.addr, "inet_proto", "inet_service"}
	s = append(s, Set{Name: forwardPort + f.n, Key: port, Value: f.addr + " . inet_service"},
		Set{Name: forwardRange + f.n, Key: port, Value: f.addr, Interval: true},
		Set{Name: forwardInto + f.n, Key: port, Value: f.addr + " . inet_service", Interval: true})
	for _, order := range []string{"before", "after"} {
		s = append(s, Set{Name: masquerade + f.n + "_" + order, Key: []string{f.addr}, Interval: true},
			Set{Name: snat + f.n + "_" + order, Key: []string{f.addr}, Value: f.addr, Interval: true})
	}
	return s
}

// nat translates what leaves a subnet for elsewhere.
func (f family) nat(order string) []string {
	return []string{
		fmt.Sprintf("%s daddr %s return", f.ip, f.multicast),
		fmt.Sprintf("%s saddr . %s daddr @%s%s return", f.ip, f.ip, inside, f.n),
		fmt.Sprintf("%s saddr . oifname @%s%s return", f.ip, home, f.n),
		fmt.Sprintf("%s saddr @%s%s return", f.ip, own, f.n),
		fmt.Sprintf("%s saddr @%s%s_%s masquerade", f.ip, masquerade, f.n, order),
		fmt.Sprintf("snat %s to %s saddr map @%s%s_%s", f.ip, f.ip, snat, f.n, order),
	}
}

// forwards sends what arrives for an address of a forward to its target.
func (f family) forwards() []string {
	var rules []string
	for _, ports := range []string{forwardPort, forwardRange, forwardInto} {
		rules = append(rules, fmt.Sprintf("meta l4proto { tcp, udp } dnat %s to %s daddr . meta l4proto . th dport map @%s%s", f.ip, f.ip, ports, f.n))
	}
	return append(rules, fmt.Sprintf("dnat %s to %s daddr map @%s%s", f.ip, f.ip, forwardRest, f.n))
}

// hairpin makes what a forward sends back into the subnet that it came from
// appear to come from the host, so that it is the host that is answered.
func (f family) hairpin() string {
	return fmt.Sprintf("ct original %s daddr @%s%s %s saddr . %s daddr @%s%s masquerade", f.ip, listens, f.n, f.ip, f.ip, hairpin, f.n)
}
