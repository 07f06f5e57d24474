package network

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"netctl/bgp"
	"netctl/config"
	"netctl/network/dhcp"
	"netctl/network/link"
)

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

// prefixesOf returns the prefixes of what the parts of a change have.
func prefixesOf[T any](c change, of func(*part) []T, prefix func(T) netip.Prefix) map[netip.Prefix]bool {
	out := map[netip.Prefix]bool{}
	for _, x := range gather(c.gone, of) {
		out[prefix(x)] = true
	}
	for _, x := range gather(c.come, of) {
		out[prefix(x)] = true
	}
	return out
}

// join makes the exports of prefixes that one or more networks export, as of
// two that translate to one address. It reports whether these agree.
func (w *whole) join(old *whole, c change) (ok bool) {
	prefixes := prefixesOf(c, func(p *part) []*Export { return p.exports }, func(e *Export) netip.Prefix { return e.Prefix })
	var gone, come []*Export
	ok = true
	for p := range prefixes {
		if was := run(old.exports, p, exportPrefix); len(was) > 0 {
			gone = append(gone, was[0])
		}
		of := run(w.single, p, exportPrefix)
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
	w.exports = patch(old.exports, gone, come, compareExports)
	w.paths = patch(old.paths, paths(gone), paths(come), comparePaths)
	return ok
}

// paths returns the paths of exports.
func paths(exports []*Export) []*bgp.Path {
	out := make([]*bgp.Path, len(exports))
	for i, e := range exports {
		out[i] = &e.Path
	}
	return out
}

func compareExports(a, b *Export) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) }

func comparePaths(a, b *bgp.Path) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) }

func exportPrefix(e *Export) netip.Prefix { return e.Prefix }

func routePrefix(r *link.Route) netip.Prefix { return r.Prefix }

func compareRoutes(a, b *link.Route) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) }

// run returns what a list, sorted by prefix, has of one.
func run[T any](list []T, p netip.Prefix, prefix func(T) netip.Prefix) []T {
	from, _ := slices.BinarySearchFunc(list, p, func(x T, p netip.Prefix) int { return bgp.ComparePrefix(prefix(x), p) })
	to := from
	for to < len(list) && prefix(list[to]) == p {
		to++
	}
	return list[from:to]
}

// spread makes the routes of prefixes that one or more NICs have.
func (w *whole) spread(old *whole, c change) {
	var gone, come []*link.Route
	w.spreads = old.spreads
	count := func(r *link.Route, n int) {
		if len(r.Hops) > 1 {
			w.spreads[family(r.Prefix)] += n
		}
	}
	for p := range prefixesOf(c, func(p *part) []*link.Route { return p.routes }, routePrefix) {
		if was := run(old.routes, p, routePrefix); len(was) > 0 {
			gone = append(gone, was[0])
			count(was[0], -1)
		}
		if of := w.ways(p); len(of) > 0 {
			come = append(come, over(of))
			count(come[len(come)-1], +1)
		}
	}
	w.routes = patch(old.routes, gone, come, compareRoutes)
}

// ways returns the routes to one prefix, one for each NIC that has it. What a
// network has somewhere behind its bridge is behind its NICs when these have
// it: the bridge is not another way there.
func (w *whole) ways(p netip.Prefix) []*link.Route {
	all := run(w.hops, p, routePrefix)
	ofNetwork := func(r *link.Route) bool { return !strings.Contains(r.Owners[0], "/") }
	if len(all) < 2 || !slices.ContainsFunc(all, ofNetwork) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), ofNetwork)
}

// over returns the route over all hops of routes to one prefix.
func over(routes []*link.Route) *link.Route {
	if len(routes) == 1 {
		return routes[0]
	}
	r := &link.Route{Prefix: routes[0].Prefix}
	for _, o := range routes {
		r.Hops, r.Owners = append(r.Hops, o.Hops...), append(r.Owners, o.Owners...)
	}
	slices.SortFunc(r.Hops, func(a, b link.Hop) int {
		return cmp.Or(strings.Compare(a.Dev, b.Dev), a.Via.Compare(b.Via))
	})
	r.Hops = slices.Compact(r.Hops)
	slices.Sort(r.Owners)
	r.Owners = slices.Compact(r.Owners)
	return r
}

// serve gives the services the clients that they know.
func (w *whole) serve(old *whole, c change) {
	touched := map[string]bool{} // by network; true for one that has changed itself
	for _, h := range differing(gather(c.gone, hostsOf), gather(c.come, hostsOf)) {
		touched[h.network] = false
	}
	for _, p := range slices.Concat(c.gone, c.come) {
		if p.network != nil {
			touched[p.network.Name] = true
		}
	}
	byName := func(s *dhcp.Service, name string) int { return strings.Compare(s.Network, name) }
	var gone, come []*dhcp.Service
	for name, itself := range touched {
		var was *dhcp.Service
		if i, ok := slices.BinarySearchFunc(old.services, name, byName); ok {
			was = old.services[i]
			gone = append(gone, was)
		}
		if is := w.service(name); is != nil {
			if itself {
				shareOne(&is, was)
			}
			come = append(come, is)
		}
	}
	w.services = patch(old.services, gone, come, func(a, b *dhcp.Service) int { return strings.Compare(a.Network, b.Network) })
}

func hostsOf(p *part) []host { return p.hosts }

// differing returns the hosts that are in one of two lists and not in the other.
func differing(gone, come []host) []host {
	n := map[host]int{}
	for _, h := range gone {
		n[h]--
	}
	for _, h := range come {
		n[h]++
	}
	maps.DeleteFunc(n, func(_ host, n int) bool { return n == 0 })
	return slices.Collect(maps.Keys(n))
}

// service returns the service of a network with the clients that it knows, or
// nil when there is none.
func (w *whole) service(name string) *dhcp.Service {
	i, ok := slices.BinarySearchFunc(w.networks.objects, name, func(n *Network, name string) int { return strings.Compare(n.Name, name) })
	if !ok || w.networks.parts[i].service == nil {
		return nil
	}
	from, _ := slices.BinarySearchFunc(w.hosts, name, func(h host, name string) int { return strings.Compare(h.network, name) })
	if from == len(w.hosts) || w.hosts[from].network != name {
		return w.networks.parts[i].service
	}
	s := *w.networks.parts[i].service
	for _, h := range w.hosts[from:] {
		if h.network != name {
			break
		}
		s.Hosts = append(s.Hosts, h.Host)
	}
	return &s
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
