package daemon

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"netctl/api"
	"netctl/bgp"
	"netctl/network"
)

// getExplanation is GET /1.0/bgp/explain?prefix=P: why the prefix P, or the
// prefix that the address P belongs to, is announced or not.
func (d *Daemon) getExplanation(r *http.Request) (reply, error) {
	query := r.URL.Query().Get("prefix")
	q, err := parsePrefix(query)
	if err != nil {
		return reply{}, err
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	s, err := d.decoder.snapshot(objs)
	if err != nil {
		return reply{}, err
	}
	host, err := d.view.host(r.Context())
	if err != nil {
		return reply{}, err
	}
	out := api.BGPExplanation{Query: query, Reasons: []api.BGPReason{}, NextHop: []api.BGPNextHopRule{}}
	reasons := s.Reasons(member, q)
	for _, x := range reasons {
		out.Reasons = append(out.Reasons, api.BGPReason{
			Network: x.Network, Instance: x.Instance, Device: x.Device, Forward: x.Forward, Key: x.Key, Prefix: x.Prefix.String(), Exported: x.Exported, Rule: x.Rule,
		})
	}
	whole := slices.DeleteFunc(slices.Clone(reasons), func(x network.Reason) bool { return x.Prefix.Bits() > q.Bits() })
	export := exportOf(host, whole)
	switch {
	case len(whole) == 0:
		out.Summary = inside(query, reasons)
		return reply{metadata: out}, nil
	case export == nil:
		out.Summary, out.Prefix = unannounced(whole[0]), whole[0].Prefix.String()
		return reply{metadata: out}, nil
	}
	w, err := d.wire(r.Context())
	if err != nil {
		return reply{}, err
	}
	rt := w.route(host, export)
	out.Prefix, out.Route = rt.Prefix, &rt
	for _, p := range host.BGP.Peers {
		if export.Peers.Contains(p.Addr) {
			hop, why := host.NextHop(export, p)
			out.NextHop = append(out.NextHop, api.BGPNextHopRule{Peer: p.Addr.String(), NextHop: addrText(hop), Why: why})
		}
	}
	out.Summary = announced(rt, whole)
	return reply{metadata: out}, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, api.Errorf(api.Invalid, "prefix=%s: neither a prefix nor an address", s)
	}
	return p.Masked(), nil
}

// exportOf returns the export that the most specific exported prefix among
// reasons has become.
func exportOf(h *network.Host, reasons []network.Reason) *network.Export {
	for _, r := range reasons {
		i, ok := slices.BinarySearchFunc(h.Exports, r.Prefix, func(e *network.Export, p netip.Prefix) int { return bgp.ComparePrefix(e.Prefix, p) })
		if r.Exported && ok {
			return h.Exports[i]
		}
	}
	return nil
}

// inside says of a query that nothing has as a whole what there is in it.
func inside(query string, reasons []network.Reason) string {
	if len(reasons) == 0 {
		return fmt.Sprintf("nothing here has %s: no network as its subnet, translated address or route, no NIC as its address or route, and no forward", query)
	}
	var parts []string
	for _, r := range reasons {
		if p := r.Prefix.String(); !slices.Contains(parts, p) {
			parts = append(parts, p)
		}
	}
	return fmt.Sprintf("nothing here has all of %s; in it there is %s", query, strings.Join(parts, ", "))
}

// unannounced says why a prefix that a network has is not announced.
func unannounced(r network.Reason) string {
	of := "network " + r.Network
	switch {
	case r.Instance != "":
		of = fmt.Sprintf("instance %s, %s", r.Instance, r.Device)
	case r.Forward != "":
		of = "the forward " + r.Forward
	}
	return fmt.Sprintf("%s of %s is not announced: %s", r.Prefix, of, r.Rule)
}

// maxLacks is how many peers a summary names that lack a route.
const maxLacks = 3

// announced says in a sentence how a route stands.
func announced(rt api.BGPRoute, reasons []network.Reason) string {
	rule := ""
	for _, r := range reasons {
		if r.Exported && r.Prefix.String() == rt.Prefix {
			rule = r.Rule
			break
		}
	}
	if rt.State != api.RouteAnnounced {
		return fmt.Sprintf("%s is held: %s (%s)", rt.Prefix, rt.Reason, rule)
	}
	if len(rt.Peers) == 0 {
		return fmt.Sprintf("%s is announced to nobody: %s", rt.Prefix, rule)
	}
	var lacks []string
	for _, p := range rt.Peers {
		if !p.Sent {
			lacks = append(lacks, fmt.Sprintf("not sent to %s: %s", p.Address, p.Reason))
		}
	}
	if n := len(lacks); n > maxLacks {
		return fmt.Sprintf("%s is announced (%s), but not sent to %d of %d peers", rt.Prefix, rule, n, len(rt.Peers))
	}
	if len(lacks) > 0 {
		return fmt.Sprintf("%s is announced (%s), but %s", rt.Prefix, rule, strings.Join(lacks, "; "))
	}
	return fmt.Sprintf("%s is announced: %s", rt.Prefix, rule)
}
