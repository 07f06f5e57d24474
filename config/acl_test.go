package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go4.org/netipx"
)

func TestACLDecode(t *testing.T) {
	ranges := func(text ...string) (out []netipx.IPRange) {
		for _, s := range text {
			out = append(out, netipx.MustParseIPRange(s))
		}
		return out
	}
	eight, zero := uint8(8), uint8(0)
	spec := ACLSpec{
		Config: map[string]string{"user.x": "y"},
		Ingress: []RuleSpec{
			{Action: "allow", State: "enabled"},
			{Action: "drop", State: "disabled", Protocol: "udp"},
			{Action: "reject", State: "logged", Protocol: "tcp", SourcePort: "1024-65535", DestinationPort: "80,8000-8010"},
			{Action: "allow", State: "enabled", Source: "10.0.0.5,10.1.2.3/16,10.2.0.1-10.2.0.9", Destination: "10.3.0.0/24"},
			{Action: "allow", State: "enabled", Source: "10.0.0.5,fd42::/64", Destination: "fd43::1,10.0.0.6", Protocol: "tcp"},
		},
		Egress: []RuleSpec{
			{Action: "allow", State: "enabled", Protocol: "icmp4", ICMPType: "8", ICMPCode: "0", Destination: "0.0.0.0/0"},
			{Action: "allow", State: "enabled", Protocol: "icmp6", ICMPType: "8", Source: "fd42::1-fd42::ff"},
			{Action: "allow", State: "enabled"},
		},
	}
	want := ACL{
		Ingress: []ACLRule{
			{Action: "allow"},
			{Action: "reject", Logged: true, Protocol: "tcp", SourcePort: []PortRange{{1024, 65535}}, DestPort: []PortRange{{80, 80}, {8000, 8010}}},
			{
				Action: "allow", Source: ranges("10.0.0.5-10.0.0.5", "10.1.0.0-10.1.255.255", "10.2.0.1-10.2.0.9"),
				Destination: ranges("10.3.0.0-10.3.0.255"),
			},
			{
				Action: "allow", Protocol: "tcp", Source: ranges("10.0.0.5-10.0.0.5", "fd42::-fd42::ffff:ffff:ffff:ffff"),
				Destination: ranges("fd43::1-fd43::1", "10.0.0.6-10.0.0.6"),
			},
		},
		Egress: []ACLRule{
			{Action: "allow", Protocol: "icmp4", ICMPType: &eight, ICMPCode: &zero, Destination: ranges("0.0.0.0-255.255.255.255")},
			{Action: "allow", Protocol: "icmp6", ICMPType: &eight, Source: ranges("fd42::1-fd42::ff")},
			{Action: "allow"},
		},
	}
	got, err := spec.Decode()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netipx.IPRange{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestACLErrors(t *testing.T) {
	rule := func(edit func(*RuleSpec)) RuleSpec {
		r := RuleSpec{Action: "allow", State: "enabled"}
		edit(&r)
		return r
	}
	for _, tt := range []struct {
		rule RuleSpec
		want string
	}{
		{RuleSpec{}, "action must be one of: allow, drop, reject|state must be one of: enabled, disabled, logged"},
		{rule(func(r *RuleSpec) { r.Protocol = "sctp" }), "protocol must be one of: icmp4, icmp6, tcp, udp"},
		{rule(func(r *RuleSpec) { r.Source = "10.0.0.0/33" }), `invalid source: invalid subject "10.0.0.0/33": not an address, a prefix or a range first-last`},
		{rule(func(r *RuleSpec) { r.Destination = "10.0.0.1," }), `invalid destination: invalid subject "": not an address, a prefix or a range first-last`},
		{rule(func(r *RuleSpec) { r.Source = "10.0.0.1-fd42::1" }), `invalid source: invalid subject "10.0.0.1-fd42::1": not an address, a prefix or a range first-last`},
		{rule(func(r *RuleSpec) { r.Source = "::ffff:10.0.0.1" }), `invalid source: invalid subject "::ffff:10.0.0.1": not an address, a prefix or a range first-last`},
		{rule(func(r *RuleSpec) { r.Source = "::ffff:10.0.0.0/104" }), `invalid source: invalid subject "::ffff:10.0.0.0/104": not an address, a prefix or a range first-last`},
		{rule(func(r *RuleSpec) { r.Source = "fe80::1%eth0" }), `invalid source: invalid subject "fe80::1%eth0": not an address, a prefix or a range first-last`},
		{rule(func(r *RuleSpec) { r.Source = "10.0.0.9-10.0.0.1" }), `invalid source: invalid subject "10.0.0.9-10.0.0.1": ends before it starts`},
		{rule(func(r *RuleSpec) { r.Source = "@internal" }), `invalid source: named subjects are not allowed on networks of type bridge: "@internal"`},
		{rule(func(r *RuleSpec) { r.Destination = "web" }), `invalid destination: named subjects are not allowed on networks of type bridge: "web"`},
		{rule(func(r *RuleSpec) { r.Source, r.Destination = "10.0.0.1", "fd42::1" }), "conflicting IP family types used for source and destination"},
		{rule(func(r *RuleSpec) { r.Source, r.Protocol = "fd42::1", "icmp4" }), `cannot use IPv6 source addresses with "icmp4" protocol`},
		{rule(func(r *RuleSpec) { r.Destination, r.Protocol = "fd42::1", "icmp4" }), `cannot use IPv6 destination addresses with "icmp4" protocol`},
		{rule(func(r *RuleSpec) { r.Source, r.Protocol = "10.0.0.1", "icmp6" }), `cannot use IPv4 source addresses with "icmp6" protocol`},
		{rule(func(r *RuleSpec) { r.Destination, r.Protocol = "10.0.0.1", "icmp6" }), `cannot use IPv4 destination addresses with "icmp6" protocol`},
		{rule(func(r *RuleSpec) { r.ICMPType, r.SourcePort = "8", "80" }), "ICMP type cannot be used without specifying protocol|source port cannot be used without specifying protocol"},
		{rule(func(r *RuleSpec) { r.ICMPCode, r.DestinationPort = "8", "80" }), "ICMP code cannot be used without specifying protocol|destination port cannot be used without specifying protocol"},
		{rule(func(r *RuleSpec) { r.ICMPCode, r.Protocol = "8", "tcp" }), "ICMP code cannot be used with non-ICMP protocol"},
		{rule(func(r *RuleSpec) { r.DestinationPort, r.Protocol = "80", "icmp4" }), `destination port cannot be used with "icmp4" protocol`},
		{rule(func(r *RuleSpec) { r.SourcePort, r.DestinationPort, r.Protocol = "0", "9-8", "udp" }), `invalid source port: "0": not a number from 1 to 65535|invalid destination port: "9-8": ends before it starts`},
		{rule(func(r *RuleSpec) { r.ICMPType, r.ICMPCode, r.Protocol = "256", "-1", "icmp4" }), `invalid ICMP type: "256": not a number from 0 to 255|invalid ICMP code: "-1": not a number from 0 to 255`},
	} {
		_, err := ACLSpec{Egress: []RuleSpec{{Action: "drop", State: "logged"}, tt.rule}}.Decode()
		if err == nil {
			t.Errorf("%+v is accepted", tt.rule)
			continue
		}
		var want []string
		for line := range strings.SplitSeq(tt.want, "|") {
			want = append(want, "invalid egress rule 1: "+line)
		}
		if d := cmp.Diff(strings.Join(want, "\n"), err.Error()); d != "" {
			t.Errorf("%+v (-want +got)\n%s", tt.rule, d)
		}
	}
	same := rule(func(r *RuleSpec) { r.Description = "x" })
	_, err := ACLSpec{Config: map[string]string{"x": "y"}, Ingress: []RuleSpec{same, rule(func(*RuleSpec) {}), same}}.Decode()
	if err == nil || err.Error() != "unknown key \"x\"\nduplicate of ingress rule 0: rule 2" {
		t.Error(err)
	}
}

func TestValidateACLName(t *testing.T) {
	for name, want := range map[string]bool{
		"web": true, "a": true, "9a": true, "a-b": true, strings.Repeat("a", 63): true,
		"": false, strings.Repeat("a", 64): false, "@web": false, "%web": false, "#web": false, "-web": false, "web-": false,
		"we b": false, "we/b": false, "10.0.0.1": false, "42": false, "wéb": false,
	} {
		if err := ValidateACLName(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}
