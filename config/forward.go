package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Forward is the decoded form of a network forward, without its listen
// address.
type Forward struct {
	Target netip.Addr    // of what no port of Ports takes; zero for none
	Ports  []ForwardPort // sorted by Protocol and First, not overlapping
}

// ForwardPort sends a range of ports elsewhere.
type ForwardPort struct {
	Protocol    string // tcp or udp
	First, Last uint16 // listened on
	Target      netip.Addr
	To          uint16 // the port that First goes to, and so on; with ToLast equal to To all go there
	ToLast      uint16
}

// ForwardSchema declares the keys of network forwards.
var ForwardSchema = newSchema("network-forward", "Network forward", nil,
	field(Key{
		Name: "target_address", DefaultDoc: "none",
		Doc:    "Address that everything goes to which none of the ports says otherwise of.",
		Detail: "Inside the subnet of the network, and of the family of the listen address.",
	}, endpointOfNetwork, func(f *Forward) *addr { return &f.Target }),
)

// endpointOfNetwork accepts an address that an instance can have.
var endpointOfNetwork = Type[netip.Addr]{
	Name: "IP address", Kind: "string",
	Parse: func(s string) (netip.Addr, error) {
		a, err := parseAddr(s, 0)
		if err == nil {
			err = checkRoutable(a)
		}
		return a, err
	},
}

// ParseListenAddress reads the address that a forward listens on.
func ParseListenAddress(s string) (netip.Addr, error) {
	a, err := endpointOfNetwork.Parse(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("invalid listen address %q: %w", shorten(s), err)
	}
	return a, nil
}

// A ForwardSpec is a forward as users write it.
type ForwardSpec struct {
	Listen netip.Addr
	Config map[string]string
	Ports  []PortSpec
}

// A PortSpec is one entry of the ports of a forward, as users write it.
type PortSpec struct {
	Protocol      string
	ListenPort    string // list of ports and ranges
	TargetAddress string
	TargetPort    string // the same, as many as are listened on, or one; empty for the same ports
}

// Decode returns the typed form of s, or everything that is wrong with it.
// Entries of the ports are counted from 0, as they are listed.
func (s ForwardSpec) Decode() (Forward, error) {
	f, err := ForwardSchema.Decode(s.Config)
	errs := []error{err}
	if f.Target.IsValid() && f.Target.Is4() != s.Listen.Is4() {
		errs = append(errs, fmt.Errorf("cannot mix IP versions in listen address and default target address: %s is not an %s address", f.Target, familyName(familyOf(s.Listen))))
	}
	var all []specPort
	for i, p := range s.Ports {
		ports, wrong := s.decodePort(i, p, f.Target)
		all, errs = append(all, ports...), append(errs, wrong...)
	}
	slices.SortStableFunc(all, func(a, b specPort) int {
		return cmp.Or(strings.Compare(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First))
	})
	errs = append(errs, checkPortsUnique(all)...)
	for _, p := range all {
		f.Ports = append(f.Ports, p.ForwardPort)
	}
	if err := joinSome(errs); err != nil {
		return Forward{}, err
	}
	return f, nil
}

// A specPort is a port, and the entry that it comes from.
type specPort struct {
	ForwardPort
	spec int
}

// checkPortsUnique refuses ports that are listened on twice. They are sorted by
// protocol and first port.
func checkPortsUnique(ports []specPort) []error {
	var errs []error
	widest := 0 // of those before, the one that ends last
	for i := 1; i < len(ports); i++ {
		a, b := ports[widest], ports[i]
		if a.Protocol == b.Protocol && b.First <= a.Last {
			errs = append(errs, fmt.Errorf("duplicate listen port %d for protocol %q in port specification %d", b.First, b.Protocol, max(a.spec, b.spec)))
		}
		if a.Protocol != b.Protocol || b.Last > a.Last {
			widest = i
		}
	}
	return errs
}

