package gobgp

import (
	"encoding/binary"
	"net/netip"
)

// A sentTable says with which attributes prefixes have been announced. There is one
// for each peer, and each may have a million of them: IPv4 prefixes are kept as
// numbers, which takes a third of the memory.
type sentTable struct {
	v4 map[uint64]*attributes // by number
	v6 map[netip.Prefix]*attributes
}

func newSentTable() sentTable {
	return sentTable{v4: map[uint64]*attributes{}, v6: map[netip.Prefix]*attributes{}}
}

// number is an IPv4 prefix: the address, and then the length in one octet.
func number(p netip.Prefix) uint64 {
	a := p.Addr().As4()
	return uint64(binary.BigEndian.Uint32(a[:]))<<8 | uint64(p.Bits())
}

// numbered is the prefix that has a number.
func numbered(n uint64) netip.Prefix {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(n>>8))
	return netip.PrefixFrom(netip.AddrFrom4(a), int(n&0xff))
}

// set keeps the attributes of a prefix, and reports whether it had none.
func (t sentTable) set(p netip.Prefix, a *attributes) (added bool) {
	before := t.len()
	if p.Addr().Is4() {
		t.v4[number(p)] = a
	} else {
		t.v6[p] = a
	}
	return t.len() > before
}

// remove forgets a prefix, and reports whether it was there.
func (t sentTable) remove(p netip.Prefix) (removed bool) {
	before := t.len()
	if p.Addr().Is4() {
		delete(t.v4, number(p))
	} else {
		delete(t.v6, p)
	}
	return t.len() < before
}

func (t sentTable) len() int { return len(t.v4) + len(t.v6) }

// all calls each with every prefix, in no order.
func (t sentTable) all(each func(netip.Prefix, *attributes) bool) {
	for n, a := range t.v4 {
		if !each(numbered(n), a) {
			return
		}
	}
	for p, a := range t.v6 {
		if !each(p, a) {
			return
		}
	}
}
