package daemon

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netctl/api"
	"netctl/config"
)

// inUse makes a network that has one of everything that takes addresses.
func (b *bench) inUse() {
	b.t.Helper()
	ctx := b.t.Context()
	b.applied(b.CreateNetwork(ctx, api.NetworksPost{Name: "br0", Config: map[string]string{
		"bridge.hwaddr": "02:00:5e:00:00:01",
		"ipv4.address":  "10.1.0.1/24", "ipv4.nat": "true", "ipv4.nat.address": "192.0.2.200", "ipv4.routes": "10.9.0.0/24",
		"ipv6.address": "fd42::1/64",
	}}))
	for name, start := range map[string]bool{"web": true, "idle": false} {
		b.done(b.CreateInstance(ctx, api.InstancesPost{Name: name, Start: start, Devices: map[string]map[string]string{
			"eth0": {
				"type": "nic", "network": "br0", "hwaddr": map[string]string{"web": "00:16:3e:00:00:01", "idle": "00:16:3e:00:00:02"}[name],
				"ipv4.address": map[string]string{"web": "10.1.0.10", "idle": "10.1.0.11"}[name],
			},
		}}))
	}
	b.done(b.PatchInstance(ctx, "web", api.InstancePatch{Devices: map[string]map[string]string{
		"eth0": {
			"type": "nic", "network": "br0", "hwaddr": "00:16:3e:00:00:01", "ipv4.address": "10.1.0.10",
			"ipv4.routes": "203.0.113.0/28", "ipv4.routes.external": "198.51.100.7/32",
		},
	}}, ""))
	b.applied(b.CreateNetworkForward(ctx, "br0", api.NetworkForwardsPost{ListenAddress: "198.51.100.9", Config: map[string]string{"target_address": "10.1.0.10"}}))
}

// TestAllocations lists who has which address, and which prefix.
func TestAllocations(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.inUse()
	ctx := t.Context()
	b.applied(b.CreateNetwork(ctx, api.NetworksPost{Name: "br1", Config: map[string]string{"ipv4.address": "none", "ipv6.address": "none", "ipv4.nat": "true"}}))
	all, err := b.NetworkAllocations(ctx, "br0")
	if err != nil {
		t.Fatal(err)
	}
	var have strings.Builder
	for _, a := range all {
		fmt.Fprintln(&have, a.Address, a.Type, a.UsedBy, a.Device, a.Key, a.NAT, a.Hwaddr, a.Network)
	}
	const want = `10.1.0.1/24 network /1.0/networks/br0  ipv4.address true 02:00:5e:00:00:01 br0
192.0.2.200/32 network /1.0/networks/br0  ipv4.nat.address false  br0
10.9.0.0/24 network /1.0/networks/br0  ipv4.routes false  br0
fd42::1/64 network /1.0/networks/br0  ipv6.address false 02:00:5e:00:00:01 br0
10.1.0.11/32 instance /1.0/instances/idle eth0 ipv4.address true 00:16:3e:00:00:02 br0
10.1.0.10/32 instance /1.0/instances/web eth0 ipv4.address true 00:16:3e:00:00:01 br0
10.1.0.7/32 network /1.0/networks/br0  lease true 02:00:00:00:00:01 br0
fd42::216:3eff:fe00:1/128 instance /1.0/instances/web eth0 slaac false 00:16:3e:00:00:01 br0
203.0.113.0/28 instance /1.0/instances/web eth0 ipv4.routes false 00:16:3e:00:00:01 br0
198.51.100.7/32 instance /1.0/instances/web eth0 ipv4.routes.external false 00:16:3e:00:00:01 br0
198.51.100.9/32 network-forward /1.0/networks/br0/forwards/198.51.100.9  listen_address false  br0
`
	if d := cmp.Diff(want, have.String()); d != "" {
		t.Errorf("(-want +have)\n%s", d)
	}
	if more, err := b.NetworkAllocations(ctx, ""); err != nil || len(more) != len(all)+1 || more[len(all)].Network != "br1" {
		t.Errorf("everything: %+v, %v", more, err) // its client is one of the fake
	}
}

// TestLeases lists static addresses, those that instances form, and leases.
func TestLeases(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.inUse()
	leases, err := b.NetworkLeases(t.Context(), "br0")
	if err != nil {
		t.Fatal(err)
	}
	var have strings.Builder
	for _, l := range leases {
		fmt.Fprintln(&have, l.Hostname, l.Hwaddr, l.Address, l.Type, l.Location, l.Project)
	}
	const want = `br0.gw 02:00:5e:00:00:01 10.1.0.1 gateway none default
br0.gw 02:00:5e:00:00:01 fd42::1 gateway none default
idle 00:16:3e:00:00:02 10.1.0.11 static none default
web 00:16:3e:00:00:01 10.1.0.10 static none default
web 02:00:00:00:00:01 10.1.0.7 dynamic none default
web 00:16:3e:00:00:01 fd42::216:3eff:fe00:1 dynamic none default
`
	if d := cmp.Diff(want, have.String()); d != "" {
		t.Errorf("(-want +have)\n%s", d)
	}
}

// TestOwnAddress forms addresses where clients do.
func TestOwnAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		f    config.Family
		mac  string
		want string
	}{
		{config.Family{Address: netip.MustParsePrefix("fd42::1/64")}, "00:16:3e:aa:bb:cc", "fd42::216:3eff:feaa:bbcc"},
		{config.Family{Address: netip.MustParsePrefix("fd42::1/64"), DHCP: true}, "02:16:3e:aa:bb:cc", "fd42::16:3eff:feaa:bbcc"},
		{config.Family{Address: netip.MustParsePrefix("fd42::1/64"), Stateful: true}, "00:16:3e:aa:bb:cc", "fd42::216:3eff:feaa:bbcc"},
		{config.Family{Address: netip.MustParsePrefix("fd42::1/64"), DHCP: true, Stateful: true}, "00:16:3e:aa:bb:cc", ""},
		{config.Family{Address: netip.MustParsePrefix("fd42::1/80")}, "00:16:3e:aa:bb:cc", ""},
		{config.Family{}, "00:16:3e:aa:bb:cc", ""},
		{config.Family{Address: netip.MustParsePrefix("fd42::1/64")}, "", ""},
	} {
		a, ok := ownAddress(tt.f, tt.mac)
		if ok != (tt.want != "") || ok && a.String() != tt.want {
			t.Errorf("%+v %s: %v, %t", tt.f, tt.mac, a, ok)
		}
	}
}
