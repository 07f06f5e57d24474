package main

import (
	"net/netip"
	"testing"
)

// What BIRD tells of a session is read in all its channels, and apart from what
// it tells of exports and of other updates.
func TestParseHearing(t *testing.T) {
	const out = `BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
p0         BGP        ---        up     2026-11-21    Established
  BGP state:          Established
  Channel ipv4
    State:          UP
    Routes:         10002 imported, 0 exported, 10002 preferred
    Route change stats:     received   rejected   filtered    ignored   accepted
      Import updates:          10003          0          0          1      10002
      Import withdraws:            4          0        ---          0          4
      Export updates:          10002      10002          0        ---          0
      Export withdraws:            7        ---        ---        ---          0
  Channel ipv6
    Route change stats:     received   rejected   filtered    ignored   accepted
      Import updates:             20          0          0          0         20
      Import withdraws:            5          0        ---          0          5
      Export updates:             20         20          0        ---          0
`
	got, err := parseHearing(out)
	if want := (hearing{updates: 10023, withdrawals: 9}); err != nil || got != want {
		t.Errorf("parseHearing = %+v, %v, want %+v", got, err, want)
	}
	if got, err := parseHearing("BIRD 2.0.12 ready.\n"); err == nil {
		t.Errorf("parseHearing of nothing = %+v, want an error", got)
	}
}

// No two of the instances and forwards of a run have an address in common, and
// none has the bridge's.
func TestAddresses(t *testing.T) {
	seen := map[netip.Addr]int{netip.MustParseAddr("10.200.0.1"): -1}
	for i := range manyForwards + 1 {
		if was, ok := seen[inside(i)]; ok || !netip.MustParsePrefix("10.200.0.0/16").Contains(inside(i)) {
			t.Fatalf("%s of %d is not its own: %d", inside(i), i, was)
		}
		seen[inside(i)] = i
	}
	clear(seen)
	for i := range 1<<16 + 1000 {
		a := outside(i).Addr()
		if was, ok := seen[a]; ok || !netip.MustParsePrefix("198.18.0.0/15").Contains(a) {
			t.Fatalf("%s of %d is not its own: %d", a, i, was)
		}
		seen[a] = i
	}
}
