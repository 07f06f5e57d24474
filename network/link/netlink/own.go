package netlink

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// ownRoutes are the routes with our protocol in the main table. Reading them
// costs a walk through all routes of the host, so that this is done once, and
// again only when notifications were lost; else the notifications themselves
// say what the routes are.
//
// Linux does not tell of IPv4 routes that go with their link, when that is set
// down, or with the last IPv4 address of it. Their hops are taken for gone as
// soon as one of these happens: to set one that is there still does no harm.
type ownRoutes struct {
	lost    bool
	list    []*link.Route  // sorted
	shown   []*link.Route  // the list as it was observed last; never modified
	hops    map[string]int // how many lead over each link
	pending []routeEvent   // in the order of the kernel
	news    bool           // some of them are not our doing
	touched map[netip.Prefix]bool
	addrs   map[int][]netip.Prefix // IPv4 addresses of links that had some change since
}

// A routeEvent is something that changes routes of ours.
type routeEvent struct {
	dev     string // over which no hop of family leads any more; empty for what concerns one route
	v4      bool   // only IPv4 ones
	route   rawRoute
	del     bool // the route, or some of its hops, are gone
	foreign bool // another route has taken its place
}

// A rawRoute is a route as the kernel has it.
type rawRoute struct {
	prefix netip.Prefix
	metric uint32
	hops   []rawHop
}

type rawHop struct {
	index int
	via   netip.Addr
}

func newOwnRoutes() ownRoutes {
	return ownRoutes{lost: true, hops: map[string]int{}, touched: map[netip.Prefix]bool{}, addrs: map[int][]netip.Prefix{}}
}

// readOwn takes in what has changed, or reads all routes of ours. It reports
// whether something has changed that is not our doing.
func (h *Host) readOwn() (changed bool, err error) {
	o := &h.own
	if o.lost {
		raw, err := h.read.own()
		if err != nil {
			return false, fmt.Errorf("read routes of ours: %w", err)
		}
		old := o.list
		o.list, o.lost = nil, false
		clear(o.hops)
		for _, r := range raw {
			o.set(h.resolve(r))
		}
		changed = o.inherit(old)
	} else {
		for _, e := range o.pending {
			changed = h.take(e) || changed
		}
	}
	o.pending, o.news = nil, false
	clear(o.addrs)
	return changed, nil
}

// inherit keeps the routes of old that are as they were, and reports whether
// others than those that we are changing are not.
func (o *ownRoutes) inherit(old []*link.Route) (changed bool) {
	was := map[netip.Prefix]*link.Route{}
	for _, r := range old {
		if r.Metric == 0 {
			was[r.Prefix] = r
		}
	}
	for i, r := range o.list {
		switch p := was[r.Prefix]; {
		case p != nil && r.Same(p):
			o.list[i] = p
		default:
			changed = changed || !o.touched[r.Prefix]
		}
		if r.Metric == 0 {
			delete(was, r.Prefix)
		}
	}
	for p := range maps.Keys(was) {
		changed = changed || !o.touched[p]
	}
	return changed
}

// take takes in one event, and reports whether it is news.
func (h *Host) take(e routeEvent) (changed bool) {
	o := &h.own
	if e.dev != "" {
		return o.drop(e.dev, e.v4) && !h.touched[e.dev]
	}
	r := h.resolve(e.route)
	switch {
	case e.foreign:
		changed = o.remove(r)
	case !e.del:
		changed = o.set(r)
	case r.Prefix.Addr().Is4():
		changed = o.remove(r)
	default:
		changed = o.less(r)
	}
	return changed && !o.touched[r.Prefix]
}

// resolve names the links of a route. A link that is gone already has taken
// its hop along.
func (h *Host) resolve(raw rawRoute) *link.Route {
	r := &link.Route{Prefix: raw.prefix, Metric: raw.metric}
	for _, hop := range raw.hops {
		if e := h.links[hop.index]; e != nil {
			r.Hops = append(r.Hops, link.Hop{Dev: e.name, Via: hop.via})
		}
	}
	slices.SortFunc(r.Hops, compareHop)
	return r
}

