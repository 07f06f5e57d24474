package firewall

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go4.org/netipx"
	"pgregory.net/rapid"
)

func ipRanges(ss ...string) []netipx.IPRange {
	var out []netipx.IPRange
	for _, s := range ss {
		if p, err := netipx.ParseIPRange(s); err == nil {
			out = append(out, p)
		} else {
			out = append(out, netipx.RangeOfPrefix(prefix(s)))
		}
	}
	return out
}

func TestRuleTexts(t *testing.T) {
	zero, eight := uint8(0), uint8(8)
	for _, tt := range []struct {
		name string
		rule ACLRule
		want string
	}{
		{"everything", ACLRule{Action: Allow}, "accept"},
		{"everything, logged", ACLRule{Action: Drop, Logged: true}, `log prefix "x: " drop`},
		{"refusing everything", ACLRule{Action: Reject}, "meta l4proto tcp reject with tcp reset\nreject"},
		{"refusing TCP", ACLRule{Action: Reject, Protocol: "tcp", DestPort: []PortRange{{22, 22}}}, "meta l4proto tcp th dport { 22 } reject with tcp reset"},
		{"refusing UDP", ACLRule{Action: Reject, Protocol: "udp"}, "meta l4proto udp reject"},
		{
			"both families",
			ACLRule{Action: Allow, Source: ipRanges("10.0.0.0/8", "2001:db8::/32")},
			"ip saddr { 10.0.0.0/8 } accept\nip6 saddr { 2001:db8::/32 } accept",
		},
		{
			"one family",
			ACLRule{Action: Allow, Source: ipRanges("10.0.0.0/8"), Destination: ipRanges("192.0.2.1-192.0.2.9", "2001:db8::/32")},
			"ip saddr { 10.0.0.0/8 } ip daddr { 192.0.2.1-192.0.2.9 } accept",
		},
		{"no family", ACLRule{Action: Allow, Source: ipRanges("10.0.0.0/8"), Destination: ipRanges("2001:db8::/32")}, ""},
		{
			"ranges that meet",
			ACLRule{Action: Allow, Destination: ipRanges("10.0.0.0/24", "10.0.1.0/24", "10.0.0.9/32", "10.0.2.0-10.0.2.5")},
			"ip daddr { 10.0.0.0-10.0.2.5 } accept",
		},
		{
			"ports",
			ACLRule{Action: Allow, Protocol: "tcp", SourcePort: []PortRange{{1024, 65535}}, DestPort: []PortRange{{90, 99}, {80, 80}, {81, 81}, {95, 200}}},
			"meta l4proto tcp th sport { 1024-65535 } th dport { 80-81, 90-200 } accept",
		},
		{"all ports", ACLRule{Action: Allow, Protocol: "udp", DestPort: []PortRange{{0, 65535}}}, "meta l4proto udp accept"},
		{"ICMP", ACLRule{Action: Allow, Protocol: "icmp4", ICMPType: &eight, ICMPCode: &zero}, "meta nfproto ipv4 meta l4proto icmp icmp type 8 icmp code 0 accept"},
		{"ICMPv6", ACLRule{Action: Drop, Protocol: "icmp6", ICMPCode: &eight}, "meta nfproto ipv6 meta l4proto ipv6-icmp icmpv6 code 8 drop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			texts, err := tt.rule.texts("x: ")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, strings.Join(texts, "\n")); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestBadACL(t *testing.T) {
	one := uint8(1)
	for _, tt := range []struct {
		rule ACLRule
		want string
	}{
		{ACLRule{}, `ACL web: ingress rule 1: "" is no action`},
		{ACLRule{Action: Drop, Protocol: "sctp"}, `"sctp" is no protocol`},
		{ACLRule{Action: Drop, DestPort: []PortRange{{1, 1}}}, `protocol "" has no ports`},
		{ACLRule{Action: Drop, Protocol: "tcp", ICMPType: &one}, `protocol "tcp" has no ICMP type`},
		{ACLRule{Action: Drop, Source: []netipx.IPRange{{}}}, `is not a range of addresses`},
	} {
		a := ACL{Name: "web", Ingress: []ACLRule{tt.rule}}
		if _, err := a.Content(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.rule, err, tt.want)
		}
	}
	for _, name := range []string{"", "a.b", "a b", `a"`, strings.Repeat("a", 64)} {
		if _, err := (&ACL{Name: name}).Content(); err == nil {
			t.Errorf("the name %q is taken", name)
		}
		if _, err := (&Network{Name: "br0", ACLs: []string{name}, Ingress: Default{Action: Drop}, Egress: Default{Action: Drop}}).Content(); err == nil {
			t.Errorf("a network takes the name %q", name)
		}
	}
	n := Network{Name: "br0", ACLs: []string{"web"}, Egress: Default{Action: Drop}}
	if _, err := n.Content(); err == nil || !strings.Contains(err.Error(), `network br0: ingress default: "" is no action`) {
		t.Errorf("without a default: %v", err)
	}
}

// listText is lists as a reader would write them down.
func listText(lists []List) string {
	var b strings.Builder
	for _, l := range lists {
		b.WriteString("\n" + l.Name)
		for _, r := range l.Rules {
			b.WriteString("\n  " + r.Text)
		}
	}
	return b.String()
}

func TestACL(t *testing.T) {
	a := ACL{
		Name:    "web-1",
		Ingress: []ACLRule{{Action: Allow, Protocol: "tcp", DestPort: []PortRange{{80, 80}}}, {Action: Drop, Logged: true, Source: ipRanges("192.0.2.0/24")}},
		Egress:  []ACLRule{{Action: Reject, Protocol: "udp"}},
	}
	c, err := a.Content()
	if err != nil {
		t.Fatal(err)
	}
	want := `
acl.web-1.egress.allow
acl.web-1.egress.drop
acl.web-1.egress.reject
  meta l4proto udp reject
acl.web-1.ingress.allow
  meta l4proto tcp th dport { 80 } accept
acl.web-1.ingress.drop
  ip saddr { 192.0.2.0/24 } log prefix "netctl acl web-1 ingress drop: " drop
acl.web-1.ingress.reject`
	if d := cmp.Diff(want, listText(c.Lists)); d != "" || len(c.Elements) != 0 {
		t.Errorf("(-want +got)\n%s", d)
	}
	n := Network{
		Name: "br0", DNS: true, ACLs: []string{"web-1", "ssh"},
		Ingress: Default{Action: Reject, Logged: true}, Egress: Default{Action: Allow},
	}
	listed(t, &n, `
acl_dns { "br0" }
acl_egress { "br0" : jump net.br0.egress }
acl_ingress { "br0" : jump net.br0.ingress }
acl_nets { "br0" }
acl_within { "br0" . "br0" }`)
	c, err = n.Content()
	if err != nil {
		t.Fatal(err)
	}
	want = `
net.br0.egress
  ct state established,related accept
  jump acl.web-1.egress.drop
  jump acl.ssh.egress.drop
  jump acl.web-1.egress.reject
  jump acl.ssh.egress.reject
  jump acl.web-1.egress.allow
  jump acl.ssh.egress.allow
  accept
net.br0.ingress
  ct state established,related accept
  jump acl.web-1.ingress.drop
  jump acl.ssh.ingress.drop
  jump acl.web-1.ingress.reject
  jump acl.ssh.ingress.reject
  jump acl.web-1.ingress.allow
  jump acl.ssh.ingress.allow
  meta l4proto tcp log prefix "netctl network br0 ingress reject: " reject with tcp reset
  log prefix "netctl network br0 ingress reject: " reject`
	if d := cmp.Diff(want, listText(c.Lists)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	for _, l := range c.Lists {
		if !IsList(l.Name) {
			t.Errorf("%s is not known to be a list", l.Name)
		}
	}
}

// TestPortRanges holds that merging ranges of ports neither adds nor loses one.
func TestPortRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		end := rapid.OneOf(rapid.Uint16Range(0, 12), rapid.Uint16Range(65530, 65535))
		rs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) PortRange {
			a, b := end.Draw(t, "a"), end.Draw(t, "b")
			return PortRange{min(a, b), max(a, b)}
		}), 1, 4).Draw(t, "ranges")
		text := portRanges(rs)
		var got []PortRange
		for part := range strings.SplitSeq(strings.Trim(text, "{ }"), ", ") {
			r := PortRange{0, 65535}
			if text != "" {
				if n, err := fmt.Sscanf(part, "%d-%d", &r.First, &r.Last); n < 1 {
					t.Fatalf("%q: %v", text, err)
				} else if n == 1 {
					r.Last = r.First
				}
			}
			got = append(got, r)
		}
		for p := range uint16(65535) {
			in := func(r PortRange) bool { return r.First <= p && p <= r.Last }
			if slices.ContainsFunc(rs, in) != slices.ContainsFunc(got, in) {
				t.Fatalf("%v becomes %s, which differs in %d", rs, text, p)
			}
		}
		for i := range len(got) - 1 {
			if int(got[i].Last)+1 >= int(got[i+1].First) {
				t.Fatalf("%s has ranges that meet", text)
			}
		}
	})
}

// FuzzACL holds that no name can say anything to nft but itself.
func FuzzACL(f *testing.F) {
	for _, s := range []string{"web", "web-1", `a"`, "a b", "a.b", "drop", "é", "a\n", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		rules := []ACLRule{{Action: Drop, Logged: true}}
		a, err := (&ACL{Name: name, Ingress: rules, Egress: rules}).Content()
		if err != nil {
			return
		}
		n, err := (&Network{Name: "br0", ACLs: []string{name}, Ingress: Default{Action: Drop}, Egress: Default{Action: Drop}}).Content()
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		for _, l := range append(a.Lists, n.Lists...) {
			for _, r := range l.Rules {
				if strings.ContainsAny(strings.NewReplacer(`"netctl acl `+name+` `, "", `: "`, "").Replace(r.Text), "\"\\\t\r\n{}:;#$*") {
					t.Errorf("%q becomes %s", name, r.Text)
				}
			}
		}
	})
}
