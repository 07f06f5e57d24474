package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Validate reports everything in c that breaks the rules of its types: values
// out of range, sets that are not sorted, addresses that no router would take.
// A Config that does not run (ASN 0) is always valid.
func (c Config) Validate() error {
	if c.ASN == 0 {
		return nil
	}
	errs := c.validateHead()
	for i := range c.Paths {
		errs = append(errs, c.validatePath(i)...)
	}
	return errors.Join(errs...)
}

// validateHead is Validate of all but the paths.
func (c Config) validateHead() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !c.RouterID.Is4() || c.RouterID.IsUnspecified() {
		bad("router id %s is not an IPv4 address", c.RouterID)
	}
	if c.RestartTime < time.Second || c.RestartTime > 4095*time.Second {
		bad("restart time %s is not between 1 and 4095 seconds", c.RestartTime)
	}
	for i, l := range c.Listen {
		if !l.Addr().IsValid() || l.Addr().Is4In6() || l.Port() == 0 {
			bad("cannot listen on %s", l)
		}
		if i > 0 && c.Listen[i-1].Compare(l) >= 0 {
			bad("listen address %s is out of order", l)
		}
	}
	for i := range c.Peers {
		if i > 0 && c.Peers[i-1].Addr.Compare(c.Peers[i].Addr) >= 0 {
			bad("peer %s is out of order", c.Peers[i].Addr)
		}
		if err := c.Peers[i].validate(); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// validatePath is Validate of one path.
func (c Config) validatePath(i int) []error {
	var errs []error
	p := c.Paths[i]
	if i > 0 && ComparePrefix(c.Paths[i-1].Prefix, p.Prefix) >= 0 {
		errs = append(errs, outOfOrder(p.Prefix))
	}
	if err := p.validate(); err != nil {
		errs = append(errs, err)
	}
	return errs
}

func outOfOrder(p netip.Prefix) error { return fmt.Errorf("path %s is out of order", p) }

func (p *Peer) validate() error {
	a := p.Addr
	switch {
	case !usable(a) || a.IsMulticast():
		return fmt.Errorf("peer %s: not the address of a router", a)
	case p.ASN == 0:
		return fmt.Errorf("peer %s: AS 0 (RFC 7607)", a)
	case p.Port == 0:
		return fmt.Errorf("peer %s: port 0", a)
	case p.HoldTime != 0 && (p.HoldTime < 3*time.Second || p.HoldTime > 65535*time.Second):
		return fmt.Errorf("peer %s: hold time %s is neither 0 nor between 3 and 65535 seconds", a, p.HoldTime)
	case len(p.Password) > 80:
		return fmt.Errorf("peer %s: a password has at most 80 bytes", a)
	case p.LocalAddr.IsValid() && p.LocalAddr.Is4() != a.Is4():
		return fmt.Errorf("peer %s: local address %s is of the other family", a, p.LocalAddr)
	case p.Source.IsValid() && p.Source.Is4() != a.Is4():
		return fmt.Errorf("peer %s: source address %s is of the other family", a, p.Source)
	case p.NextHop4.IsValid() && (!p.NextHop4.Is4() || p.NextHop4.IsUnspecified()):
		return fmt.Errorf("peer %s: IPv4 next hop %s", a, p.NextHop4)
	case p.NextHop6.IsValid() && (p.NextHop6.Is4() || !usable(p.NextHop6)):
		return fmt.Errorf("peer %s: IPv6 next hop %s", a, p.NextHop6)
	}
	return nil
}

func (p *Path) validate() error {
	switch {
	case !p.Prefix.IsValid() || p.Prefix != p.Prefix.Masked() || p.Prefix.Addr().Is4In6():
		return fmt.Errorf("path %s: not a network", p.Prefix)
	case p.NextHop.IsValid() && (p.NextHop.Is4() != p.Prefix.Addr().Is4() || !usable(p.NextHop)):
		return fmt.Errorf("path %s: next hop %s", p.Prefix, p.NextHop)
	}
	return nil
}

// usable reports whether a can be put on the wire.
func usable(a netip.Addr) bool { return a.IsValid() && !a.IsUnspecified() && !a.Is4In6() }
