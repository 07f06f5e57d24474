package network_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"netctl/bgp"
	"netctl/config"
	"netctl/network"
	"netctl/network/link"
)

// networks generates configurations of a network, that share and overlap a lot.
func networks(name string) *rapid.Generator[map[string]string] {
	return rapid.Custom(func(t *rapid.T) map[string]string {
		c := map[string]string{}
		own, own6 := "10.5"+name[2:]+".0.1/24", "fd5"+name[2:]+"::1/64"
		pick(t, c, "ipv4.address", own, own, own, own, own, own, "10.0.0.1/16", "10.0.1.1/24", "10.0.2.1/24", "10.1.0.1/24", "10.2.0.1/24", "10.3.0.1/24")
		pick(t, c, "ipv6.address", own6, own6, own6, "fd42::1/64", "fd43::1/64", "fd44::1/64")
		if c["ipv4.address"] != "" {
			pick(t, c, "ipv4.nat", "true", "false")
			pick(t, c, "ipv4.nat.address", "192.0.2.1", "192.0.2.2", "", "")
			pick(t, c, "ipv4.routes", "10.0.2.0/24", "10.9.0.0/16", "10.9.9.0/24", "10.8.0.0/24,10.9.9.9/32", "", "", "", "")
		}
		pick(t, c, "ipv4.routes.anycast", "true", "true", "true")
		pick(t, c, "bgp.ipv4.nexthop", "198.51.100.1", "")
		pick(t, c, "bridge.external_interfaces", "eth1", "eth2", "br1", "eth1,eth3", "", "", "", "")
		for _, name := range []string{"a", "b"} {
			pick(t, c, "bgp.peers."+name+".address", "203.0.113.1", "203.0.113.2", "2001:db8::1")
			if c["bgp.peers."+name+".address"] != "" {
				c["bgp.peers."+name+".asn"] = rapid.SampledFrom([]string{"65000", "65000", "65000", "65000", "65000", "65001"}).Draw(t, "asn")
			}
		}
		return c
	})
}

// TestNext holds that a host that is derived from what changed is the one that
// is derived from everything, that the same conflicts are found, and that what
// is announced is what is up.
func TestNext(t *testing.T) {
	server, err := config.ServerSchema.Decode(map[string]string{"core.bgp_asn": "65000", "core.bgp_address": "192.0.2.9:179"})
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]config.Server{"none": server}
	var said tally
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		var last *network.Snapshot
		for range rapid.IntRange(12, 40).Draw(t, "steps") {
			before := *w
			before.networks, before.instances, before.forwards = maps.Clone(w.networks), maps.Clone(w.instances), maps.Clone(w.forwards)
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				w.change(t)
			}
			objects := w.objects()
			next := last.Next(1, servers, objects)
			o := w.see(t)
			got, gotErr := network.Derive(next, o, "none")
			want, wantErr := network.Derive(&network.Snapshot{Revision: 1, Servers: servers, Objects: copied(objects)}, o, "none")
			if (gotErr == nil) != (wantErr == nil) || gotErr != nil && !slices.Equal(clashing(gotErr), clashing(wantErr)) {
				t.Fatalf("after a change: %v\nfrom everything: %v", gotErr, wantErr)
			}
			if gotErr != nil {
				said.conflicts++
				if rapid.IntRange(0, 9).Draw(t, "refused") > 0 {
					*w = before // as the daemon does
				} else {
					last = next
				}
				continue
			}
			last = next
			if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}, bgp.PeerSet{}, link.Netns{}), cmpopts.EquateEmpty()); d != "" {
				t.Fatalf("-from everything +after a change:\n%s", d)
			}
			checkGates(t, got, o, &said)
		}
	})
	t.Logf("%+v", said)
	if slices.Contains([]int{said.conflicts, said.hosts, said.announced, said.held}, 0) {
		t.Errorf("%+v: the test says nothing", said)
	}
}

// clashing returns what an error complains about, sorted, whichever of two is
// refused for the sake of the other.
func clashing(err error) []string {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		var out []string
		for _, e := range all.Unwrap() {
			out = append(out, clashing(e)...)
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	c, ok := errors.AsType[*network.ConflictError](err)
	if !ok {
		return []string{err.Error()}
	}
	// Who has the other next hop, or thinks otherwise of a peer, depends on who
	// was there first.
	for _, key := range []string{".nexthop", "bgp.peers."} {
		if strings.Contains(c.Key+c.Other, key) {
			return []string{key}
		}
	}
	named := fmt.Sprintf("%s=%s of %s", c.Key, c.Value, c.Object)
	if c.Key == "name" {
		named = c.Object + ", whose bridge that is"
	}
	return []string{named, c.Other}
}

// A tally counts what a test has seen.
type tally struct{ conflicts, hosts, announced, held, spread int }

// checkGates holds that exactly those prefixes are announced that have somebody
// whose network and link are up, and a route if it is a NIC.
func checkGates(t *rapid.T, h *network.Host, seen *network.Observed, said *tally) {
	said.hosts++
	up := func(o network.Owner) bool {
		return h.Down[o.Network] == "" && (o.Instance == "" || h.Down[link.NICOwner(o.Instance, o.Device)] == "")
	}
	var paths []*bgp.Path
	var held []*network.Export
	for _, e := range h.Exports {
		routed := seen != nil && slices.ContainsFunc(seen.Own, func(r *link.Route) bool { return r.Prefix == e.Prefix })
		if is := slices.ContainsFunc(e.Owners, up) && (routed || e.Owners[0].Instance == ""); is != (e.Held == "") {
			t.Fatalf("%s of %v: held %q, down %v", e.Prefix, e.Owners, e.Held, h.Down)
		}
		if e.Held != "" {
			said.held++
			held = append(held, e)
			continue
		}
		said.announced++
		paths = append(paths, &e.Path)
	}
	if !slices.Equal(held, h.Held) {
		t.Fatalf("held %v of exports %v", h.Held, h.Exports)
	}
	if !slices.Equal(paths, h.BGP.Paths) {
		t.Fatalf("paths %v of exports %v", h.BGP.Paths, h.Exports)
	}
	for _, r := range h.Link.Routes {
		if len(r.Owners) < 2 {
			continue
		}
		if slices.ContainsFunc(r.Owners, func(o string) bool { return !strings.Contains(o, "/") }) {
			t.Fatalf("route %s over %v for %v: the bridge is no way beside a NIC", r.Prefix, r.Hops, r.Owners)
		}
		said.spread++
		down := 0
		for _, o := range r.Owners {
			if h.Down[o] != "" {
				down++
			}
		}
		if down > 0 && down < len(r.Owners) {
			t.Fatalf("route %s over %v for %v, of which are down %v", r.Prefix, r.Hops, r.Owners, h.Down)
		}
	}
}
