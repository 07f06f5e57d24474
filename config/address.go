package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
)

// familyName returns the name of address family 4 or 6.
func familyName(n int) string { return fmt.Sprintf("IPv%d", n) }

// familyOf returns the family of a: 4 or 6.
func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
}

// parseAddr parses an address that a packet can carry as its source: of family
// n, or of either when n is 0, without a zone, and unicast.
func parseAddr(s string, n int) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil && n == 0:
		return netip.Addr{}, errors.New("not an IP address")
	case err != nil:
		return netip.Addr{}, fmt.Errorf("not an %s address", familyName(n))
	case n != 0 && familyOf(a) != n:
		return netip.Addr{}, fmt.Errorf("not an %s address", familyName(n))
	}
	return a, checkUnicast(a)
}

// checkUnicast refuses addresses that cannot belong to one host.
func checkUnicast(a netip.Addr) error {
	switch {
	case a.Zone() != "":
		return errors.New("an interface cannot be part of the address")
	case a.Is4In6():
		return fmt.Errorf("an IPv4-mapped address; write %s", a.Unmap())
	case a.IsUnspecified() || a.Is4() && a.As4()[0] == 0:
		return errors.New("the unspecified address")
	case a.IsMulticast():
		return errors.New("a multicast address")
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return errors.New("the broadcast address")
	}
	return nil
}

// checkRoutable refuses addresses that mean something else on every host.
func checkRoutable(a netip.Addr) error {
	switch {
	case a.IsLoopback():
		return errors.New("a loopback address")
	case a.IsLinkLocalUnicast():
		return errors.New("a link-local address")
	}
	return nil
}

// address accepts an address of family n that other hosts can reach.
func address(n int) Type[netip.Addr] {
	return Type[netip.Addr]{
		Name: familyName(n) + " address", Kind: "string",
		Parse: func(s string) (netip.Addr, error) {
			a, err := parseAddr(s, n)
			if err == nil {
				err = checkRoutable(a)
			}
			return a, err
		},
	}
}

// endpoint accepts one end of a BGP session. Loopback addresses are good for a
// speaker on the same host.
var endpoint = Type[netip.Addr]{
	Name: "IP address", Kind: "string",
	Parse: func(s string) (netip.Addr, error) {
		a, err := parseAddr(s, 0)
		if err == nil && a.IsLinkLocalUnicast() {
			err = errors.New("a link-local address")
		}
		return a, err
	},
}

// peerAddress accepts an endpoint with or without a port; the port is 0 when
// there is none.
var peerAddress = Type[netip.AddrPort]{
	Name: "IP address, optionally with a port", Kind: "string",
	Parse: func(s string) (netip.AddrPort, error) {
		host, port, err := splitPort(s)
		if err != nil {
			return netip.AddrPort{}, err
		}
		a, err := endpoint.Parse(host)
		return netip.AddrPortFrom(a, port), err
	},
}

// listenAddress accepts an address to listen on, with or without a port, which
// is usual when it is not given. No address and :: stand for all addresses, as
// the zero Addr.
func listenAddress(usual uint16) Type[netip.AddrPort] {
	return Type[netip.AddrPort]{
		Name: "[address][:port]", Kind: "string",
		Parse: func(s string) (netip.AddrPort, error) {
			host, port, err := splitPort(s)
			if err != nil {
				return netip.AddrPort{}, err
			}
			port = cmp.Or(port, usual)
			switch host {
			case "", "::":
				return netip.AddrPortFrom(netip.Addr{}, port), nil
			case "0.0.0.0":
				return netip.AddrPortFrom(netip.IPv4Unspecified(), port), nil
			}
			a, err := endpoint.Parse(host)
			return netip.AddrPortFrom(a, port), err
		},
	}
}

// BGPPort is the port of BGP (RFC 4271 section 8.2.1), and HTTPSPort the one
// that clients of the API expect.
const (
	BGPPort   = 179
	HTTPSPort = 8443
	// MetricsPort is the port of netctl's metrics, which is the one that
	// Prometheus' exporter for hosts has too.
	MetricsPort = 9100
)

// port accepts a TCP port.
var port = integer[uint16]("port", 1, 65535)

// splitPort separates "host", "[host]", "host:port" and "[host]:port"; an IPv6
// host with a port needs the brackets. The port is 0 when there is none.
func splitPort(s string) (host string, p uint16, err error) {
	rest := ""
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if host, rest, ok = strings.Cut(inner, "]"); !ok {
			return "", 0, errors.New("missing ]")
		}
		if !strings.Contains(host, ":") {
			return "", 0, errors.New("only an IPv6 address is written in brackets")
		}
	} else if strings.Count(s, ":") == 1 {
		host, rest = s[:strings.Index(s, ":")], s[strings.Index(s, ":"):]
	} else {
		host = s
	}
	if rest == "" {
		return host, 0, nil
	}
	p, err = port.Parse(strings.TrimPrefix(rest, ":"))
	if err != nil || rest[0] != ':' {
		return "", 0, errors.New("the port is not a number from 1 to 65535")
	}
	return host, p, nil
}

// routerID accepts a BGP identifier: not zero (RFC 6286 section 2.1), and not
// of class D or E, which common routers refuse.
var routerID = Type[netip.Addr]{
	Name: "IPv4 address", Kind: "string",
	Parse: func(s string) (netip.Addr, error) {
		a, err := parseAddr(s, 4)
		if err == nil && a.As4()[0] >= 240 {
			err = errors.New("a reserved address")
		}
		return a, err
	},
}

