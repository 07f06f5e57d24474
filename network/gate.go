package network

import (
	"fmt"
	"net/netip"
	"slices"

	"netctl/bgp"
	"netctl/network/link"
)

// gate decides which exports may be announced now: those whose network, or NIC,
// is really up on this host. An announcement is the last step of coming up, and
// its withdrawal the first of going down.
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
	h.Exports = make([]*Export, len(w.exports))
	h.BGP.Paths = make([]bgp.Path, 0, len(w.exports))
	routed := routes(o)
	for i, e := range w.exports {
		own, why := h.held(e)
		rest := rests[own]
		if why == "" && e.Owners[0].Instance != "" {
			why, rest = routed(e.Prefix)
		}
		if why != "" {
			e = &Export{Path: e.Path, Owners: e.Owners, Held: why, Rests: rest}
		} else {
			h.BGP.Paths = append(h.BGP.Paths, e.Path)
		}
		h.Exports[i] = e
	}
}

// held says whose link does not let an export be announced now, and why; or
// nothing. One owner that is up is enough.
func (h *Host) held(e *Export) (owner, why string) {
	if len(h.Down) == 0 {
		return "", ""
	}
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

// routes returns what says of one prefix after the other, in their order, why
// the host has no route of ours to it, or nothing when it has one. It rests when
// somebody else's route is in its place.
func routes(o *Observed) func(netip.Prefix) (why string, rests bool) {
	var own []*link.Route
	if o != nil {
		own = o.Own
	}
	return func(p netip.Prefix) (why string, rests bool) {
		for len(own) > 0 && bgp.ComparePrefix(own[0].Prefix, p) < 0 {
			own = own[1:]
		}
		if len(own) > 0 && own[0].Prefix == p && own[0].Metric == 0 {
			return "", false
		}
		if o != nil && o.taken(p) {
			return fmt.Sprintf("the route to %s on this host is not netctl's", p), true
		}
		return fmt.Sprintf("the host has no route to %s yet", p), false
	}
}

// taken reports whether somebody else's route, or the subnet of an address, is
// in the place of a route to p.
func (o *Observed) taken(p netip.Prefix) bool {
	if _, found := slices.BinarySearchFunc(o.Routes, p, bgp.ComparePrefix); found {
		return true
	}
	for _, l := range o.Links {
		if slices.ContainsFunc(l.Addrs, func(a link.Addr) bool { return a.Masked() == p }) {
			return true
		}
	}
	return false
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
	out := w.routes
	for i, r := range w.routes {
		if len(r.Owners) < 2 {
			continue
		}
		up := slices.DeleteFunc(slices.Clone(w.ways(r.Prefix)), func(hop *link.Route) bool {
			return h.Down[hop.Owners[0]] != ""
		})
		if len(up) == 0 || len(up) == len(r.Owners) {
			continue
		}
		if &out[0] == &w.routes[0] {
			out = slices.Clone(out)
		}
		out[i] = over(up)
	}
	return out
}
