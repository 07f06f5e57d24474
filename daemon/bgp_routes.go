package daemon

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"time"

	"netctl/api"
	"netctl/bgp"
	"netctl/network"
)

// getRoutes is GET /1.0/bgp/routes: every prefix that should be announced, and
// for each peer what it was really sent.
func (d *Daemon) getRoutes(r *http.Request) (reply, error) {
	host, err := d.view.host(r.Context())
	if err != nil {
		return reply{}, err
	}
	w, err := d.wire(r.Context())
	if err != nil {
		return reply{}, err
	}
	out := make([]api.BGPRoute, 0, len(host.Exports))
	for _, e := range host.Exports {
		out = append(out, w.route(host, e))
	}
	return reply{revision: host.Revision, metadata: out}, nil
}

// A wire is what the peers have been sent, by address.
type wire struct {
	sessions map[netip.Addr]bgp.Session
	sent     map[netip.Addr]map[netip.Prefix]bgp.Advertised
}

func (d *Daemon) wire(ctx context.Context) (wire, error) {
	w := wire{map[netip.Addr]bgp.Session{}, map[netip.Addr]map[netip.Prefix]bgp.Advertised{}}
	sessions, err := d.parts.Speaker.Sessions(ctx)
	if err != nil {
		return w, err
	}
	for _, s := range sessions {
		adv, err := d.parts.Speaker.Advertised(ctx, s.Peer.Addr)
		if err != nil {
			return w, err
		}
		byPrefix := make(map[netip.Prefix]bgp.Advertised, len(adv))
		for _, a := range adv {
			byPrefix[a.Prefix] = a
		}
		w.sessions[s.Peer.Addr], w.sent[s.Peer.Addr] = s, byPrefix
	}
	return w, nil
}

// route shows an export and what each peer was sent of it.
func (w wire) route(host *network.Host, e *network.Export) api.BGPRoute {
	rt := routeOf(e)
	if host.BGP.ASN == 0 && rt.State == api.RouteAnnounced {
		rt.State, rt.Reason = api.RouteHeld, silence(host)
	}
	for _, a := range e.Peers.Addrs() {
		rt.Peers = append(rt.Peers, routePeer(e, a, w.sent[a], w.sessions[a]))
	}
	return rt
}

// silence says why the speaker of a host does not run.
func silence(host *network.Host) string {
	why := host.Silent
	if host.RouterID.IsValid() {
		why = "its router id is being chosen"
	}
	return "the speaker does not run: " + cmp.Or(why, "set core.bgp_asn and core.bgp_address")
}

func routeOf(e *network.Export) api.BGPRoute {
	rt := api.BGPRoute{Prefix: e.Prefix.String(), NextHop: "self", Member: member, State: api.RouteAnnounced, Peers: []api.BGPRoutePeer{}}
	if e.NextHop.IsValid() {
		rt.NextHop = e.NextHop.String()
	}
	if e.Held != "" {
		rt.State, rt.Reason = api.RouteHeld, e.Held
	}
	for _, o := range e.Owners {
		rt.Owners = append(rt.Owners, owner(o))
	}
	return rt
}

// owner shows what a prefix is exported for.
func owner(o network.Owner) api.BGPOwner {
	out := api.BGPOwner{Kind: "network", Network: o.Network, Object: o.Key, Instance: o.Instance, Device: o.Device, Forward: o.Forward}
	switch {
	case o.Instance != "":
		out.Kind = "instance"
	case o.Forward != "":
		out.Kind = "forward"
	}
	return out
}

func routePeer(e *network.Export, a netip.Addr, sent map[netip.Prefix]bgp.Advertised, s bgp.Session) api.BGPRoutePeer {
	p := api.BGPRoutePeer{Address: a.String()}
	if adv, ok := sent[e.Prefix]; ok {
		p.Sent, p.NextHop, p.ASPath = true, addrText(adv.NextHop), adv.ASPath
		return p
	}
	switch {
	case e.Held != "":
		p.Reason = e.Held
	case s.State != bgp.Established:
		p.Reason = "the session is not established"
	default:
		p.Reason = "not sent yet"
		for _, f := range s.Families {
			if f.Family == bgp.FamilyOf(e.Prefix) && f.Held != "" {
				p.Reason = f.Held
			}
		}
	}
	return p
}

// getBGPDebug is GET /internal/testing/bgp, in LXD's shape.
func (d *Daemon) getBGPDebug(r *http.Request) (reply, error) {
	host, err := d.view.host(r.Context())
	if err != nil {
		return reply{}, err
	}
	st := d.parts.Speaker.Status()
	out := api.BGPDebug{
		Server:   api.BGPDebugServer{ASN: st.ASN, RouterID: addrText(st.RouterID), Running: st.Running},
		Prefixes: []api.BGPDebugPrefix{}, Peers: []api.BGPDebugPeer{},
	}
	if len(host.BGP.Listen) > 0 {
		out.Server.Address = host.BGP.Listen[0].String()
	}
	for _, e := range host.Exports {
		if e.Held != "" || host.BGP.ASN == 0 {
			continue
		}
		next := e.NextHop
		if !next.IsValid() && e.Prefix.Addr().Is4() {
			next = netip.IPv4Unspecified()
		} else if !next.IsValid() {
			next = netip.IPv6Unspecified()
		}
		for _, o := range e.Owners {
			out.Prefixes = append(out.Prefixes, api.BGPDebugPrefix{Owner: debugOwner(o), Prefix: e.Prefix.String(), Nexthop: next.String()})
		}
	}
	for i, p := range host.BGP.Peers {
		out.Peers = append(out.Peers, api.BGPDebugPeer{
			Address: p.Addr.String(), ASN: p.ASN, Password: p.Password.String(),
			Count: len(host.Named[i].Networks), HoldTime: uint64(p.HoldTime / time.Second),
		})
	}
	return reply{metadata: out}, nil
}

// debugOwner names an owner as LXD does.
func debugOwner(o network.Owner) string {
	switch {
	case o.Instance != "":
		return "instance_" + o.Instance + "_" + o.Device
	case o.Forward != "":
		return "network_" + o.Network + "_forward_" + o.Forward
	}
	return "network_" + o.Network + "_" + o.Key
}
