package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"netctl/bgp"
	"netctl/network/link"
)

// gate decides which exports may be announced now: those whose network, or NIC,
// is really up on this host, and routed to when they are behind a NIC. An
// announcement is the last step of coming up, and its withdrawal the first of
// going down.
//
// Everything is announced but for what is looked at because something is not as
// it should be: it costs what is down.
func gate(h *Host, w *whole, o *Observed) {
	h.Down = map[string]string{}
	rests := map[string]bool{}
	for _, l := range h.Link.Links {
		why, rest := notUp(l, o)
		if why != "" {
			h.Down[l.Owner] = why
		}
		if rest {
			rests[l.Owner] = true
		}
	}
	h.Link.Routes = h.standing(w)
	routed := o.routed()
	var held []*Export // as they are in w
	for _, e := range w.doubtful(h.Down, o) {
		own, why := h.held(e)
		rest := rests[own]
		if why == "" && e.Owners[0].Instance != "" {
			why, rest = routed(e.Prefix)
		}
		if why != "" {
			held = append(held, e)
			h.Held = append(h.Held, &Export{Path: e.Path, Owners: e.Owners, Held: why, Rests: rest})
		}
	}
	h.Exports = patch(w.exports, held, h.Held, compareExports)
	h.BGP.Paths = patch(w.paths, paths(held), nil, comparePaths)
}

// doubtful returns the exports that may have to be held, sorted: all of them
// when a network is down.
func (w *whole) doubtful(down map[string]string, o *Observed) []*Export {
	var out []*Export
	for owner := range down {
		p := w.ofNIC(owner)
		if p == nil {
			return w.exports
		}
		for _, e := range p.exports {
			out = append(out, run(w.exports, e.Prefix, exportPrefix)...)
		}
	}
	for _, r := range o.lacking(w.routes) {
		out = append(out, run(w.exports, r.Prefix, exportPrefix)...)
	}
	slices.SortFunc(out, compareExports)
	return slices.Compact(out)
}

// ofNIC returns the part of the instance that the owner of a link is a NIC of;
// nil when it is a network.
func (w *whole) ofNIC(owner string) *part {
	name, _, is := strings.Cut(owner, "/")
	if !is {
		return nil
	}
	i, ok := slices.BinarySearchFunc(w.instances.objects, name, func(i *Instance, name string) int { return strings.Compare(i.Name, name) })
	if !ok {
		return nil
	}
	return w.instances.parts[i]
}

// held says whose link does not let an export be announced now, and why; or
// nothing. One owner that is up is enough.
func (h *Host) held(e *Export) (owner, why string) {
	for _, own := range e.Owners {
		owner, why = own.Network, h.Down[own.Network]
		if why == "" && own.Instance != "" {
			owner = link.NICOwner(own.Instance, own.Device)
			why = h.Down[owner]
		}
		if why == "" {
			return "", ""
		}
	}
	return owner, why
}

// lacking returns those of routes that the host does not have. Both are sorted
// by prefix.
func (o *Observed) lacking(routes []*link.Route) []*link.Route {
	if o == nil {
		return routes
	}
	var out []*link.Route
	own := o.Own
	for _, r := range routes {
		if len(own) > 0 && own[0] == r {
			own = own[1:] // as most are, which are known to be as they are wanted
			continue
		}
		for len(own) > 0 && bgp.ComparePrefix(own[0].Prefix, r.Prefix) < 0 {
			own = own[1:]
		}
		if len(own) == 0 || own[0].Prefix != r.Prefix || own[0].Metric != 0 {
			out = append(out, r)
		}
	}
	return out
}

// routed returns what says why the host has no route of ours to a prefix, or
// nothing when it has one. It rests when somebody else's route is in its place,
// or the subnet of an address.
func (o *Observed) routed() func(netip.Prefix) (why string, rests bool) {
	subnets := sync.OnceValue(func() map[netip.Prefix]bool {
		all := map[netip.Prefix]bool{}
		for _, l := range o.Links {
			for _, a := range l.Addrs {
				all[a.Masked()] = true
			}
		}
		return all
	})
	return func(p netip.Prefix) (why string, rests bool) {
		if own := run(o.Own, p, routePrefix); len(own) > 0 && own[0].Metric == 0 {
			return "", false
		}
		if _, found := slices.BinarySearchFunc(o.Routes, p, bgp.ComparePrefix); found || subnets()[p] {
			return fmt.Sprintf("the route to %s on this host is not netctl's", p), true
		}
		return fmt.Sprintf("the host has no route to %s yet", p), false
	}
}

// notUp says why a link is not in the state that its announcements need, or
// nothing when it is. It rests when it is as netctl makes it, and others have
// to do something for it.
func notUp(l *link.Link, o *Observed) (why string, rests bool) {
	if o == nil {
		return "the host has not been looked at yet", false
	}
	seen := o.Links[l.Name]
	if seen == nil {
		return fmt.Sprintf("interface %s does not exist", l.Name), false
	}
	if n, ours := seen.Owner(); !ours || n != l.Owner {
		return fmt.Sprintf("interface %s exists and is not netctl's", l.Name), false
	}
	if !seen.Up {
		return fmt.Sprintf("interface %s is down", l.Name), false
	}
	for _, want := range l.Addrs {
		if !slices.ContainsFunc(seen.Addrs, func(a link.Addr) bool { return a.Prefix == want }) {
			return fmt.Sprintf("interface %s does not have address %s", l.Name, want), false
		}
	}
	switch {
	case l.Port == nil:
	case seen.Master != l.Port.Bridge:
		return fmt.Sprintf("interface %s is not a port of bridge %s", l.Name, l.Port.Bridge), false
	case !seen.Carrier && l.Kind == link.Tap:
		return fmt.Sprintf("interface %s has no carrier: nothing has the tap open", l.Name), true
	case !seen.Carrier:
		return fmt.Sprintf("interface %s has no carrier: its other end is down", l.Name), true
	case seen.Blocked:
		return fmt.Sprintf("interface %s is not forwarding on bridge %s", l.Name, l.Port.Bridge), true
	}
	return "", false
}

// standing returns the routes of w. One that leads over several NICs leads over
// those only that are up, if some are.
func (h *Host) standing(w *whole) []*link.Route {
	have, want := map[netip.Prefix]*link.Route{}, map[netip.Prefix]*link.Route{}
	for owner := range h.Down {
		p := w.ofNIC(owner)
		if p == nil {
			continue
		}
		for _, r := range p.routes {
			all := run(w.routes, r.Prefix, routePrefix)[0]
			if len(all.Owners) < 2 || have[r.Prefix] != nil {
				continue
			}
			up := slices.DeleteFunc(slices.Clone(w.ways(r.Prefix)), func(hop *link.Route) bool { return h.Down[hop.Owners[0]] != "" })
			if len(up) > 0 && len(up) < len(all.Owners) {
				have[r.Prefix], want[r.Prefix] = all, over(up)
			}
		}
	}
	return patch(w.routes, slices.Collect(maps.Values(have)), slices.Collect(maps.Values(want)), compareRoutes)
}