// decodePort returns the ports of one entry, or everything that is wrong with
// it. Normal is where other ports go.
func (s ForwardSpec) decodePort(i int, p PortSpec, normal netip.Addr) (out []specPort, errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p.Protocol != "tcp" && p.Protocol != "udp" {
		fail("invalid port protocol in port specification %d, protocol must be one of: tcp, udp", i)
	}
	target, err := endpointOfNetwork.Parse(p.TargetAddress)
	switch {
	case err != nil:
		fail("invalid target address in port specification %d: %q: %w", i, shorten(p.TargetAddress), err)
	case target.Is4() != s.Listen.Is4():
		fail("cannot mix IP versions in listen address and port specification %d target address", i)
	case target == normal:
		fail("target address is same as default target address in port specification %d", i)
	}
	var listen, to []PortRange
	if p.ListenPort == "" {
		fail("missing listen port in port specification %d", i)
	} else if listen, err = portRanges.Parse(p.ListenPort); err != nil {
		fail("invalid listen port in port specification %d: %w", i, err)
	}
	if p.TargetPort != "" {
		if to, err = portRanges.Parse(p.TargetPort); err != nil {
			fail("invalid target port in port specification %d: %w", i, err)
		}
	}
	if from, have := countPorts(listen), countPorts(to); listen != nil && have > 1 && have != from {
		fail("mismatch of listen port(s) and target port(s) count in port specification %d: %d and %d", i, from, have)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	for _, pair := range pairPorts(listen, to) {
		out = append(out, specPort{ForwardPort{
			Protocol: p.Protocol, Target: target, First: pair[0].First, Last: pair[0].Last, To: pair[1].First, ToLast: pair[1].Last,
		}, i})
	}
	return out, nil
}

func countPorts(ranges []PortRange) int {
	n := 0
	for _, r := range ranges {
		n += r.count()
	}
	return n
}

// pairPorts returns which of the ports in to each port in from goes to: ranges
// of equal length, or to a single port. No ports in to are the same as from.
func pairPorts(from, to []PortRange) [][2]PortRange {
	var out [][2]PortRange
	if len(to) == 0 {
		to = from
	}
	if countPorts(to) == 1 {
		for _, r := range from {
			out = append(out, [2]PortRange{r, to[0]})
		}
		return out
	}
	from, to = slices.Clone(from), slices.Clone(to)
	for len(from) > 0 && len(to) > 0 {
		n := uint16(min(from[0].count(), to[0].count()) - 1)
		out = append(out, [2]PortRange{{from[0].First, from[0].First + n}, {to[0].First, to[0].First + n}})
		from, to = dropPorts(from, n), dropPorts(to, n)
	}
	return out
}

// dropPorts takes the first n+1 ports, which are in the first range, away.
func dropPorts(ranges []PortRange, n uint16) []PortRange {
	if ranges[0].First+n == ranges[0].Last {
		return ranges[1:]
	}
	ranges[0].First += n + 1
	return ranges
}

// CheckTargets refuses targets that are not in the subnet of the network,
// which is zero when it has none of the family. It is silent about what is no
// address of that family.
func (s ForwardSpec) CheckTargets(subnet netip.Prefix) error {
	var errs []error
	check := func(target, what string) {
		a, err := endpointOfNetwork.Parse(target)
		switch {
		case err != nil || a.Is4() != s.Listen.Is4():
		case !subnet.IsValid():
			errs = append(errs, fmt.Errorf("%s: the network has no %s address", what, familyName(familyOf(a))))
		case !subnet.Contains(a):
			errs = append(errs, fmt.Errorf("%s: %s is not in %s", what, a, subnet.Masked()))
		}
	}
	check(s.Config["target_address"], "default target address is not within the network subnet")
	for i, p := range s.Ports {
		check(p.TargetAddress, fmt.Sprintf("target address is not within the network subnet in port specification %d", i))
	}
	return joinSome(errs)
}