func compareHop(a, b link.Hop) int { return cmp.Or(cmp.Compare(a.Dev, b.Dev), a.Via.Compare(b.Via)) }

// set puts r in the place of what there is, and reports whether that changes
// anything.
func (o *ownRoutes) set(r *link.Route) (changed bool) {
	i, found := slices.BinarySearchFunc(o.list, r, (*link.Route).Compare)
	switch {
	case found && r.Same(o.list[i]):
		return false
	case found:
		o.count(o.list[i], -1)
		o.list[i] = r
	default:
		o.list = slices.Insert(o.list, i, r)
	}
	o.count(r, 1)
	return true
}

func (o *ownRoutes) remove(r *link.Route) (changed bool) {
	i, found := slices.BinarySearchFunc(o.list, r, (*link.Route).Compare)
	if found {
		o.count(o.list[i], -1)
		o.list = slices.Delete(o.list, i, i+1)
	}
	return found
}

// less takes the hops of r from what there is.
func (o *ownRoutes) less(r *link.Route) (changed bool) {
	i, found := slices.BinarySearchFunc(o.list, r, (*link.Route).Compare)
	if !found {
		return false
	}
	left := slices.DeleteFunc(slices.Clone(o.list[i].Usable()), func(h link.Hop) bool { return slices.Contains(r.Hops, h) })
	return o.leave(o.list[i], left)
}

// leave leaves r some of its hops.
func (o *ownRoutes) leave(r *link.Route, hops []link.Hop) (changed bool) {
	if len(hops) == 0 {
		return o.remove(r)
	}
	return o.set(&link.Route{Prefix: r.Prefix, Metric: r.Metric, Hops: hops})
}

// drop takes in that no route leads over a link any more.
func (o *ownRoutes) drop(dev string, v4 bool) (changed bool) {
	if o.hops[dev] == 0 {
		return false
	}
	over := func(h link.Hop) bool { return h.Dev == dev }
	for _, r := range slices.Clone(o.list) {
		if slices.ContainsFunc(r.Hops, over) && (!v4 || r.Prefix.Addr().Is4()) {
			changed = o.leave(r, slices.DeleteFunc(slices.Clone(r.Usable()), over)) || changed
		}
	}
	return changed
}

func (o *ownRoutes) count(r *link.Route, by int) {
	for _, h := range r.Hops {
		if o.hops[h.Dev] += by; o.hops[h.Dev] == 0 {
			delete(o.hops, h.Dev)
		}
	}
}

// match returns the routes; those that are as they are wanted are those of
// want themselves.
func (o *ownRoutes) match(want []*link.Route) []*link.Route {
	i := 0
	for _, w := range want {
		if i < len(o.list) && o.list[i] == w {
			i++
			continue
		}
		for i < len(o.list) && o.list[i] != w && o.list[i].Compare(w) < 0 {
			i++
		}
		if i == len(o.list) {
			break
		}
		if is := o.list[i]; is != w && is.Same(w) {
			o.count(is, -1)
			o.list[i] = w
			o.count(w, 1)
		}
	}
	return slices.Clone(o.list)
}

// over reports whether routes may lead over a link.
func (o *ownRoutes) over(dev string) bool { return o.hops[dev] > 0 || len(o.pending) > 0 }

// noteDown notes that no route leads over a link any more, or no IPv4 route.
func (h *Host) noteDown(index int, v4 bool) {
	if e := h.links[index]; e != nil && h.own.over(e.name) {
		h.own.pending = append(h.own.pending, routeEvent{dev: e.name, v4: v4})
		h.own.news = h.own.news || !h.touched[e.name]
	}
}

// noteAddr notes a change of an IPv4 address of a link over which routes lead.
func (h *Host) noteAddr(index int, a netip.Prefix, gone bool) {
	e := h.links[index]
	if e == nil || !h.own.over(e.name) || !a.Addr().Is4() {
		return
	}
	left, known := h.own.addrs[index]
	if !known {
		for _, b := range e.addrs {
			if b.Prefix.Addr().Is4() {
				left = append(left, b.Prefix)
			}
		}
	}
	left = slices.DeleteFunc(left, func(b netip.Prefix) bool { return b == a })
	if !gone {
		left = append(left, a)
	}
	h.own.addrs[index] = left
	if len(left) == 0 {
		h.noteDown(index, true)
	}
}

