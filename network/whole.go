package network

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"netctl/bgp"
	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/network/link"
)

// A whole is what all objects of a snapshot are together on one member,
// without regard to what is seen of the host. It is never modified: the next
// one is made from it and from the objects that changed. Its slices are
// sorted, and what did not change is the same pointer in both.
type whole struct {
	networks  kind[*Network]
	instances kind[*Instance]
	forwards  kind[*Forward]
	acls      []*ACL

	rules    []*firewall.ACL // those that networks use, by name
	links    []*link.Link    // by name
	spaces   []*link.Namespace
	hops     []*link.Route // as each NIC has them: by prefix, then by owner
	routes   []*link.Route // one for each prefix
	spreads  [2]int        // how many of routes have several hops, of IPv4 and IPv6
	nics     []*firewall.NIC
	listens  []*firewall.Forward
	hosts    []host // by network and MAC
	services []*dhcp.Service
	claims   []*claim      // by prefix
	slots    []slot        // by what is claimed
	single   []*Export     // as each object has them: by prefix, then by owner
	exports  []*Export     // one for each prefix
	paths    []*bgp.Path   // of exports
	peers    []*sharedPeer // by address
}

// A kind is all objects of one kind, and the part of each, in the same order.
type kind[T comparable] struct {
	objects []T
	parts   []*part
}

// A change is what the objects that come and go between two wholes contribute
// alone. One that changed both goes and comes.
type change struct {
	gone, come []*part
	edited     []*part // those of come whose objects themselves are other ones
}

// next returns the kind of other objects, both sorted by compare. Derive makes
// the part of an object, given the one that it was; an object that stays is
// derived anew when moved says that what it refers to has changed.
func (k kind[T]) next(objects []T, c *change, compare func(a, b T) int, moved func(T) bool, derive func(is T, was *part) *part) kind[T] {
	n := kind[T]{objects, make([]*part, len(objects))}
	i := 0
	for j, is := range objects {
		for ; i < len(k.objects) && k.objects[i] != is && compare(k.objects[i], is) < 0; i++ {
			c.gone = append(c.gone, k.parts[i])
		}
		switch {
		case i == len(k.objects) || k.objects[i] != is && compare(k.objects[i], is) > 0:
			n.parts[j] = derive(is, nil)
			c.come, c.edited = append(c.come, n.parts[j]), append(c.edited, n.parts[j])
			continue
		case k.objects[i] == is && !moved(is):
			n.parts[j] = k.parts[i]
		default:
			n.parts[j] = derive(is, k.parts[i])
			c.gone, c.come = append(c.gone, k.parts[i]), append(c.come, n.parts[j])
			if k.objects[i] != is {
				c.edited = append(c.edited, n.parts[j])
			}
		}
		i++
	}
	c.gone = append(c.gone, k.parts[i:]...)
	return n
}

// next returns the whole of objects. W is not modified. The error holds every
// conflict among the objects, and w must be free of them.
func (w *whole) next(o Objects, member string) (*whole, error) {
	n := &whole{}
	var c change
	n.networks = w.networks.next(o.Networks, &c,
		func(a, b *Network) int { return strings.Compare(a.Name, b.Name) },
		func(*Network) bool { return false },
		func(is *Network, was *part) *part { return is.part(member, was) })
	changed := w.changedNetworks(n, len(c.gone)+len(c.come) > 0)
	byName := func(name string) *Network {
		i, ok := slices.BinarySearchFunc(o.Networks, name, func(n *Network, name string) int { return strings.Compare(n.Name, name) })
		if !ok {
			return nil
		}
		return o.Networks[i]
	}
	forwards := forwarding(o.Forwards)
	moved := different(forwarding(w.forwards.objects), forwards)
	maps.Copy(moved, changed)
	n.instances = w.instances.next(o.Instances, &c,
		func(a, b *Instance) int { return strings.Compare(a.Name, b.Name) },
		func(is *Instance) bool {
			return len(moved) > 0 && slices.ContainsFunc(is.NICs, func(n NIC) bool { return moved[n.Network] })
		},
		func(is *Instance, was *part) *part {
			return deriveInstance(is, member, byName, forwards).share(was)
		})
	n.forwards = w.forwards.next(o.Forwards, &c,
		func(a, b *Forward) int {
			return cmp.Or(strings.Compare(a.Network, b.Network), a.Listen.Compare(b.Listen))
		},
		func(is *Forward) bool { return len(changed) > 0 && changed[is.Network] },
		func(is *Forward, was *part) *part { return deriveForward(is, member, byName).share(was) })
	missing := n.useACLs(o.ACLs, w, len(changed) > 0)
	if !n.follow(w, c) || missing != nil {
		return nil, errors.Join(n.conflicts(c.newcomers()), missing)
	}
	return n, nil
}

