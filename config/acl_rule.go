package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
)

// decode returns the rule, and everything that is wrong with it.
func (s RuleSpec) decode() (ACLRule, []error) {
	r := ACLRule{Action: s.Action, Logged: s.State == "logged", Protocol: s.Protocol}
	var errs []error
	for _, f := range []struct {
		name, value string
		words       []string
	}{
		{"action", s.Action, []string{"allow", "drop", "reject"}},
		{"state", s.State, []string{"enabled", "disabled", "logged"}},
		{"protocol", s.Protocol, []string{"icmp4", "icmp6", "tcp", "udp"}},
	} {
		if !slices.Contains(f.words, f.value) && (f.name != "protocol" || f.value != "") {
			errs = append(errs, fmt.Errorf("%s must be one of: %s", f.name, strings.Join(f.words, ", ")))
		}
	}
	var err error
	if r.Source, err = subjects(s.Source); err != nil {
		errs = append(errs, fmt.Errorf("invalid source: %w", err))
	}
	if r.Destination, err = subjects(s.Destination); err != nil {
		errs = append(errs, fmt.Errorf("invalid destination: %w", err))
	}
	if err := s.checkFamilies(r); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, s.checkFields()...)
	return r, append(errs, s.decodeFields(&r)...)
}

// subjects reads a list of addresses, prefixes and ranges.
func subjects(list string) ([]netipx.IPRange, error) {
	if list == "" {
		return nil, nil
	}
	var out []netipx.IPRange
	for s := range strings.SplitSeq(list, ",") {
		r, err := subject(strings.TrimSpace(s))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func subject(s string) (netipx.IPRange, error) {
	if p, err := netip.ParsePrefix(s); err == nil && !p.Addr().Is4In6() {
		return netipx.RangeOfPrefix(p.Masked()), nil
	}
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	a, err := netip.ParseAddr(from)
	b, err2 := netip.ParseAddr(to)
	switch {
	case strings.HasPrefix(s, "@"), err != nil && ValidateACLName(s) == nil:
		return netipx.IPRange{}, fmt.Errorf("named subjects are not allowed on networks of type bridge: %q", s)
	case err != nil, err2 != nil, a.Zone() != "", b.Zone() != "", a.Is4In6(), b.Is4In6(), a.Is4() != b.Is4():
		return netipx.IPRange{}, fmt.Errorf("invalid subject %q: not an address, a prefix or a range first-last", shorten(s))
	case b.Less(a):
		return netipx.IPRange{}, fmt.Errorf("invalid subject %q: ends before it starts", s)
	}
	return netipx.IPRangeFrom(a, b), nil
}

// families says which address families ranges have.
func families(ranges []netipx.IPRange) (has4, has6 bool) {
	for _, r := range ranges {
		has4, has6 = has4 || r.From().Is4(), has6 || r.From().Is6()
	}
	return has4, has6
}

// checkFamilies refuses rules that no packet can match.
func (s RuleSpec) checkFamilies(r ACLRule) error {
	src4, src6 := families(r.Source)
	dst4, dst6 := families(r.Destination)
	switch {
	case r.Source != nil && r.Destination != nil && (src4 != dst4 || src6 != dst6):
		return errors.New("conflicting IP family types used for source and destination")
	case s.Protocol == "icmp4" && src6:
		return errors.New(`cannot use IPv6 source addresses with "icmp4" protocol`)
	case s.Protocol == "icmp4" && dst6:
		return errors.New(`cannot use IPv6 destination addresses with "icmp4" protocol`)
	case s.Protocol == "icmp6" && src4:
		return errors.New(`cannot use IPv4 source addresses with "icmp6" protocol`)
	case s.Protocol == "icmp6" && dst4:
		return errors.New(`cannot use IPv4 destination addresses with "icmp6" protocol`)
	}
	return nil
}

// checkFields refuses fields that go with another protocol.
func (s RuleSpec) checkFields() (errs []error) {
	ports, icmp := s.Protocol == "tcp" || s.Protocol == "udp", strings.HasPrefix(s.Protocol, "icmp")
	for _, f := range []struct {
		name, value string
		fits, icmp  bool
	}{
		{"ICMP type", s.ICMPType, icmp, true},
		{"ICMP code", s.ICMPCode, icmp, true},
		{"source port", s.SourcePort, ports, false},
		{"destination port", s.DestinationPort, ports, false},
	} {
		switch {
		case f.value == "" || f.fits:
		case s.Protocol == "":
			errs = append(errs, fmt.Errorf("%s cannot be used without specifying protocol", f.name))
		case f.icmp:
			errs = append(errs, fmt.Errorf("%s cannot be used with non-ICMP protocol", f.name))
		default:
			errs = append(errs, fmt.Errorf("%s cannot be used with %q protocol", f.name, s.Protocol))
		}
	}
	return errs
}

// decodeFields reads what goes with a protocol.
func (s RuleSpec) decodeFields(r *ACLRule) (errs []error) {
	for _, f := range []struct {
		name, value string
		at          *[]PortRange
	}{
		{"source port", s.SourcePort, &r.SourcePort},
		{"destination port", s.DestinationPort, &r.DestPort},
	} {
		if f.value == "" {
			continue
		}
		var err error
		if *f.at, err = portRanges.Parse(f.value); err != nil {
			errs = append(errs, fmt.Errorf("invalid %s: %w", f.name, err))
		}
	}
	for _, f := range []struct {
		name, value string
		at          **uint8
	}{
		{"ICMP type", s.ICMPType, &r.ICMPType},
		{"ICMP code", s.ICMPCode, &r.ICMPCode},
	} {
		if f.value == "" {
			continue
		}
		n, err := integer[uint8]("integer", 0, 255).Parse(f.value)
		if err != nil {
			errs = append(errs, fmt.Errorf("invalid %s: %q: %w", f.name, shorten(f.value), err))
		}
		*f.at = &n
	}
	return errs
}