// noteRoute takes a notification about a route: about one of ours what it
// says, about others in the main table that they have changed.
func (h *Host) noteRoute(kind, flags uint16, b []byte) {
	if len(b) < unix.SizeofRtMsg {
		return
	}
	table, protocol := b[4], b[5]
	if table != unix.RT_TABLE_MAIN {
		return
	}
	ours := protocol == link.Protocol
	if !ours && protocol != unix.RTPROT_KERNEL && protocol != unix.RTPROT_REDIRECT {
		h.routes.stale = true
	}
	replaced := !ours && kind == unix.RTM_NEWROUTE && flags&unix.NLM_F_REPLACE != 0 && len(h.own.list) > 0
	if !ours && !replaced {
		return
	}
	r, ok := parseOwn(b)
	if !ok {
		return
	}
	h.own.pending = append(h.own.pending, routeEvent{route: r, del: kind == unix.RTM_DELROUTE, foreign: replaced})
	h.own.news = h.own.news || !h.own.touched[r.prefix]
}

// own reads the routes with our protocol in the main table.
func (r *reader) own() ([]rawRoute, error) {
	var all []rawRoute
	err := r.ask(unix.RTM_GETROUTE, unix.NLM_F_DUMP, unix.RTM_NEWROUTE, func() { all = all[:0] }, func(b []byte) {
		if len(b) < unix.SizeofRtMsg || b[4] != unix.RT_TABLE_MAIN || b[5] != link.Protocol {
			return
		}
		if rt, ok := parseOwn(b); ok {
			all = append(all, rt)
		}
	}, &nl.RtMsg{RtMsg: unix.RtMsg{Table: unix.RT_TABLE_MAIN, Protocol: link.Protocol}})
	return all, err
}

// metric6 is the metric of an IPv6 route that was made without one.
const metric6 = 1024

// parseOwn returns a route with all its hops.
func parseOwn(b []byte) (rawRoute, bool) {
	if binary.NativeEndian.Uint32(b[8:])&unix.RTM_F_CLONED != 0 {
		return rawRoute{}, false
	}
	var r rawRoute
	var hop rawHop
	dst := netip.IPv4Unspecified()
	if b[0] == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	for kind, v := range attrs(b[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(v)
		case unix.RTA_PRIORITY:
			r.metric = number(v)
		case unix.RTA_OIF:
			hop.index = int(number(v))
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			hop.via = gateway(kind, v)
		case unix.RTA_MULTIPATH:
			r.hops = parseHops(v)
		}
	}
	if r.hops == nil && hop.index != 0 {
		r.hops = []rawHop{hop}
	}
	if dst.Is6() && r.metric == metric6 {
		r.metric = 0
	}
	r.prefix = netip.PrefixFrom(dst, int(b[1]))
	return r, r.prefix.IsValid()
}

// parseHops returns the hops of a route that has several (struct rtnexthop).
func parseHops(b []byte) []rawHop {
	var hops []rawHop
	for len(b) >= unix.SizeofRtNexthop {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			break
		}
		hop := rawHop{index: int(int32(binary.NativeEndian.Uint32(b[4:])))}
		for kind, v := range attrs(b[unix.SizeofRtNexthop:n]) {
			if kind == unix.RTA_GATEWAY || kind == unix.RTA_VIA {
				hop.via = gateway(kind, v)
			}
		}
		hops = append(hops, hop)
		b = b[min(len(b), (n+3)&^3):]
	}
	return hops
}

// gateway is the address in RTA_GATEWAY, or in RTA_VIA after its family.
func gateway(kind uint16, v []byte) netip.Addr {
	if kind == unix.RTA_VIA && len(v) > 2 {
		v = v[2:]
	}
	a, _ := netip.AddrFromSlice(v)
	return a
}
