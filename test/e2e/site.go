// Package e2e tests netctld and netctl as operators use them: the real
// binaries on a host of namespaces, with real routers around it and real
// clients behind it.
package e2e

import "netctl/test/lab"

// A site is a host with its surroundings, and what the tests ask it.
type site struct{ *lab.Site }

func frr(ns *lab.NS, c lab.RouterConfig) lab.Router  { return lab.NewFRR(ns, c) }
func bird(ns *lab.NS, c lab.RouterConfig) lab.Router { return lab.NewBIRD(ns, c) }

// newSite builds a site. The router expects its session over IPv6 when v6 is
// set, else over IPv4.
func newSite(t lab.TB, router lab.MakeRouter, v6 bool) *site {
	t.Helper()
	return &site{lab.NewSite(t, router, v6)}
}

// newSiteWith is newSite with settings of the router's session.
func newSiteWith(t lab.TB, router lab.MakeRouter, v6 bool, peer lab.RouterPeer) *site {
	t.Helper()
	return &site{lab.NewSiteWith(t, router, v6, peer)}
}
