package daemon

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"netctl/api"
)

// TestPeerOnAllNetworks changes a setting of a peer that more than one network
// names, which none of them can do alone.
func TestPeerOnAllNetworks(t *testing.T) {
	b := newBench(t)
	b.enable()
	ctx, peer := t.Context(), netip.MustParseAddr("192.0.2.1")
	b.applied(b.CreateNetwork(ctx, api.NetworksPost{Name: "br1", Config: map[string]string{
		"ipv4.address": "10.2.0.1/24", "ipv6.address": "none",
		"bgp.peers.x.address": "192.0.2.1", "bgp.peers.x.asn": "65000", "bgp.peers.x.password": "hunter2",
		"bgp.peers.other.address": "192.0.2.2", "bgp.peers.other.asn": "65000", "bgp.peers.other.password": "theirs",
	}}))
	_, err := b.PatchNetwork(ctx, "br0", api.NetworkPatch{Config: map[string]string{"bgp.peers.tor.password": "new"}}, "")
	if code(err) != api.Conflict || !strings.Contains(err.Error(), `"netctl bgp peers set 192.0.2.1" changes a peer on all its networks at once`) {
		t.Fatalf("one network alone: %v", err)
	}
	patch := func(cfg map[string]string, tag string) (int64, error) {
		return b.PatchBGPPeer(ctx, peer, api.BGPPeerPatch{Config: cfg}, tag)
	}
	_, tag, err := b.BGPPeer(ctx, peer)
	if err != nil {
		t.Fatal(err)
	}
	before, err := b.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	planned := false
	dry := b.DryRun(func(p api.Plan) error {
		planned = len(p.Members[0].Peers) == 1 && p.Members[0].Peers[0].Session == "change"
		return nil
	})
	if _, err := dry.PatchBGPPeer(ctx, peer, api.BGPPeerPatch{Config: map[string]string{"password": "new"}}, tag); err != nil || !planned {
		t.Errorf("dry run: planned %t, %v", planned, err)
	}
	for _, tt := range []struct {
		cfg  map[string]string
		code api.Code
		text string
	}{
		{map[string]string{"address": "192.0.2.3"}, api.Invalid, "the address is what it is known by"},
		{map[string]string{"hold_time": "9"}, api.Invalid, `did you mean "bgp.peers.tor.holdtime"?`},
		{map[string]string{"holdtime": "8", "password": "new"}, api.Invalid, `invalid value "8" for key "bgp.peers.tor.holdtime"`},
		{map[string]string{"asn": ""}, api.Invalid, "bgp.peers.tor"},
	} {
		if _, err := patch(tt.cfg, ""); code(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%v: %v", tt.cfg, err)
		}
	}
	if _, err := b.PatchBGPPeer(ctx, netip.MustParseAddr("192.0.2.3"), api.BGPPeerPatch{}, ""); code(err) != api.NotFound {
		t.Errorf("a peer that nobody names: %v", err)
	}
	if after, err := b.Status(ctx); err != nil || after.Revision != before.Revision {
		t.Errorf("revision %d, was %d; %v", after.Revision, before.Revision, err)
	}

	b.applied(patch(map[string]string{"password": "new", "holdtime": "9"}, tag))
	c := b.speaker.last()
	if len(c.Peers) != 2 || c.Peers[0].Password != "new" || c.Peers[0].HoldTime != 9*time.Second || c.Peers[1].Password != "theirs" {
		t.Errorf("peers %+v", c.Peers)
	}
	if _, err := patch(map[string]string{"password": "newer"}, tag); code(err) != api.Precondition {
		t.Errorf("the tag of before: %v", err)
	}
	b.applied(patch(map[string]string{"password": "", "holdtime": ""}, ""))
	if p := b.speaker.last().Peers[0]; p.Password != "" || p.HoldTime != 180*time.Second {
		t.Errorf("peer %+v", p)
	}
	n, _, err := b.Network(ctx, "br1")
	if _, set := n.Config["bgp.peers.x.password"]; err != nil || set || n.Config["bgp.peers.other.password"] != api.Mask {
		t.Errorf("config %v, %v", n.Config, err)
	}
}

// TestPeerOfAllNetworks has the usual case: a router that every network names.
func TestPeerOfAllNetworks(t *testing.T) {
	b := newBench(t)
	b.enable()
	ctx := t.Context()
	const more = 150
	for i := range more {
		if _, err := b.CreateNetwork(ctx, api.NetworksPost{Name: fmt.Sprintf("n%d", i), Config: map[string]string{
			"ipv4.address": fmt.Sprintf("10.3.%d.1/24", i), "ipv6.address": "none",
			"bgp.peers.x.address": "192.0.2.1", "bgp.peers.x.asn": "65000", "bgp.peers.x.password": "hunter2",
		}}); err != nil {
			t.Fatal(err)
		}
	}
	events, err := b.Events(ctx, api.EventLifecycle)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	b.applied(b.PatchBGPPeer(ctx, netip.MustParseAddr("192.0.2.1"), api.BGPPeerPatch{Config: map[string]string{"password": "new"}}, ""))
	e, err := events.Next()
	if err != nil {
		t.Fatal(err)
	}
	var told api.EventLifecycleBody
	if err := json.Unmarshal(e.Metadata, &told); err != nil {
		t.Fatal(err)
	}
	if names, _ := told.Context["networks"].([]any); told.Action != "bgp-peer-updated" || told.Source != "/1.0/bgp/peers/192.0.2.1" || len(names) != 1+more {
		t.Errorf("event %+v", told)
	}
	if p := b.speaker.last().Peers; len(p) != 1 || p[0].Password != "new" {
		t.Errorf("peers %+v", p)
	}
}
