package netlink

import (
	"errors"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// route carries out an operation on a route of ours. Another route to the same
// prefix is left alone.
func (h *Host) route(op link.Op) error {
	if op.Verb == link.DelRoute {
		gone := h.wire(&link.Route{Prefix: op.Route.Prefix, Metric: op.Route.Metric})
		gone.Scope = vnl.SCOPE_NOWHERE // whatever it is
		return ignore(h.ops.RouteDel(gone), unix.ESRCH)
	}
	r := h.wire(op.Route)
	if len(r.MultiPath) == 0 && r.LinkIndex == 0 {
		return ErrNotFound
	}
	if op.Verb == link.SetRoute {
		return h.ops.RouteChange(r)
	}
	err := h.ops.RouteAdd(r)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	// It may be there still though it was taken for gone.
	h.mu.Lock()
	defer h.mu.Unlock()
	h.own.lost = true
	if _, err := h.readOwn(); err != nil {
		return err
	}
	for _, is := range h.own.list {
		if is.Prefix == op.Route.Prefix && is.Metric == 0 {
			return h.ops.RouteChange(r)
		}
	}
	return &TakenError{Route: op.Route.Prefix.String()}
}

// wire is r as the netlink package has it. Hops over links that do not exist
// are left out.
func (h *Host) wire(r *link.Route) *vnl.Route {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := &vnl.Route{Dst: ipNet(r.Prefix), Protocol: link.Protocol, Table: unix.RT_TABLE_MAIN, Priority: int(r.Metric)}
	var hops []*vnl.NexthopInfo
	for _, hop := range r.Usable() {
		if e := h.names[hop.Dev]; e != nil {
			hops = append(hops, &vnl.NexthopInfo{LinkIndex: e.index, Gw: hop.Via.AsSlice()})
		}
	}
	if len(hops) != 1 {
		out.MultiPath = hops
		return out
	}
	out.LinkIndex, out.Gw = hops[0].LinkIndex, hops[0].Gw
	if out.Gw == nil && r.Prefix.Addr().Is4() {
		out.Scope = vnl.SCOPE_LINK
	}
	return out
}
