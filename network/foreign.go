package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"netctl/network/link"
)

// Takes says what the host itself would lose if p were behind a bridge of ours,
// or nothing: an address of an interface that is not ours, with the neighbours
// that it has there; a peer on the link of such an interface; or the gateway on
// the way to one. A prefix inside the subnet of an interface that has none of
// these is free: the host answers for it, and its neighbours are elsewhere.
//
// An address without neighbours, as on a loopback interface, is lost only when p
// is the same: it is found before what is around it.
func (o *Observed) Takes(p netip.Prefix) string {
	on, lost := "", netip.Prefix{}
	for name, l := range o.Links {
		for _, a := range l.Addrs {
			if p.Contains(a.Addr()) && (p.IsSingleIP() || !a.IsSingleIP()) && (on == "" || name < on) && o.foreign(name) {
				on, lost = name, a.Prefix
			}
		}
	}
	if on != "" {
		return fmt.Sprintf("the address %s of interface %s", lost, on)
	}
	for _, peer := range slices.SortedFunc(maps.Keys(o.Toward), netip.Addr.Compare) {
		t := o.Toward[peer]
		switch {
		case !o.foreign(t.Dev):
		case t.Via.IsValid() && p.Contains(t.Via):
			return fmt.Sprintf("%s on interface %s, the gateway to peer %s", t.Via, t.Dev, peer)
		case !t.Via.IsValid() && p.Contains(peer):
			return fmt.Sprintf("peer %s on interface %s", peer, t.Dev)
		}
	}
	return ""
}

// Has reports whether an interface that is not ours has an address.
func (o *Observed) Has(a netip.Addr) bool {
	for name, l := range o.Links {
		if o.foreign(name) && slices.ContainsFunc(l.Addrs, func(have link.Addr) bool { return have.Addr() == a }) {
			return true
		}
	}
	return false
}

// foreign reports whether there is an interface of that name that is not ours.
func (o *Observed) foreign(name string) bool {
	l := o.Links[name]
	if l == nil {
		return false
	}
	_, ours := l.Owner()
	return !ours
}
