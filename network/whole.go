package network

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"netctl/bgp"
	"netctl/config"
)

// A whole is what all networks of a snapshot are together on one member,
// without regard to what is seen of the host. It is never modified: the next
// one is made from it and from the networks that changed. Its slices are
// sorted, and what did not change is the same pointer in both.
type whole struct {
	networks []*Network    // what it is made of
	parts    []*part       // of each network, in the same order
	claims   []*claim      // by prefix
	ports    []port        // by interface
	single   []*Export     // as each network has them: by prefix, then by network
	exports  []*Export     // one for each prefix
	peers    []*sharedPeer // by address
}

// A change is what the networks that come and go between two wholes contribute
// alone. A network that changed both goes and comes.
type change struct{ gone, come []*part }

// next returns the whole of networks. W is not modified. The error holds every
// conflict among the networks, and w must be free of them.
func (w *whole) next(networks []*Network, member string) (*whole, error) {
	n := &whole{networks: networks, parts: make([]*part, len(networks))}
	var c change
	i := 0
	for j, is := range networks {
		for ; i < len(w.networks) && w.networks[i].Name < is.Name; i++ {
			c.gone = append(c.gone, w.parts[i])
		}
		if i < len(w.networks) && w.networks[i] == is {
			n.parts[j] = w.parts[i]
			i++
			continue
		}
		var was *part
		if i < len(w.networks) && w.networks[i].Name == is.Name {
			was = w.parts[i]
			c.gone = append(c.gone, was)
			i++
		}
		n.parts[j] = is.part(member, was)
		c.come = append(c.come, n.parts[j])
	}
	c.gone = append(c.gone, w.parts[i:]...)

	n.claims = patch(w.claims, all(c.gone, (*part).allClaims), all(c.come, (*part).allClaims), compareClaim)
	n.single = patch(w.single, all(c.gone, (*part).allExports), all(c.come, (*part).allExports), compareExport)
	n.ports = patch(w.ports, all(c.gone, (*part).allPorts), all(c.come, (*part).allPorts), port.compare)
	ok := disjoint(n.claims, c.come) && n.apart(c.come)
	ok = n.join(w, c) && ok
	ok = n.meet(w, c) && ok
	if !ok {
		return nil, conflicts(n.parts)
	}
	return n, nil
}

// A port is an interface that a network wants as a port of its bridge.
type port struct{ iface, network string }

func (p port) compare(o port) int {
	return cmp.Or(strings.Compare(p.iface, o.iface), strings.Compare(p.network, o.network))
}

func (p *part) allPorts() []port {
	out := make([]port, len(p.link.Ports))
	for i, iface := range p.link.Ports {
		out[i] = port{iface, p.link.Owner}
	}
	return out
}

func (p *part) allClaims() []*claim   { return p.claims }
func (p *part) allExports() []*Export { return p.exports }

// all returns what all parts have of something.
func all[T any](parts []*part, of func(*part) []T) []T {
	var out []T
	for _, p := range parts {
		out = append(out, of(p)...)
	}
	return out
}

func compareClaim(a, b *claim) int {
	return cmp.Or(bgp.ComparePrefix(a.prefix, b.prefix), strings.Compare(a.network, b.network), strings.Compare(a.key, b.key))
}

// compareExport compares exports of single networks.
func compareExport(a, b *Export) int {
	return cmp.Or(bgp.ComparePrefix(a.Prefix, b.Prefix), compareOwner(a.Owners[0], b.Owners[0]))
}

// patch returns a sorted slice without what is gone and with what has come, in
// any order each. It copies in runs, so that few changes among many elements
// cost little more than the copy of as many pointers; have is not modified.
func patch[T any](have, gone, come []T, compare func(a, b T) int) []T {
	if len(gone)+len(come) == 0 {
		return have
	}
	slices.SortFunc(gone, compare)
	slices.SortFunc(come, compare)
	out := make([]T, 0, len(have)-len(gone)+len(come))
	for len(gone)+len(come) > 0 {
		remove := len(come) == 0 || len(gone) > 0 && compare(gone[0], come[0]) <= 0
		at := come
		if remove {
			at = gone
		}
		i, _ := slices.BinarySearchFunc(have, at[0], compare)
		out = append(out, have[:i]...)
		have = have[i:]
		if remove {
			have, gone = have[1:], gone[1:]
		} else {
			out, come = append(out, come[0]), come[1:]
		}
	}
	return append(out, have...)
}

// disjoint reports whether no prefix of one of parts lies inside a prefix of
// another network, or has one inside. Claims are those of all networks, sorted
// by address and then by length: a prefix is followed by those inside it.
func disjoint(claims []*claim, parts []*part) bool {
	for _, p := range parts {
		for _, c := range p.claims {
			i, _ := slices.BinarySearchFunc(claims, c, compareClaim)
			for _, inside := range claims[i+1:] {
				if !inside.prefix.Overlaps(c.prefix) {
					break
				}
				if inside.network != c.network {
					return false
				}
			}
			if i == 0 {
				continue
			}
			// If c lies inside a prefix of a network that did not change, so
			// does all that is between the two, and whatever of that did not
			// change belongs to the same network. What did change is looked at
			// in its turn.
			before := claims[i-1]
			if before.network != c.network && slices.ContainsFunc(before.part.claims, func(o *claim) bool { return o.prefix.Overlaps(c.prefix) }) {
				return false
			}
		}
	}
	return true
}

