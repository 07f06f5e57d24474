package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netctl/bgp"
)

// A claimant is a value that an object claims something with.
type claimant struct {
	class  class
	object string // as in `network "br0"`
	key    string // nameKey when it is by its name that the object claims something
	value  string
}

// A class is what an object is. Those that come first have what they claim:
// later ones, which refer to them, are refused for their sake.
type class int

const (
	ofNetwork class = iota
	ofNIC
	ofForward
)

// nameKey stands for the name of an object.
const nameKey = "name"

func (c claimant) String() string {
	if c.key == nameKey {
		return c.object + ", whose bridge that is"
	}
	return fmt.Sprintf("%s=%s of %s", c.key, c.value, c.object)
}

func (c claimant) compare(o claimant) int {
	return cmp.Or(cmp.Compare(c.class, o.class), strings.Compare(c.object, o.object), strings.Compare(c.key, o.key), strings.Compare(c.value, o.value))
}

// refuse reports that c clashes with another claimant.
func (c claimant) refuse(other claimant) error {
	return &ConflictError{c.object, c.key, c.value, other.String()}
}

// A claim is a prefix that exists in one place only.
type claim struct {
	claimant
	prefix  netip.Prefix
	network string
	kind    claimKind
	anycast bool // of a route: other NICs may have the same
}

// A claimKind is what a prefix is claimed as.
type claimKind int

const (
	subnetClaim claimKind = iota // the subnet of a network
	routesClaim                  // ipvN.routes of a network: prefixes somewhere behind its bridge
	nicClaim                     // a route of a NIC
	listenClaim                  // the address of a forward
)

// clashes reports whether two claims that overlap cannot exist together. What
// is somewhere behind a bridge may be routed to one of its NICs, or forwarded.
func (c *claim) clashes(o *claim) bool {
	if c.prefix.Bits() > o.prefix.Bits() {
		c, o = o, c
	}
	switch {
	case c.kind == nicClaim && o.kind == nicClaim:
		return c.prefix != o.prefix || !c.anycast || !o.anycast
	case c.network != o.network:
		return true
	case c.kind <= routesClaim && o.kind <= routesClaim:
		return false
	case c.prefix == o.prefix:
		return c.kind != routesClaim && o.kind != routesClaim
	}
	return c.kind != routesClaim
}

func compareClaim(a, b *claim) int {
	return cmp.Or(bgp.ComparePrefix(a.prefix, b.prefix), a.compare(b.claimant))
}

// fewClaims is up to how many new claims are looked up among all others one by
// one.
const fewClaims = 64

// disjoint reports whether none of the new claims clashes with another of all,
// which are sorted.
func disjoint(all, come []*claim) bool {
	if len(come) > fewClaims {
		return overlaps(all, func(*claim, *claim) bool { return false })
	}
	for _, c := range come {
		if !alone(all, c) {
			return false
		}
	}
	return true
}

// alone reports whether c clashes with none of claims, sorted by address and
// then by length: a prefix is followed by those inside it.
func alone(claims []*claim, c *claim) bool {
	first := func(p netip.Prefix) int {
		i, _ := slices.BinarySearchFunc(claims, p, func(c *claim, p netip.Prefix) int { return bgp.ComparePrefix(c.prefix, p) })
		return i
	}
	for _, o := range claims[first(c.prefix):] {
		if !o.prefix.Overlaps(c.prefix) {
			break
		}
		if o != c && c.clashes(o) {
			return false
		}
	}
	for bits := c.prefix.Bits() - 1; bits >= 0; bits-- {
		around := netip.PrefixFrom(c.prefix.Addr(), bits).Masked()
		for _, o := range claims[first(around):] {
			if o.prefix != around {
				break
			}
			if c.clashes(o) {
				return false
			}
		}
	}
	return true
}

// overlaps calls each for the claims that clash, of which the first comes
// first in the order of claimants, until it returns false. It reports whether
// it has gone to the end without being stopped.
func overlaps(claims []*claim, each func(a, b *claim) bool) bool {
	// Sorted by address and then by length, a prefix is followed by those that
	// it contains; the open ones are a stack.
	var open []*claim
	for _, c := range claims {
		for len(open) > 0 && !open[len(open)-1].prefix.Overlaps(c.prefix) {
			open = open[:len(open)-1]
		}
		for _, o := range open {
			if !c.clashes(o) {
				continue
			}
			a, b := o, c
			if b.compare(a.claimant) < 0 {
				a, b = b, a
			}
			if !each(a, b) {
				return false
			}
			break
		}
		open = append(open, c)
	}
	return true
}

// A slot is something that one claimant only can have: the name of an
// interface, an address or a MAC on a network.
type slot struct {
	what string
	claimant
}

func compareSlot(a, b slot) int {
	return cmp.Or(strings.Compare(a.what, b.what), a.compare(b.claimant))
}

func interfaceSlot(name string, c claimant) slot { return slot{"interface " + name, c} }

func addressSlot(network string, a netip.Addr, c claimant) slot {
	return slot{"address " + network + " " + a.String(), c}
}

func macSlot(network, mac string, c claimant) slot { return slot{"mac " + network + " " + mac, c} }

// taken reports whether one of the new slots is taken twice among all, which
// are sorted.
func taken(all, come []slot) bool {
	for _, s := range come {
		i, _ := slices.BinarySearchFunc(all, s.what, func(s slot, what string) int { return strings.Compare(s.what, what) })
		if i+1 < len(all) && all[i+1].what == s.what {
			return true
		}
	}
	return false
}