// hostCIDR accepts the address of a bridge with the length of its subnet,
// [None] and [Auto].
func hostCIDR(n int) Type[netip.Prefix] {
	return Type[netip.Prefix]{
		Name: familyName(n) + " address with prefix length, auto or none", Kind: "string", Values: []string{Auto, None},
		Parse: func(s string) (netip.Prefix, error) {
			switch s {
			case Auto:
				return netip.Prefix{}, ErrUnresolved
			case None:
				return netip.Prefix{}, nil
			}
			p, err := parsePrefix(s, n)
			if err != nil {
				return netip.Prefix{}, err
			}
			return p, checkHost(p)
		},
	}
}

// parsePrefix parses an address of family n with a prefix length.
func parsePrefix(s string, n int) (netip.Prefix, error) {
	example := "10.0.0.1/24"
	if n == 6 {
		example = "2001:db8::1/64"
	}
	a, _, found := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(a)
	if err != nil || familyOf(addr) != n || !found {
		return netip.Prefix{}, fmt.Errorf("not an %s address with a prefix length, such as %s", familyName(n), example)
	}
	if addr.Is4In6() {
		return netip.Prefix{}, checkUnicast(addr)
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("the prefix length is not a number from 0 to %d", addr.BitLen())
	}
	return p, nil
}

// checkHost refuses what a host cannot have as its address on a subnet.
func checkHost(p netip.Prefix) error {
	shortest := 8
	if p.Addr().Is6() {
		shortest = 16
	}
	if p.Bits() < shortest {
		return fmt.Errorf("a subnet cannot be larger than /%d", shortest)
	}
	if err := cmp.Or(checkUnicast(p.Addr()), checkRoutable(p.Addr())); err != nil {
		return err
	}
	return checkHostPart(p.Addr(), p)
}

// checkHostPart refuses the addresses of a subnet that no host can have. A
// subnet of two addresses has none of them (RFC 3021, RFC 6164).
func checkHostPart(a netip.Addr, subnet netip.Prefix) error {
	if a.BitLen()-subnet.Bits() <= 1 {
		return nil
	}
	r := netipx.RangeOfPrefix(subnet)
	switch {
	case a == r.From() && a.Is6():
		return fmt.Errorf("%s is the anycast address of the routers of the subnet", a)
	case a == r.From():
		return fmt.Errorf("%s is the address of the subnet itself", a)
	case a == r.To() && a.Is4():
		return fmt.Errorf("%s is the broadcast address of the subnet", a)
	}
	return nil
}

// route accepts a prefix of family n that can be routed to a network.
func route(n int) Type[netip.Prefix] {
	return Type[netip.Prefix]{
		Name: familyName(n) + " prefix", Kind: "string",
		Parse: func(s string) (netip.Prefix, error) {
			p, err := parsePrefix(s, n)
			switch {
			case err != nil:
				return netip.Prefix{}, err
			case p != p.Masked():
				return netip.Prefix{}, fmt.Errorf("has bits set beyond its length; did you mean %s?", p.Masked())
			case p.Bits() == 0:
				return netip.Prefix{}, errors.New("the default route cannot lead to a bridge")
			}
			for _, r := range unroutable {
				if r.Overlaps(p) {
					return netip.Prefix{}, fmt.Errorf("overlaps %s, which is not routed", r)
				}
			}
			return p, nil
		},
	}
}

// unroutable are the prefixes with a meaning that is fixed on every host
// (RFC 6890).
var unroutable = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("::/127"), netip.MustParsePrefix("::ffff:0:0/96"),
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

// routes accepts a list of routes and returns it sorted and without
// duplicates.
func routes(n int) Type[[]netip.Prefix] {
	t := list(route(n), "list of "+familyName(n)+" prefixes")
	parse := t.Parse
	t.Parse = func(s string) ([]netip.Prefix, error) {
		out, err := parse(s)
		slices.SortFunc(out, func(a, b netip.Prefix) int {
			return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
		})
		return slices.Compact(out), err
	}
	return t
}

// ranges accepts a list of address ranges and returns it sorted.
func ranges(n int) Type[[]netipx.IPRange] {
	t := list(Type[netipx.IPRange]{Parse: func(s string) (netipx.IPRange, error) { return parseRange(s, n) }},
		"list of "+familyName(n)+" ranges first-last")
	parse := t.Parse
	t.Parse = func(s string) ([]netipx.IPRange, error) {
		out, err := parse(s)
		slices.SortFunc(out, func(a, b netipx.IPRange) int { return a.From().Compare(b.From()) })
		for i := 1; i < len(out); i++ {
			if out[i-1].Overlaps(out[i]) {
				return nil, fmt.Errorf("%s and %s overlap", out[i-1], out[i])
			}
		}
		return out, err
	}
	return t
}

func parseRange(s string, n int) (netipx.IPRange, error) {
	from, to, found := strings.Cut(s, "-")
	if !found {
		return netipx.IPRange{}, errors.New("not a range first-last")
	}
	a, err := parseAddr(strings.TrimSpace(from), n)
	if err != nil {
		return netipx.IPRange{}, fmt.Errorf("%q: %w", strings.TrimSpace(from), err)
	}
	b, err := parseAddr(strings.TrimSpace(to), n)
	if err != nil {
		return netipx.IPRange{}, fmt.Errorf("%q: %w", strings.TrimSpace(to), err)
	}
	if b.Less(a) {
		return netipx.IPRange{}, errors.New("ends before it starts")
	}
	return netipx.IPRangeFrom(a, b), nil
}