// apart reports whether no interface that one of parts wants, or makes, is a
// port of two networks, or a bridge and a port.
func (w *whole) apart(parts []*part) bool {
	wanted := func(iface string) int {
		i, _ := slices.BinarySearchFunc(w.ports, port{iface: iface}, port.compare)
		n := 0
		for ; i < len(w.ports) && w.ports[i].iface == iface; i++ {
			n++
		}
		return n
	}
	for _, p := range parts {
		if wanted(p.link.Name) > 0 {
			return false
		}
		for _, iface := range p.link.Ports {
			_, made := slices.BinarySearchFunc(w.networks, iface, func(n *Network, name string) int { return strings.Compare(n.Name, name) })
			if made || wanted(iface) > 1 {
				return false
			}
		}
	}
	return true
}

// join makes the exports of prefixes that one or more networks export, as of
// two that translate to one address. It reports whether these agree.
func (w *whole) join(old *whole, c change) (ok bool) {
	prefixes := map[netip.Prefix]bool{}
	for _, parts := range [][]*part{c.gone, c.come} {
		for _, p := range parts {
			for _, e := range p.exports {
				prefixes[e.Prefix] = true
			}
		}
	}
	var gone, come []*Export
	ok = true
	for p := range prefixes {
		if was := run(old.exports, p); len(was) > 0 {
			gone = append(gone, was[0])
		}
		of := run(w.single, p)
		if len(of) == 0 {
			continue
		}
		e := of[0]
		if len(of) > 1 {
			e = &Export{Path: e.Path}
			for _, o := range of {
				ok = ok && o.NextHop == e.NextHop
				e.Peers = e.Peers.Union(o.Peers)
				e.Owners = append(e.Owners, o.Owners...)
			}
		}
		come = append(come, e)
	}
	w.exports = patch(old.exports, gone, come, func(a, b *Export) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	return ok
}

// run returns the exports of one prefix.
func run(exports []*Export, p netip.Prefix) []*Export {
	compare := func(e *Export, p netip.Prefix) int { return bgp.ComparePrefix(e.Prefix, p) }
	from, _ := slices.BinarySearchFunc(exports, p, compare)
	to := from
	for to < len(exports) && exports[to].Prefix == p {
		to++
	}
	return exports[from:to]
}

// A sharedPeer is one peer and every network that names it.
type sharedPeer struct {
	config.Peer
	networks []string // sorted
}

// A turnover is who names a peer no longer, and who does now.
type turnover struct {
	leave []string
	enter []namedPeer
}

// meet joins the peers of all networks by address. It reports whether the
// networks that name a peer agree about the session.
func (w *whole) meet(old *whole, c change) (ok bool) {
	turnovers := map[netip.Addr]*turnover{}
	at := func(a netip.Addr) *turnover {
		if turnovers[a] == nil {
			turnovers[a] = &turnover{}
		}
		return turnovers[a]
	}
	for _, p := range c.gone {
		for _, n := range p.peers {
			at(n.Address).leave = append(at(n.Address).leave, n.network)
		}
	}
	for _, p := range c.come {
		for _, n := range p.peers {
			at(n.Address).enter = append(at(n.Address).enter, n)
		}
	}
	var gone, come []*sharedPeer
	ok = true
	for a, t := range turnovers {
		is := &sharedPeer{}
		i, found := slices.BinarySearchFunc(old.peers, a, func(p *sharedPeer, a netip.Addr) int { return p.Address.Compare(a) })
		if found {
			gone = append(gone, old.peers[i])
			is.Peer, is.networks = old.peers[i].Peer, without(old.peers[i].networks, t.leave)
		}
		for _, n := range t.enter {
			if len(is.networks) == 0 {
				is.Peer = n.Peer
			}
			ok = ok && n.Peer == is.Peer
			is.networks = append(is.networks, n.network)
		}
		if len(is.networks) > 0 {
			slices.Sort(is.networks)
			is.networks = slices.Compact(is.networks)
			come = append(come, is)
		}
	}
	w.peers = patch(old.peers, gone, come, func(a, b *sharedPeer) int { return a.Address.Compare(b.Address) })
	return ok
}

// without returns a copy of names that lacks those in gone.
func without(names, gone []string) []string {
	out := make([]string, 0, len(names)+1)
	slices.Sort(gone)
	for _, n := range names {
		if _, found := slices.BinarySearch(gone, n); !found {
			out = append(out, n)
		}
	}
	return out
}
