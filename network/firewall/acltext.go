package firewall

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"go4.org/netipx"
)

// texts returns the rules in the text form of nft(8) that do what r says: one
// for each family of its addresses, and with Reject one more for TCP. Prefix
// begins what is logged.
func (r ACLRule) texts(prefix string) ([]string, error) {
	matches, err := r.addresses()
	if err != nil {
		return nil, err
	}
	rest, err := r.protocol()
	if err != nil {
		return nil, err
	}
	log := ""
	if r.Logged {
		log = fmt.Sprintf("log prefix %q", prefix)
	}
	var out []string
	add := func(parts ...string) {
		out = append(out, strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " "))
	}
	for _, m := range matches {
		switch {
		case r.Action == Allow:
			add(m, rest, log, "accept")
		case r.Action == Drop:
			add(m, rest, log, "drop")
		case r.Action != Reject:
			return nil, fmt.Errorf("%q is no action", r.Action)
		case r.Protocol == "tcp":
			add(m, rest, log, "reject with tcp reset")
		default:
			if r.Protocol == "" {
				add(m, "meta l4proto tcp", log, "reject with tcp reset")
			}
			add(m, rest, log, "reject")
		}
	}
	return out, nil
}

// addresses returns what matches the addresses of r, for each family of theirs.
func (r ACLRule) addresses() ([]string, error) {
	if len(r.Source) == 0 && len(r.Destination) == 0 {
		return []string{""}, nil
	}
	var out []string
	for _, f := range families {
		var parts []string
		for _, a := range []struct {
			field  string
			ranges []netipx.IPRange
		}{{"saddr", r.Source}, {"daddr", r.Destination}} {
			if len(a.ranges) == 0 {
				continue
			}
			text, err := f.ranges(a.ranges)
			if err != nil {
				return nil, err
			}
			if text != "" {
				parts = append(parts, fmt.Sprintf("%s %s %s", f.ip, a.field, text))
			}
		}
		both := len(r.Source) > 0 && len(r.Destination) > 0
		if len(parts) == 2 || len(parts) == 1 && !both {
			out = append(out, strings.Join(parts, " "))
		}
	}
	return out, nil
}

// ranges is a set of those addresses that are of the family; empty when none
// are.
func (f family) ranges(rs []netipx.IPRange) (string, error) {
	var b netipx.IPSetBuilder
	for _, r := range rs {
		if !r.IsValid() || r.From().Zone() != "" || r.To().Zone() != "" {
			return "", fmt.Errorf("%s is not a range of addresses", r)
		}
		if number(r.From()) == f.n {
			b.AddRange(r)
		}
	}
	set, err := b.IPSet()
	if err != nil {
		return "", err
	}
	var parts []string
	for _, r := range set.Ranges() {
		if p, ok := r.Prefix(); ok {
			parts = append(parts, text(p))
		} else {
			parts = append(parts, r.From().String()+"-"+r.To().String())
		}
	}
	if len(parts) == 0 {
		return "", nil
	}
	return "{ " + strings.Join(parts, ", ") + " }", nil
}

// protocol returns what matches the protocol of r, and its ports or types.
func (r ACLRule) protocol() (string, error) {
	var parts []string
	switch r.Protocol {
	case "":
	case "tcp", "udp":
		parts = append(parts, "meta l4proto "+r.Protocol)
	case "icmp4":
		parts = append(parts, "meta nfproto ipv4 meta l4proto icmp")
	case "icmp6":
		parts = append(parts, "meta nfproto ipv6 meta l4proto ipv6-icmp")
	default:
		return "", fmt.Errorf("%q is no protocol", r.Protocol)
	}
	ports, icmp := r.Protocol == "tcp" || r.Protocol == "udp", strings.HasPrefix(r.Protocol, "icmp")
	for _, p := range []struct {
		field  string
		ranges []PortRange
	}{{"sport", r.SourcePort}, {"dport", r.DestPort}} {
		if len(p.ranges) > 0 && !ports {
			return "", fmt.Errorf("protocol %q has no ports", r.Protocol)
		}
		if text := portRanges(p.ranges); text != "" {
			parts = append(parts, "th "+p.field+" "+text)
		}
	}
	name := map[string]string{"icmp4": "icmp", "icmp6": "icmpv6"}[r.Protocol]
	for _, v := range []struct {
		field string
		value *uint8
	}{{"type", r.ICMPType}, {"code", r.ICMPCode}} {
		if v.value != nil && !icmp {
			return "", fmt.Errorf("protocol %q has no ICMP %s", r.Protocol, v.field)
		}
		if v.value != nil {
			parts = append(parts, fmt.Sprintf("%s %s %d", name, v.field, *v.value))
		}
	}
	return strings.Join(parts, " "), nil
}

// portRanges is a set of ports; empty for all.
func portRanges(rs []PortRange) string {
	rs = slices.Clone(rs)
	slices.SortFunc(rs, func(a, b PortRange) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last)) })
	var merged []PortRange
	for _, r := range rs {
		if n := len(merged); n > 0 && int(r.First) <= int(merged[n-1].Last)+1 {
			merged[n-1].Last = max(merged[n-1].Last, r.Last)
		} else {
			merged = append(merged, r)
		}
	}
	var parts []string
	for _, r := range merged {
		switch {
		case r.First == 0 && r.Last == math.MaxUint16:
			return ""
		case r.First == r.Last:
			parts = append(parts, fmt.Sprint(r.First))
		default:
			parts = append(parts, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}
