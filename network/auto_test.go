package network_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"netctl/network"
)

func TestFreeSubnets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var used []netip.Prefix
		for range 50 {
			for _, choose := range []func(*rand.Rand, []netip.Prefix) (netip.Prefix, error){network.FreeSubnet4, network.FreeSubnet6} {
				p, err := choose(r, used)
				if err != nil {
					t.Fatal(err)
				}
				if slices.ContainsFunc(used, p.Overlaps) {
					t.Fatalf("%s is in use: %v", p, used)
				}
				if p.Addr() != p.Masked().Addr().Next() || !p.Addr().IsPrivate() {
					t.Fatalf("%s is not the first address of a private subnet", p)
				}
				used = append(used, p.Masked())
			}
		}
	})
}

func TestFreeSubnetBehindWideRoutes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	used := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12")}
	p, err := network.FreeSubnet4(r, used)
	if err != nil || !netip.MustParsePrefix("192.168.0.0/16").Contains(p.Addr()) {
		t.Errorf("got %s, %v; want one of 192.168/16", p, err)
	}
	if p, err := network.FreeSubnet4(r, append(used, netip.MustParsePrefix("192.168.0.0/16"))); err == nil {
		t.Errorf("got %s although everything is in use", p)
	}
	if p, err := network.FreeSubnet6(r, []netip.Prefix{netip.MustParsePrefix("fc00::/7")}); err == nil {
		t.Errorf("got %s although everything is in use", p)
	}
}
