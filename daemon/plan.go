package daemon

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"

	"netctl/api"
	"netctl/bgp"
	"netctl/db"
	"netctl/network"
)

// write commits what fn changes, tells those who listen, and answers rep with
// the new revision. With ?dry-run=1 it answers with what the write would lead
// to, and changes nothing.
func (d *Daemon) write(r *http.Request, fn func(*db.Tx) error, event api.EventLifecycleBody, rep reply) (reply, error) {
	if dryRun(r) {
		return d.rehearse(r.Context(), fn)
	}
	rev, err := d.store.Update(r.Context(), fn)
	if err != nil {
		return reply{}, err
	}
	event.Requestor = requestor(r)
	d.hub.send(api.EventLifecycle, event)
	rep.revision = int64(rev)
	return rep, nil
}

// dryRun reports whether a write should only be rehearsed: in case of doubt it
// should.
func dryRun(r *http.Request) bool {
	return slices.ContainsFunc(r.URL.Query()["dry-run"], func(dry string) bool { return dry != "" && dry != "0" })
}

// unrehearsed is the handler h of a request that cannot be rehearsed, and is
// not carried out when somebody thinks that it can.
func unrehearsed(h handler) handler {
	return func(r *http.Request) (reply, error) {
		if dryRun(r) {
			return reply{}, api.Errorf(api.Invalid, "dry-run: %s %s cannot be rehearsed", r.Method, r.URL.Path)
		}
		return h(r)
	}
}

// rehearse answers with the plan of the state that fn would lead to.
func (d *Daemon) rehearse(ctx context.Context, fn func(*db.Tx) error) (reply, error) {
	objs, err := d.store.Snapshot(ctx)
	if err != nil {
		return reply{}, err
	}
	next, _, err := db.Apply(ctx, objs, d.decoder.check, fn)
	if err != nil {
		return reply{}, err
	}
	p, err := d.plan(ctx, next)
	p.Revision = int64(objs.Revision())
	return reply{metadata: p}, err
}

// getPlan is GET /1.0/plan: what the host lacks of what is stored.
func (d *Daemon) getPlan(r *http.Request) (reply, error) {
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	p, err := d.plan(r.Context(), objs)
	p.Revision = int64(objs.Revision())
	return reply{revision: p.Revision, metadata: p}, err
}

// plan compares the host with what objs make of it.
func (d *Daemon) plan(ctx context.Context, objs *db.Objects) (api.Plan, error) {
	s, err := d.decoder.snapshot(objs)
	if err != nil {
		return api.Plan{}, err
	}
	host, err := d.view.risen(ctx, s)
	if err != nil {
		return api.Plan{}, err
	}
	m := api.PlanMember{Member: member, Changes: []api.PlanChange{}}
	var errs []error
	for _, part := range []struct {
		target string
		plan   func() ([]string, error)
	}{
		{"link", func() ([]string, error) { return d.parts.Links.Plan(ctx, host.Link) }},
		{"firewall", func() ([]string, error) { return d.parts.Firewall.Plan(ctx, host.Firewall) }},
		{"dhcp", func() ([]string, error) { return d.parts.DHCP.Plan(ctx, host.DHCP) }},
	} {
		commands, err := part.plan()
		if err != nil {
			errs = append(errs, api.Errorf(api.Unavailable, "plan of %s: %w", part.target, err))
		}
		for _, c := range commands {
			m.Changes = append(m.Changes, api.PlanChange{Target: part.target, Command: c})
		}
	}
	m.Peers = planPeers(d.spoken.last(), host.BGP)
	return api.Plan{Members: []api.PlanMember{m}}, errors.Join(errs...)
}

// risen derives the host as it will be when every network of s is up. It waits
// for a look at the host: the plan of an older one is of no use.
func (v *view) risen(ctx context.Context, s *network.Snapshot) (*network.Host, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.refresh(ctx, s.Peers(member), 0); err != nil {
		return nil, err
	}
	now, err := network.Derive(s, v.seen, member)
	if err != nil {
		return nil, err
	}
	return network.Derive(s, v.seen.Risen(now), member)
}

// planPeers says what turns the configuration that the speaker has into the
// one that it will have, as each peer sees it.
func planPeers(have, want bgp.Config) []api.PlanPeer {
	if have.ASN == 0 {
		have = bgp.Config{}
	}
	if want.ASN == 0 {
		want = bgp.Config{}
	}
	c := bgp.Diff(have, want)
	session := map[netip.Addr]string{}
	for _, p := range c.AddPeers {
		session[p.Addr] = "add"
	}
	for _, p := range c.SetPeers {
		session[p.Want.Addr] = "change"
	}
	for _, a := range c.DelPeers {
		session[a] = "remove"
	}
	before, after := adjOut(have), adjOut(want)
	out := []api.PlanPeer{}
	for _, a := range bgp.NewPeerSet(append(addrs(have.Peers), addrs(want.Peers)...)...).Addrs() {
		p := api.PlanPeer{Address: a.String(), Session: session[a], Prefixes: planPrefixes(before[a], after[a])}
		if p.Session == "" && c.Global {
			p.Session = "restart"
		}
		if p.Session != "" || len(p.Prefixes) > 0 {
			out = append(out, p)
		}
	}
	return out
}

func addrs(peers []bgp.Peer) []netip.Addr {
	out := make([]netip.Addr, 0, len(peers))
	for _, p := range peers {
		out = append(out, p.Addr)
	}
	return out
}

// adjOut returns what each peer is told with c: paths in order, each with the
// next hop that the peer gets.
func adjOut(c bgp.Config) map[netip.Addr][]bgp.Path {
	peers := map[netip.Addr]bgp.Peer{}
	for _, p := range c.Peers {
		peers[p.Addr] = p
	}
	out := map[netip.Addr][]bgp.Path{}
	for _, path := range c.Paths {
		for _, a := range path.Peers.Addrs() {
			p, ok := peers[a]
			if !ok {
				continue
			}
			one := bgp.Path{Prefix: path.Prefix, NextHop: path.NextHop}
			if !one.NextHop.IsValid() {
				one.NextHop, _ = p.NextHop(bgp.FamilyOf(path.Prefix), false)
			}
			out[a] = append(out[a], one)
		}
	}
	return out
}

func planPrefixes(have, want []bgp.Path) []api.PlanPrefix {
	out := []api.PlanPrefix{}
	old := make(map[netip.Prefix]netip.Addr, len(have))
	for _, p := range have {
		old[p.Prefix] = p.NextHop
	}
	for _, p := range want {
		next, had := old[p.Prefix]
		delete(old, p.Prefix)
		switch {
		case !had:
			out = append(out, api.PlanPrefix{Action: "announce", Prefix: p.Prefix.String(), NextHop: addrText(p.NextHop)})
		case next != p.NextHop:
			out = append(out, api.PlanPrefix{Action: "change", Prefix: p.Prefix.String(), NextHop: addrText(p.NextHop)})
		}
	}
	for _, p := range have {
		if _, gone := old[p.Prefix]; gone {
			out = append(out, api.PlanPrefix{Action: "withdraw", Prefix: p.Prefix.String(), NextHop: addrText(p.NextHop)})
		}
	}
	return out
}
