package daemon

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"

	"netctl/api"
	"netctl/bgp"
)

// What the daemon logs, listeners of logging events see, at every level.
func TestLoggingEvents(t *testing.T) {
	b := newBench(t)
	events, err := b.Events(t.Context(), api.EventLogging)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	// A router id has to be chosen, which the daemon logs.
	b.applied(b.PatchServer(t.Context(), api.ServerPut{Config: map[string]string{"core.bgp_asn": "65001", "core.bgp_address": ":179"}}, ""))
	if _, err := b.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0", Config: map[string]string{
		"bgp.peers.tor.address": "192.0.2.1", "bgp.peers.tor.asn": "65000",
	}}); err != nil {
		t.Fatal(err)
	}
	for {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		var body api.EventLoggingBody
		if err := json.Unmarshal(e.Metadata, &body); err != nil {
			t.Fatal(err)
		}
		if body.Message == "router id chosen" {
			if body.Level != "info" || body.Context["router_id"] != "192.0.2.9" {
				t.Errorf("event %+v", body)
			}
			return
		}
	}
}

// A session that is up, and what is wrong with one that is not, are told once;
// the states between are for those who look closer.
func TestSessionsAreLogged(t *testing.T) {
	b := newBench(t)
	events, err := b.Events(t.Context(), api.EventLogging)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	want := []struct {
		state bgp.State
		err   string
		level string
	}{
		{bgp.Active, "", "debug"},
		{bgp.Established, "", "info"},
		{bgp.Idle, "hold time expired", "warning"},
		{bgp.Active, "hold time expired", "debug"},
		{bgp.OpenSent, "hold time expired", "debug"},
		{bgp.Idle, "connection refused", "warning"},
		{bgp.Established, "", "info"},
		{bgp.Idle, "connection refused", "warning"},
	}
	for _, w := range want {
		b.speaker.events <- bgp.Event{Peer: netip.MustParseAddr("192.0.2.1"), State: w.state, Error: w.err}
	}
	var have []string
	for len(have) < len(want) {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		var body api.EventLoggingBody
		if err := json.Unmarshal(e.Metadata, &body); err != nil {
			t.Fatal(err)
		}
		if body.Message == "session changed" {
			have = append(have, body.Level)
		}
	}
	var levels []string
	for _, w := range want {
		levels = append(levels, w.level)
	}
	if !slices.Equal(have, levels) {
		t.Errorf("logged at %v, want %v", have, levels)
	}
}

// Who does not keep up with events is cut off, and does not hold up others.
func TestLaggardIsCutOff(t *testing.T) {
	h := newHub()
	all := map[string]bool{api.EventLifecycle: true}
	laggard, other := h.add(all), h.add(all)
	for range eventQueue {
		h.send(api.EventLifecycle, "news")
		<-other.ch
	}
	h.send(api.EventLifecycle, "one too many")
	for range eventQueue {
		if _, ok := <-laggard.ch; !ok {
			t.Fatal("cut off before its queue was full")
		}
	}
	select {
	case _, ok := <-laggard.ch:
		if ok {
			t.Error("what did not fit was queued")
		}
	default:
		t.Error("who has missed something is not cut off")
	}
	h.remove(laggard) // as it does when it notices
	if e, ok := <-other.ch; !ok || string(e.Metadata) != `"one too many"` {
		t.Errorf("the other one got %s, %t", e.Metadata, ok)
	}
}
