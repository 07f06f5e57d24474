package network_test

import (
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

// networks generates configurations that share and overlap a lot.
func networks() *rapid.Generator[map[string]string] {
	pick := func(t *rapid.T, c map[string]string, key string, values ...string) {
		if v := rapid.SampledFrom(append(values, "")).Draw(t, key); v != "" {
			c[key] = v
		}
	}
	return rapid.Custom(func(t *rapid.T) map[string]string {
		c := map[string]string{}
		pick(t, c, "ipv4.address", "10.0.0.1/16", "10.0.1.1/24", "10.0.2.1/24", "10.1.0.1/24", "10.2.0.1/24", "10.3.0.1/24")
		pick(t, c, "ipv6.address", "fd42::1/64", "fd43::1/64", "fd44::1/64")
		if c["ipv4.address"] != "" {
			pick(t, c, "ipv4.nat", "true", "false")
			pick(t, c, "ipv4.nat.address", "192.0.2.1", "192.0.2.2")
			pick(t, c, "ipv4.routes", "10.0.2.0/24", "10.9.0.0/16", "10.9.9.0/24", "10.8.0.0/24,10.9.9.9/32")
		}
		pick(t, c, "bgp.ipv4.nexthop", "198.51.100.1", "")
		pick(t, c, "bridge.external_interfaces", "eth1", "eth2", "br1", "eth1,eth3")
		for _, name := range []string{"a", "b"} {
			pick(t, c, "bgp.peers."+name+".address", "203.0.113.1", "203.0.113.2", "2001:db8::1")
			if c["bgp.peers."+name+".address"] != "" {
				c["bgp.peers."+name+".asn"] = rapid.SampledFrom([]string{"65000", "65000", "65000", "65001"}).Draw(t, "asn")
			}
		}
		return c
	})
}

// TestNext holds that a host that is derived from what changed is the one that
// is derived from everything, and that conflicts are told in the same words.
func TestNext(t *testing.T) {
	server, err := config.ServerSchema.Decode(map[string]string{"core.bgp_asn": "65000", "core.bgp_address": "192.0.2.9:179"})
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]config.Server{"none": server}
	conflicts, hosts := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		have := map[string]*network.Network{}
		var last *network.Snapshot
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{"br0", "br1", "br10", "br2", "br3", "br4"}), 0, 3).Draw(t, "changed") {
				if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
					delete(have, name)
					continue
				}
				b, err := config.BridgeSchema.Decode(networks().Draw(t, "config"))
				if err != nil {
					continue
				}
				have[name] = &network.Network{Name: name, Config: map[string]config.Bridge{"none": b}}
			}
			list := slices.SortedFunc(maps.Values(have), func(a, b *network.Network) int { return strings.Compare(a.Name, b.Name) })
			last = last.Next(1, servers, network.Objects{Networks: list})
			whole := &network.Snapshot{Revision: 1, Servers: servers, Objects: network.Objects{Networks: list}}
			o := &network.Observed{Observed: link.Observed{Links: map[string]*link.Seen{}}}
			got, gotErr := network.Derive(last, o, "none")
			want, wantErr := network.Derive(whole, o, "none")
			if (gotErr == nil) != (wantErr == nil) || gotErr != nil && gotErr.Error() != wantErr.Error() {
				t.Fatalf("after a change: %v\nfrom everything: %v", gotErr, wantErr)
			}
			if gotErr != nil {
				conflicts++
				continue
			}
			hosts++
			if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}, bgp.PeerSet{}), cmpopts.EquateEmpty()); d != "" {
				t.Fatalf("-from everything +after a change:\n%s", d)
			}
		}
	})
	if conflicts == 0 || hosts == 0 {
		t.Errorf("%d conflicts, %d hosts: the test says nothing", conflicts, hosts)
	}
}

// TestConflictsAreFound holds that what is found by looking at what changed is
// what is found by comparing every network with every other.
func TestConflictsAreFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []*network.Network
		for _, name := range []string{"br0", "br1", "br2", "br3", "br4"} {
			b, err := config.BridgeSchema.Decode(networks().Draw(t, name))
			if err != nil {
				continue
			}
			list = append(list, &network.Network{Name: name, Config: map[string]config.Bridge{"none": b}})
		}
		s := &network.Snapshot{Objects: network.Objects{Networks: list}}
		if got, want := network.Validate(s, "none") != nil, clash(list); got != want {
			t.Fatalf("conflict found: %t, want %t", got, want)
		}
	})
}

// clash reports whether two networks cannot exist together.
func clash(list []*network.Network) bool {
	for i, a := range list {
		if slices.Contains(a.Config["none"].External, a.Name) {
			return true
		}
		for _, b := range list[:i] {
			if clashing(a, b) {
				return true
			}
		}
	}
	return false
}

func clashing(a, b *network.Network) bool {
	ca, cb := a.Config["none"], b.Config["none"]
	for _, p := range a.Prefixes("none") {
		if slices.ContainsFunc(b.Prefixes("none"), p.Overlaps) {
			return true
		}
	}
	for _, p := range ca.External {
		if p == b.Name || slices.Contains(cb.External, p) {
			return true
		}
	}
	if slices.Contains(cb.External, a.Name) {
		return true
	}
	for _, p := range ca.Peers {
		for _, q := range cb.Peers {
			if p.Address == q.Address && *p != *q {
				return true
			}
		}
	}
	return ca.V4.Address.IsValid() && cb.V4.Address.IsValid() && ca.V4.NAT && cb.V4.NAT &&
		ca.V4.NATAddress.IsValid() && ca.V4.NATAddress == cb.V4.NATAddress && ca.V4.NextHop != cb.V4.NextHop
}