// forwarding returns the names of the networks that forwards, sorted by
// network, belong to.
func forwarding(forwards []*Forward) map[string]bool {
	names := map[string]bool{}
	for len(forwards) > 0 {
		name := forwards[0].Network
		names[name] = true
		next, _ := slices.BinarySearchFunc(forwards, name+"\x00", func(f *Forward, name string) int { return strings.Compare(f.Network, name) })
		forwards = forwards[next:]
	}
	return names
}

// different returns the names that one of two sets has and the other has not.
func different(a, b map[string]bool) map[string]bool {
	names := map[string]bool{}
	for n := range a {
		if !b[n] {
			names[n] = true
		}
	}
	for n := range b {
		if !a[n] {
			names[n] = true
		}
	}
	return names
}

// changedNetworks returns the names of the networks that are not the same in w
// and in n.
func (w *whole) changedNetworks(n *whole, some bool) map[string]bool {
	if !some {
		return nil
	}
	was := make(map[*Network]bool, len(w.networks.objects))
	for _, o := range w.networks.objects {
		was[o] = true
	}
	changed := map[string]bool{}
	for _, o := range n.networks.objects {
		if !was[o] {
			changed[o.Name] = true
		}
		delete(was, o)
	}
	for o := range was {
		changed[o.Name] = true
	}
	return changed
}

// follow makes the lists of w from those of old. It reports whether w is free
// of conflicts.
func (w *whole) follow(old *whole, c change) (ok bool) {
	ok = true
	for _, p := range c.come {
		ok = ok && len(p.errs) == 0
	}
	w.links = patchAll(old.links, c, func(p *part) []*link.Link { return p.links }, func(a, b *link.Link) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Owner, b.Owner))
	})
	w.spaces = patchAll(old.spaces, c, func(p *part) []*link.Namespace { return p.spaces }, func(a, b *link.Namespace) int {
		return strings.Compare(a.Name, b.Name)
	})
	w.nics = patchAll(old.nics, c, func(p *part) []*firewall.NIC { return p.nics }, func(a, b *firewall.NIC) int {
		return strings.Compare(a.Owner, b.Owner)
	})
	w.listens = patchAll(old.listens, c, (*part).listen, func(a, b *firewall.Forward) int { return a.Listen.Compare(b.Listen) })
	w.hosts = patchAll(old.hosts, c, hostsOf, compareHost)
	w.claims = patchAll(old.claims, c, func(p *part) []*claim { return p.claims }, compareClaim)
	w.slots = patchAll(old.slots, c, func(p *part) []slot { return p.slots }, compareSlot)
	w.single = patchAll(old.single, c, func(p *part) []*Export { return p.exports }, compareExport)
	w.hops = patchAll(old.hops, c, func(p *part) []*link.Route { return p.routes }, compareHop)
	ok = ok && disjoint(w.claims, gather(c.come, func(p *part) []*claim { return p.claims }))
	ok = ok && !taken(w.slots, gather(c.come, func(p *part) []slot { return p.slots }))
	ok = w.join(old, c) && ok
	w.spread(old, c)
	w.serve(old, c)
	return w.meet(old, c) && ok
}

// all returns the parts of all objects.
func (w *whole) all() []*part {
	return slices.Concat(w.networks.parts, w.instances.parts, w.forwards.parts)
}

func (p *part) listen() []*firewall.Forward {
	if p.forward == nil {
		return nil
	}
	return []*firewall.Forward{p.forward}
}

// gather returns what all parts have of something.
func gather[T any](parts []*part, of func(*part) []T) []T {
	var out []T
	for _, p := range parts {
		out = append(out, of(p)...)
	}
	return out
}

// compareExport compares exports of single objects.
func compareExport(a, b *Export) int {
	return cmp.Or(bgp.ComparePrefix(a.Prefix, b.Prefix), compareOwner(a.Owners[0], b.Owners[0]))
}

// compareHop compares routes of single NICs.
func compareHop(a, b *link.Route) int {
	return cmp.Or(bgp.ComparePrefix(a.Prefix, b.Prefix), strings.Compare(a.Owners[0], b.Owners[0]))
}

func compareHost(a, b host) int {
	return cmp.Or(strings.Compare(a.network, b.network), strings.Compare(a.MAC, b.MAC), strings.Compare(a.Name, b.Name))
}

// patchAll returns a list of w from that of the one before.
func patchAll[T any](have []T, c change, of func(*part) []T, compare func(a, b T) int) []T {
	return patch(have, gather(c.gone, of), gather(c.come, of), compare)
}
