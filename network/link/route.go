package link

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Compare orders routes by prefix and metric.
func (r *Route) Compare(o *Route) int {
	return cmp.Or(r.Prefix.Compare(o.Prefix), cmp.Compare(r.Metric, o.Metric))
}

// Usable returns the hops of r over which the kernel can spread its flows: of
// an IPv6 route those through a gateway, or else the first one only, because
// Linux does not spread IPv6 over interfaces alone.
func (r *Route) Usable() []Hop {
	if len(r.Hops) < 2 || r.Prefix.Addr().Is4() {
		return r.Hops
	}
	direct := func(h Hop) bool { return !h.Via.IsValid() }
	if !slices.ContainsFunc(r.Hops, direct) {
		return r.Hops
	}
	via := slices.DeleteFunc(slices.Clone(r.Hops), direct)
	if len(via) == 0 {
		return r.Hops[:1]
	}
	return via
}

// Same reports whether the kernel has r as it is wanted.
func (r *Route) Same(want *Route) bool {
	return r == want || r.Prefix == want.Prefix && r.Metric == want.Metric && slices.Equal(r.Hops, want.Usable())
}

// owner is one of those whose doing r is.
func (r *Route) owner() string {
	if len(r.Owners) == 0 {
		return ""
	}
	return r.Owners[0]
}

// args is what ip-route(8) takes for r.
func (r *Route) args() string {
	var b strings.Builder
	b.WriteString(r.Prefix.String())
	hops := r.Usable()
	for _, h := range hops {
		if len(hops) > 1 {
			b.WriteString(" nexthop")
		}
		if h.Via.IsValid() {
			b.WriteString(" via " + h.Via.String())
		}
		b.WriteString(" dev " + h.Dev)
	}
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	fmt.Fprintf(&b, " proto %d", Protocol)
	return b.String()
}

// routes makes the routes as they should be. Those that are the same pointer
// in both cost no more than that comparison.
func (d *differ) routes() {
	have, want := d.have.Routes, d.want.Routes
	op := func(v Verb, r *Route) Op { return Op{Verb: v, Owner: r.owner(), Route: r} }
	for len(have) > 0 || len(want) > 0 {
		var order int
		switch {
		case len(have) == 0:
			order = 1
		case len(want) == 0:
			order = -1
		case have[0] != want[0]:
			order = have[0].Compare(want[0])
		}
		switch {
		case order < 0:
			d.gone = append(d.gone, op(DelRoute, have[0]))
			have = have[1:]
			continue
		case order > 0:
			d.ways = append(d.ways, op(AddRoute, want[0]))
			want = want[1:]
			continue
		case !have[0].Same(want[0]):
			d.ways = append(d.ways, op(SetRoute, want[0]))
		}
		have, want = have[1:], want[1:]
	}
}

// OnLink returns the route to what is on a link itself.
func OnLink(p netip.Prefix, dev, owner string) *Route {
	return &Route{Prefix: p, Hops: []Hop{{Dev: dev}}, Owners: []string{owner}}
}
