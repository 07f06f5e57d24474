package firewall

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLayout holds the layout together: rules name what exists, and no two
// rules of a chain can be taken for each other.
func TestLayout(t *testing.T) {
	for _, l := range Layouts {
		t.Run(l.Family, func(t *testing.T) { testLayout(t, l) })
	}
}

func testLayout(t *testing.T, l *Layout) {
	t.Helper()
	chains, sets, used := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, c := range l.Chains {
		chains[c.Name] = true
	}
	for _, s := range l.Sets {
		sets[s.Name] = true
	}
	comments := map[string]bool{}
	for _, r := range l.Rules {
		if !chains[r.Chain] {
			t.Errorf("rule %q is in no chain", r.Text)
		}
		if comments[r.Comment] {
			t.Errorf("rule %q has the digest of another", r.Text)
		}
		comments[r.Comment] = true
		for word := range strings.FieldsSeq(r.Text) {
			name, ok := strings.CutPrefix(word, "@")
			if ok && !strings.Contains(name, ",") && !sets[name] { // else bits of a packet
				t.Errorf("rule %q: no set %s", r.Text, name)
			}
			used[name] = true
		}
	}
	for name := range sets {
		if !used[name] {
			t.Errorf("set %s is used by no rule", name)
		}
	}
	var b strings.Builder
	for _, r := range l.Rules {
		b.WriteString(r.Chain + ": " + r.Text + "\n")
	}
	if d := cmp.Diff(rules[l.Family], b.String()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// rules is what the layouts do to packets.
var rules = map[string]string{"inet": inetRules, "bridge": bridgeRules}

const bridgeRules = `prerouting: meta priority set iifname map @nic_priorities
prerouting: iifname @nic_filtered jump nic
input: ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 iifname @nic_filtered jump nic
forward: iifname . oifname @nic_selves ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop
nic: iifname @nic_mac jump nic_mac
nic: iifname @nic_ip ether type != { ip, arp, ip6 } drop
nic: iifname @nic_ipv4 ether type arp jump nic_arp
nic: iifname @nic_ipv4 ether type ip jump nic_ipv4
nic: iifname @nic_ipv6 ether type ip6 jump nic_ipv6
nic_mac: iifname . ether saddr != @nic_macs drop
nic_mac: ether type arp arp hlen != 6 drop
nic_mac: ether type arp iifname . arp saddr ether != @nic_macs drop
nic_mac: icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 length > 32 drop
nic_mac: icmpv6 type nd-router-solicit ip6 length > 16 drop
nic_mac: icmpv6 type nd-neighbor-solicit @th,192,8 1 iifname . @th,208,48 != @nic_links drop
nic_mac: icmpv6 type nd-neighbor-advert @th,192,8 2 iifname . @th,208,48 != @nic_links drop
nic_mac: icmpv6 type nd-router-solicit @th,64,8 1 iifname . @th,80,48 != @nic_links drop
nic_arp: arp htype != 1 drop
nic_arp: arp ptype != ip drop
nic_arp: arp hlen != 6 drop
nic_arp: arp plen != 4 drop
nic_arp: arp operation request arp saddr ip 0.0.0.0 iifname . arp daddr ip @nic_addrs4 return
nic_arp: arp operation request arp saddr ip 0.0.0.0 iifname . arp daddr ip @nic_nets4 return
nic_arp: iifname . arp saddr ip @nic_addrs4 return
nic_arp: iifname . arp saddr ip @nic_nets4 return
nic_arp: drop
nic_ipv4: udp sport 67 drop
nic_ipv4: udp dport 68 drop
nic_ipv4: ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 return
nic_ipv4: iifname . ip saddr @nic_addrs4 return
nic_ipv4: iifname . ip saddr @nic_nets4 return
nic_ipv4: drop
nic_ipv6: icmpv6 type { nd-router-advert, nd-redirect, router-renumbering } drop
nic_ipv6: udp sport 547 drop
nic_ipv6: udp dport 546 drop
nic_ipv6: icmpv6 type nd-neighbor-advert jump nic_target
nic_ipv6: ip6 saddr :: icmpv6 type nd-neighbor-solicit jump nic_target
nic_ipv6: ip6 saddr :: icmpv6 type { nd-router-solicit, nd-neighbor-solicit, mld-listener-report, mld-listener-done, mld2-listener-report } return
nic_ipv6: iifname . ip6 saddr @nic_addrs6 return
nic_ipv6: iifname . ip6 saddr @nic_nets6 return
nic_ipv6: drop
nic_target: iifname . @th,64,128 @nic_targets return
nic_target: iifname . @th,64,128 @nic_target_nets return
nic_target: drop
`

const inetRules = `input: iifname != "lo" tcp dport @bgp_ports tcp flags & (fin | syn | rst | ack) == syn jump bgp
bgp: ip saddr @bgp_peers4 return
bgp: ip6 saddr @bgp_peers6 return
bgp: drop
forward: iifname . oifname @bridged accept
forward: ip daddr @translated4 drop
forward: ip daddr @listens4 drop
forward: ip6 daddr @translated6 drop
forward: ip6 daddr @listens6 drop
forward: meta nfproto ipv4 iifname @blocked4 drop
forward: meta nfproto ipv4 oifname @blocked4 drop
forward: meta nfproto ipv6 iifname @blocked6 drop
forward: meta nfproto ipv6 oifname @blocked6 drop
input: meta nfproto ipv4 iifname @filtered4 icmp type { destination-unreachable, echo-request, time-exceeded, parameter-problem } accept
input: meta nfproto ipv4 iifname @dhcp4 udp dport 67 accept
input: meta nfproto ipv4 iifname @dns4 meta l4proto { tcp, udp } th dport 53 accept
forward: meta nfproto ipv4 iifname @routed4 accept
forward: meta nfproto ipv4 oifname @routed4 accept
input: meta nfproto ipv6 iifname @filtered6 icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, mld-listener-report, mld-listener-done, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept
input: meta nfproto ipv6 iifname @dhcp6 udp dport 547 accept
input: meta nfproto ipv6 iifname @dns6 meta l4proto { tcp, udp } th dport 53 accept
forward: meta nfproto ipv6 iifname @routed6 accept
forward: meta nfproto ipv6 oifname @routed6 accept
prerouting: ip daddr @listens4 jump forwards4
output: ip daddr @listens4 jump forwards4
forwards4: meta l4proto { tcp, udp } dnat ip to ip daddr . meta l4proto . th dport map @forward_port4
forwards4: meta l4proto { tcp, udp } dnat ip to ip daddr . meta l4proto . th dport map @forward_range4
forwards4: meta l4proto { tcp, udp } dnat ip to ip daddr . meta l4proto . th dport map @forward_into4
forwards4: dnat ip to ip daddr map @forward_rest4
prerouting: ip6 daddr @listens6 jump forwards6
output: ip6 daddr @listens6 jump forwards6
forwards6: meta l4proto { tcp, udp } dnat ip6 to ip6 daddr . meta l4proto . th dport map @forward_port6
forwards6: meta l4proto { tcp, udp } dnat ip6 to ip6 daddr . meta l4proto . th dport map @forward_range6
forwards6: meta l4proto { tcp, udp } dnat ip6 to ip6 daddr . meta l4proto . th dport map @forward_into6
forwards6: dnat ip6 to ip6 daddr map @forward_rest6
nat_before: oifname "lo" return
nat_before: ct original ip daddr @listens4 ip saddr . ip daddr @hairpin4 masquerade
nat_before: ct original ip6 daddr @listens6 ip6 saddr . ip6 daddr @hairpin6 masquerade
nat_before: ip daddr { 224.0.0.0/4, 255.255.255.255 } return
nat_before: ip saddr . ip daddr @inside4 return
nat_before: ip saddr . oifname @home4 return
nat_before: ip saddr @own4 return
nat_before: ip saddr @masquerade4_before masquerade
nat_before: snat ip to ip saddr map @snat4_before
nat_before: ip6 daddr ff00::/8 return
nat_before: ip6 saddr . ip6 daddr @inside6 return
nat_before: ip6 saddr . oifname @home6 return
nat_before: ip6 saddr @own6 return
nat_before: ip6 saddr @masquerade6_before masquerade
nat_before: snat ip6 to ip6 saddr map @snat6_before
nat_after: oifname "lo" return
nat_after: ip daddr { 224.0.0.0/4, 255.255.255.255 } return
nat_after: ip saddr . ip daddr @inside4 return
nat_after: ip saddr . oifname @home4 return
nat_after: ip saddr @own4 return
nat_after: ip saddr @masquerade4_after masquerade
nat_after: snat ip to ip saddr map @snat4_after
nat_after: ip6 daddr ff00::/8 return
nat_after: ip6 saddr . ip6 daddr @inside6 return
nat_after: ip6 saddr . oifname @home6 return
nat_after: ip6 saddr @own6 return
nat_after: ip6 saddr @masquerade6_after masquerade
nat_after: snat ip6 to ip6 saddr map @snat6_after
acl_input: iifname @acl_dns meta l4proto { tcp, udp } th dport 53 accept
acl_input: iifname @acl_nets meta nfproto ipv4 udp dport 67 accept
acl_input: iifname @acl_nets icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
acl_output: oifname @acl_nets meta nfproto ipv4 udp sport 67 accept
acl_output: oifname @acl_nets icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
acl_input: iifname @acl_nets meta nfproto ipv6 udp dport 547 accept
acl_input: iifname @acl_nets icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report, nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
acl_output: oifname @acl_nets meta nfproto ipv6 udp sport 547 accept
acl_output: oifname @acl_nets icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report, nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
acl_input: iifname vmap @acl_egress
acl_output: oifname vmap @acl_ingress
acl_egress: iifname . oifname @acl_within accept
acl_egress: iifname vmap @acl_egress
acl_ingress: iifname . oifname @acl_within accept
acl_ingress: oifname vmap @acl_ingress
`
