package dhcp

import (
	"math/bits"
	"net/netip"

	"go4.org/netipx"
)

// A mode is how IPv6 is offered.
type mode int

const (
	modeOff       mode = iota
	modeRA             // router advertisements with autoconfiguration (SLAAC, RFC 4862), no DHCPv6
	modeStateless      // these, and DHCPv6 for everything but addresses (RFC 8415, section 6.1)
	modeStateful       // router advertisements, and addresses by DHCPv6
)

// mode returns how an IPv6 family is offered. As with LXD, switching DHCP off
// leaves router advertisements on. Autoconfiguration needs a /64, so that a
// longer prefix is always stateful, and off without DHCP.
func (f Family) mode() mode {
	switch long := f.Address.Bits() > 64; {
	case !f.Address.IsValid() || f.Address.Addr().Is4(), long && !f.DHCP:
		return modeOff
	case f.DHCP && (f.Stateful || long):
		return modeStateful
	case f.DHCP:
		return modeStateless
	}
	return modeRA
}

// subnet returns what addresses are offered from: the subnet of the bridge,
// for a short IPv6 prefix the /64 in it that the bridge is in.
func (f Family) subnet() netip.Prefix {
	p := f.Address
	if p.Addr().Is6() && p.Bits() < 64 {
		p = netip.PrefixFrom(p.Addr(), 64)
	}
	return p.Masked()
}

// leasable returns the ranges to lease from: Ranges, or the whole subnet;
// never the address of the bridge, nor those of IPv4 that mean the subnet
// itself and its broadcast (RFC 3021 has none on a /31), nor the
// subnet-router anycast address (RFC 4291, section 2.6.1).
func (f Family) leasable() []netipx.IPRange {
	subnet := f.subnet()
	var b netipx.IPSetBuilder
	if len(f.Ranges) == 0 {
		b.AddPrefix(subnet)
	}
	for _, r := range f.Ranges {
		b.AddRange(r)
	}
	var in netipx.IPSetBuilder
	in.AddPrefix(subnet)
	if set, err := in.IPSet(); err == nil {
		b.Intersect(set)
	}
	b.Remove(f.Address.Addr())
	if host := subnet.Addr().BitLen() - subnet.Bits(); host > 1 {
		b.Remove(subnet.Addr())
		if subnet.Addr().Is4() {
			b.Remove(netipx.PrefixLastIP(subnet))
		}
	}
	set, err := b.IPSet()
	if err != nil {
		return nil
	}
	return set.Ranges()
}

const (
	minLeases = 1000    // what dnsmasq allows when it is not told otherwise
	maxLeases = 1 << 16 // bounds what it keeps in memory
)

// leases is how many leases there may be: as many as there are addresses,
// which hosts may have outside the ranges too.
func (s Service) leases() int {
	n := 0
	for _, f := range []Family{s.V4, s.V6} {
		if f.Address.IsValid() && (f.Address.Addr().Is4() && f.DHCP || f.mode() == modeStateful) {
			f.Ranges = nil
			n += size(f.leasable())
		}
	}
	return max(minLeases, min(n, maxLeases))
}

// size returns the number of addresses in ranges, or maxLeases when there are
// more.
func size(ranges []netipx.IPRange) int {
	n := 0
	for _, r := range ranges {
		from, to := r.From().As16(), r.To().As16()
		var borrow, low, diff uint64
		for i := 0; i < 16; i += 8 {
			a, b := word(from[8-i:]), word(to[8-i:])
			diff, borrow = bits.Sub64(b, a, borrow)
			if i == 0 {
				low = diff
			} else if diff != 0 {
				return maxLeases
			}
		}
		if low >= maxLeases {
			return maxLeases
		}
		n += int(low) + 1
	}
	return min(n, maxLeases)
}

// word is the number in the first 8 bytes of b, big endian.
func word(b []byte) (n uint64) {
	for _, c := range b[:8] {
		n = n<<8 | uint64(c)
	}
	return n
}
