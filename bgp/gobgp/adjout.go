package gobgp

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"netctl/bgp"
)

// An adjOut is what a peer has been told in the present session (the
// Adj-RIB-Out of RFC 4271 section 3.2), read from the wire.
type adjOut struct {
	mu    sync.Mutex
	sent  sentTable
	count map[bgp.Family]int
	last  *attributes           // of the UPDATE before: most are alike
	fence map[bgp.Family]uint32 // the last that has come by
}

// attributes are what many prefixes have in common.
type attributes struct {
	nextHop netip.Addr
	asPath  []uint32
}

func newAdjOut() *adjOut {
	return &adjOut{sent: newSentTable(), count: map[bgp.Family]int{}, fence: map[bgp.Family]uint32{}}
}

// pass takes note of an UPDATE on its way to the peer, and reports whether it
// should get there. GoBGP withdraws a path from everybody, also from those who
// have never heard of it: what they have not been told of is not their
// business. Fences are for us alone. And a next hop that is none never gets
// out, whatever the export policy makes of it.
func (o *adjOut) pass(m message, asSize int) bool {
	u, ok := parseUpdate(m)
	if !ok {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	pass := len(u.withdrawn) == 0
	for f, b := range u.withdrawn {
		eachPrefix(b, f, func(p netip.Prefix) {
			if o.sent.remove(p) {
				o.count[f]--
				pass = true
			}
		})
	}
	var attrs *attributes
	for f, b := range u.announced {
		eachPrefix(b, f, func(p netip.Prefix) {
			if n, ok := fenceNumber(p); ok {
				o.fence[f] = max(o.fence[f], n)
				pass = false
				return
			}
			if attrs == nil {
				attrs = o.attributes(u, asSize)
			}
			if !proper(attrs.nextHop) {
				pass = false
				return
			}
			if o.sent.set(p, attrs) {
				o.count[f]++
			}
			pass = true
		})
	}
	return pass
}

// proper reports whether an address may be a next hop on the wire.
func proper(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.Is4In6() && !markers4.Contains(a) && !markers6.Contains(a)
}

// attributes returns the attributes of an UPDATE.
func (o *adjOut) attributes(u update, asSize int) *attributes {
	var a attributes
	if len(u.nextHop) == 32 {
		u.nextHop = u.nextHop[:16] // a link-local one follows (RFC 2545 section 3)
	}
	a.nextHop, _ = netip.AddrFromSlice(u.nextHop)
	a.asPath = asNumbers(u.asPath, asSize)
	if o.last == nil || o.last.nextHop != a.nextHop || !slices.Equal(o.last.asPath, a.asPath) {
		o.last = &a
	}
	return o.last
}

// list returns everything that the peer has been told, sorted by prefix.
func (o *adjOut) list() []bgp.Advertised {
	o.mu.Lock()
	list := make([]bgp.Advertised, 0, o.sent.len())
	for p, a := range o.sent.all {
		list = append(list, bgp.Advertised{Prefix: p, NextHop: a.nextHop, ASPath: a.asPath})
	}
	o.mu.Unlock()
	slices.SortFunc(list, func(a, b bgp.Advertised) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	return list
}

// counts returns how many prefixes of each family the peer has been told.
func (o *adjOut) counts() map[bgp.Family]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.count)
}

// passed reports whether a fence has come by in a family.
func (o *adjOut) passed(f bgp.Family, n uint32) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fence[f] >= n
}
