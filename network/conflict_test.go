package network_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"netctl/config"
	"netctl/network"
)

// TestNewcomersAreRefused holds that of two objects that cannot exist together
// it is the one that came last that is refused, and the other that is named.
func TestNewcomersAreRefused(t *testing.T) {
	t.Parallel()
	const (
		br0  = "network br0 ipv4.address=10.1.0.1/24 ipv4.routes=203.0.113.0/24"
		web  = "instance web network=br0 hwaddr=00:16:3e:00:00:01 host_name=veth0 ipv4.address=10.1.0.10 ipv4.routes.external=198.51.100.7/32"
		fwd  = "forward 198.51.100.20 br0"
		mate = "instance a network=br0 hwaddr=00:16:3e:00:00:02 host_name=veth1"
	)
	for name, tt := range map[string]struct{ have, then, object, key, value, other string }{
		"NIC with the gateway's address": {br0, "instance a network=br0 ipv4.address=10.1.0.1", `instance "a", eth0`, "ipv4.address", "10.1.0.1", `ipv4.address=10.1.0.1/24 of network "br0"`},
		"gateway with a NIC's address":   {br0 + "\n" + web, "network br0 ipv4.address=10.1.0.10/24", `network "br0"`, "ipv4.address", "10.1.0.10/24", `ipv4.address=10.1.0.10 of instance "web", eth0`},
		"NIC with another's address":     {br0 + "\n" + web, "instance a network=br0 ipv4.address=10.1.0.10", `instance "a", eth0`, "ipv4.address", "10.1.0.10", `ipv4.address=10.1.0.10 of instance "web", eth0`},
		"NIC with another's MAC address": {br0 + "\n" + web, "instance a network=br0 hwaddr=00:16:3e:00:00:01", `instance "a", eth0`, "hwaddr", "00:16:3e:00:00:01", `hwaddr=00:16:3e:00:00:01 of instance "web", eth0`},
		"NIC with another's prefix":      {br0 + "\n" + web, "instance a network=br0 ipv4.routes=198.51.100.0/24", `instance "a", eth0`, "ipv4.routes", "198.51.100.0/24", `ipv4.routes.external=198.51.100.7/32 of instance "web", eth0`},
		"NIC with a forward's address":   {br0 + "\n" + fwd, "instance a network=br0 ipv4.routes.external=198.51.100.20/32", `instance "a", eth0`, "ipv4.routes.external", "198.51.100.20/32", `listen_address=198.51.100.20 of forward 198.51.100.20 of network "br0"`},
		"forward on the gateway":         {br0, "forward 10.1.0.1 br0", `forward 10.1.0.1 of network "br0"`, "listen_address", "10.1.0.1", `ipv4.address=10.1.0.1/24 of network "br0"`},
		"forward on a NIC":               {br0 + "\n" + web, "forward 10.1.0.10 br0", `forward 10.1.0.10 of network "br0"`, "listen_address", "10.1.0.10", `ipv4.address=10.1.0.1/24 of network "br0"`},
		"forward on a NIC's prefix":      {br0 + "\n" + web, "forward 198.51.100.7 br0", `forward 198.51.100.7 of network "br0"`, "listen_address", "198.51.100.7", `ipv4.routes.external=198.51.100.7/32 of instance "web", eth0`},
		"subnet around a forward":        {br0 + "\n" + fwd, "network br1 ipv4.address=198.51.100.1/24", `network "br1"`, "ipv4.address", "198.51.100.1/24", `listen_address=198.51.100.20 of forward 198.51.100.20 of network "br0"`},
		"network in front":               {"network br1 ipv4.address=10.1.0.1/24", "network br0 ipv4.address=10.1.0.1/16", `network "br0"`, "ipv4.address", "10.1.0.1/16", `ipv4.address=10.1.0.1/24 of network "br1"`},
		"network called as an interface": {br0 + "\n" + web, "network veth0 ipv4.address=none", `network "veth0"`, "name", "veth0", `host_name=veth0 of instance "web", eth0`},
		"interface called as a network":  {br0, "instance a network=br0 host_name=br0", `instance "a", eth0`, "host_name", "br0", `network "br0", whose bridge that is`},
		"peer in front": {
			"network br1 bgp.peers.x.address=192.0.2.1 bgp.peers.x.asn=65000", "network br0 bgp.peers.y.address=192.0.2.1 bgp.peers.y.asn=65001",
			`network "br0"`, "bgp.peers.y.asn", "65001", `bgp.peers.x.asn=65000 of network "br1", which names the same peer 192.0.2.1; "netctl bgp peers set 192.0.2.1" changes a peer on all its networks at once`,
		},
		"next hop in front": {
			"network br1 ipv4.address=10.2.0.1/24 ipv4.nat=true ipv4.nat.address=192.0.2.9", "network br0 ipv4.address=10.1.0.1/24 ipv4.nat=true ipv4.nat.address=192.0.2.9 bgp.ipv4.nexthop=192.0.2.8",
			`network "br0"`, "bgp.ipv4.nexthop", "192.0.2.8", `bgp.ipv4.nexthop=(unset) of network "br1", which exports 192.0.2.9/32 too`,
		},
		"anycast with another next hop": {
			"network br0 ipv4.address=10.1.0.1/24 ipv4.routes.anycast=true\nnetwork br1 ipv4.address=10.2.0.1/24 ipv4.routes.anycast=true bgp.ipv4.nexthop=192.0.2.8\n" + web,
			"instance a network=br1 ipv4.routes.external=198.51.100.7/32",
			`instance "a", eth0`, "ipv4.routes.external", "198.51.100.7/32",
			`ipv4.routes.external=198.51.100.7/32 of instance "web", eth0: network "br0" has bgp.ipv4.nexthop=(unset), and network "br1" has 192.0.2.8`,
		},
		"moved with its network": {br0 + "\n" + mate + "\n" + web, "network br0 ipv4.address=10.1.0.1/24 ipv4.routes=198.51.100.7/32,10.9.0.0/16", "", "", "", ""},
	} {
		w := newWorld()
		for line := range strings.Lines(tt.have) {
			w.put(t, line)
		}
		last := (*network.Snapshot)(nil).Next(1, nil, w.objects())
		if err := network.Validate(last, "none"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.put(t, tt.then)
		err := network.Validate(last.Next(2, nil, w.objects()), "none")
		c, ok := errors.AsType[*network.ConflictError](err)
		if !ok {
			if err != nil || tt.object != "" {
				t.Errorf("%s: %v, want a conflict", name, err)
			}
			continue
		}
		if want := (network.ConflictError{Object: tt.object, Key: tt.key, Value: tt.value, Other: tt.other}); *c != want {
			t.Errorf("%s:\n%v\nwant\n%v", name, c, &want)
		}
	}
}

// put makes or changes the object that a line describes.
func (w *world) put(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(line)
	kind, name, cfg := words[0], words[1], map[string]string{}
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		cfg[key] = value
	}
	var err error
	switch kind {
	case "network":
		var b config.Bridge
		b, err = config.BridgeSchema.Decode(cfg)
		w.networks[name] = &network.Network{Name: name, Config: map[string]config.Bridge{"none": b}}
	case "instance":
		w.instances[name], err = instance(name, map[string]map[string]string{"eth0": cfg})
	case "forward":
		w.forwards[name] = &network.Forward{Network: words[2], Listen: netip.MustParseAddr(name)}
	}
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}
