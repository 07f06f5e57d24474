package daemon

import (
	"net/netip"
	"slices"
	"testing"

	"netctl/api"
	"netctl/bgp"
)

// announces reports whether the speaker was told to announce a prefix.
func (b *bench) announces(prefix string) bool {
	return slices.ContainsFunc(b.speaker.last().Paths, func(p *bgp.Path) bool { return p.Prefix == netip.MustParsePrefix(prefix) })
}

// TestStartAnnounces: a start is over when its routes are announced, but does
// not wait for who opens a tap.
func TestStartAnnounces(t *testing.T) {
	b := newBench(t)
	b.enable()
	b.host.mu.Lock()
	b.host.dark = map[string]bool{"tap1": true}
	b.host.mu.Unlock()
	b.done(b.CreateInstance(t.Context(), api.InstancesPost{Name: "web", Start: true, Devices: map[string]map[string]string{
		"eth0": {"network": "br0", "ipv4.routes.external": "198.51.100.7/32"},
	}}))
	if !b.announces("198.51.100.7/32") {
		t.Error("the start was over before its route was announced")
	}
	b.done(b.PatchInstance(t.Context(), "web", api.InstancePatch{Devices: map[string]map[string]string{
		"eth0": {"network": "br0", "ipv4.routes.external": "198.51.100.8/32"},
	}}, ""))
	if !b.announces("198.51.100.8/32") || b.announces("198.51.100.7/32") {
		t.Error("the change was over before it was announced")
	}
	task, err := b.CreateInstance(t.Context(), api.InstancesPost{Name: "vm", Type: api.VirtualMachine, Start: true, Devices: map[string]map[string]string{
		"eth0": {"network": "br0", "host_name": "tap1", "ipv4.routes.external": "198.51.100.9/32"},
	}})
	b.done(task, err)
	b.applied(task.Revision, nil) // the prefix that is held holds nobody up
	if b.announces("198.51.100.9/32") {
		t.Error("a route is announced to a tap that nobody has opened")
	}
	b.host.mu.Lock()
	b.host.dark = nil
	b.host.mu.Unlock()
	b.host.changed <- struct{}{}
	b.eventually("the announcement", func() bool { return b.announces("198.51.100.9/32") })
	b.done(b.action("vm", "stop"))
	if b.announces("198.51.100.9/32") || !b.announces("198.51.100.8/32") {
		t.Error("the stop was over before its routes were withdrawn")
	}
}

// TestRoutesFollowCarriers: a prefix of several NICs is routed over those that
// are up, whoever it is that sees first that one has come up.
func TestRoutesFollowCarriers(t *testing.T) {
	b := newBench(t)
	b.applied(b.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0", Config: map[string]string{
		"ipv4.address": "10.1.0.1/24", "ipv6.address": "none", "ipv4.routes.anycast": "true",
	}}))
	b.host.mu.Lock()
	b.host.dark = map[string]bool{"tap2": true}
	b.host.mu.Unlock()
	for _, n := range []string{"1", "2"} {
		b.done(b.CreateInstance(t.Context(), api.InstancesPost{Name: "i" + n, Type: api.VirtualMachine, Start: true, Devices: map[string]map[string]string{
			"eth0": {"network": "br0", "host_name": "tap" + n, "ipv4.address": "10.1.0.1" + n, "ipv4.routes.external": "198.51.100.7/32"},
		}}))
	}
	hops := func() int {
		b.host.mu.Lock()
		defer b.host.mu.Unlock()
		if len(b.host.links.Routes) != 1 {
			return 0
		}
		return len(b.host.links.Routes[0].Hops)
	}
	b.eventually("one way", func() bool { return hops() == 1 })
	b.host.mu.Lock()
	b.host.dark = nil
	b.host.mu.Unlock()
	// The kernel says nothing of it; a dry run looks, and a question derives.
	if _, err := b.DryRun(func(api.Plan) error { return nil }).CreateNetwork(t.Context(), api.NetworksPost{Name: "br1"}); err != nil {
		t.Fatal(err)
	}
	b.get("/1.0/metrics")
	b.eventually("two ways", func() bool { return hops() == 2 })
}
