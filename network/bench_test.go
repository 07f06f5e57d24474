package network_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"netctl/config"
	"netctl/network"
	"netctl/network/link"
)

// manyForwards returns n forwards of a network, sorted.
func manyForwards(n int) []*network.Forward {
	out := make([]*network.Forward, n)
	for i := range out {
		out[i] = forwardAt(i)
	}
	return out
}

func forwardAt(i int) *network.Forward {
	return &network.Forward{
		Network: "br0", Listen: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}),
		Forward: config.Forward{Target: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})},
	}
}

// manyInstances returns n running instances with routes external ones each,
// sorted.
func manyInstances(n, routes int) []*network.Instance {
	out := make([]*network.Instance, n)
	for i := range out {
		nic := config.NIC{
			Network: "br0", Name: "eth0", HWAddr: fmt.Sprintf("00:16:3e:00:%02x:%02x", i>>8, i&0xff), HostName: fmt.Sprintf("veth%04d", i),
			V4: config.NICFamily{Address: netip.AddrFrom4([4]byte{10, 1, byte(4 + i>>8), byte(i)})},
		}
		for r := range routes {
			nic.V4.External = append(nic.V4.External, netip.PrefixFrom(netip.AddrFrom4([4]byte{203, byte(i >> 8), byte(i), byte(r)}), 32))
		}
		out[i] = &network.Instance{Name: fmt.Sprintf("i%04d", i), Running: true, NICs: []network.NIC{{Device: "eth0", NIC: nic}}}
	}
	return out
}

// benchHost returns the network of the others, with two peers, and a host on
// which all is up but for the NICs called dark.
func benchHost(tb testing.TB, instances []*network.Instance, dark ...string) (*network.Network, map[string]config.Server, *network.Observed) {
	tb.Helper()
	server, err := config.ServerSchema.Decode(map[string]string{"core.bgp_asn": "65001", "core.bgp_address": "192.0.2.9:179"})
	if err != nil {
		tb.Fatal(err)
	}
	b, err := config.BridgeSchema.Decode(map[string]string{
		"ipv4.address": "10.1.0.1/16", "ipv6.address": "none", "ipv4.nat": "true",
		"bgp.peers.a.address": "192.0.2.1", "bgp.peers.a.asn": "65000", "bgp.peers.b.address": "192.0.2.2", "bgp.peers.b.asn": "65000",
	})
	if err != nil {
		tb.Fatal(err)
	}
	o := &network.Observed{Observed: link.Observed{Links: map[string]*link.Seen{
		"br0": {Name: "br0", Alias: "netctl:br0", Up: true, Addrs: []link.Addr{{Prefix: netip.MustParsePrefix("10.1.0.1/16")}}},
	}}}
	for _, i := range instances {
		for _, n := range i.NICs {
			o.Links[n.HostName] = &link.Seen{
				Name: n.HostName, Alias: link.AliasPrefix + link.NICOwner(i.Name, n.Device), Up: true,
				Master: "br0", Carrier: !slices.Contains(dark, n.HostName),
			}
			for _, p := range n.V4.External {
				o.Own = append(o.Own, link.OnLink(p, "br0", i.Name+"/"+n.Device))
			}
		}
	}
	return &network.Network{Name: "br0", Config: map[string]config.Bridge{"none": b}}, map[string]config.Server{"none": server}, o
}

// benchmarkChange measures what it takes to follow a change of one object and
// back, and to derive the host from it.
func benchmarkChange(b *testing.B, servers map[string]config.Server, o *network.Observed, one, other network.Objects) {
	b.Helper()
	last := (*network.Snapshot)(nil).Next(1, servers, one)
	if _, err := network.Derive(last, o, "none"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		objects := other
		if i%2 == 1 {
			objects = one
		}
		last = last.Next(1, servers, objects)
		if _, err := network.Derive(last, o, "none"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkForward adds and removes one forward among others, while all that is
// announced is up, and while the tap of somebody is dark.
func BenchmarkForward(b *testing.B) {
	for _, dark := range []bool{false, true} {
		for _, n := range []int{100, 10000} {
			b.Run(fmt.Sprintf("n=%d/dark=%t", n, dark), func(b *testing.B) {
				instances := manyInstances(10, 1)
				var off []string
				if dark {
					off = []string{"veth0007"}
				}
				on, servers, o := benchHost(b, instances, off...)
				forwards := manyForwards(n)
				few := slices.Delete(slices.Clone(forwards), n/2, n/2+1)
				objects := network.Objects{Networks: []*network.Network{on}, Instances: instances, Forwards: forwards}
				less := objects
				less.Forwards = few
				benchmarkChange(b, servers, o, objects, less)
			})
		}
	}
}

// BenchmarkInstance starts and stops one instance with ten routes among others.
func BenchmarkInstance(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			instances := manyInstances(n, 10)
			on, servers, o := benchHost(b, instances)
			stopped := slices.Clone(instances)
			off := *instances[n/2]
			off.Running = false
			stopped[n/2] = &off
			objects := network.Objects{Networks: []*network.Network{on}, Instances: instances}
			less := objects
			less.Instances = stopped
			benchmarkChange(b, servers, o, objects, less)
		})
	}
}
