package daemon

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	var th throttle
	now := time.Now()
	a, b := sourceOf("192.0.2.1:5000"), sourceOf("192.0.2.2:5000")
	for i := range throttleBurst {
		if wait := th.try(a, now); wait != 0 {
			t.Fatalf("try %d: wait %s", i, wait)
		}
	}
	if wait := th.try(a, now); wait != throttleEvery {
		t.Errorf("after the burst: wait %s", wait)
	}
	if wait := th.try(b, now); wait != 0 {
		t.Errorf("another source waits %s", wait)
	}
	if wait := th.try(a, now.Add(throttleEvery/2)); wait != throttleEvery/2 {
		t.Errorf("half way: wait %s", wait)
	}
	if wait := th.try(a, now.Add(throttleEvery)); wait != 0 {
		t.Errorf("when one has come back: wait %s", wait)
	}
	if wait := th.try(a, now.Add(throttleEvery)); wait == 0 {
		t.Error("only one has come back, and two were let through")
	}
	th.forgive(a)
	if wait := th.try(a, now.Add(throttleEvery)); wait != 0 {
		t.Errorf("a try that was right is held against its source: wait %s", wait)
	}
}

func TestThrottleSources(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:5000":           "192.0.2.1/32",
		"[::ffff:192.0.2.1]:5000":  "192.0.2.1/32",
		"[2001:db8:1:2:3::4]:5000": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:5000":      "fe80::/64",
		"@":                        "invalid Prefix",
	} {
		if have := sourceOf(remote); have.String() != want {
			t.Errorf("%s is of %s, want %s", remote, have, want)
		}
	}
}

// However many sources there are, the memory that they take is bounded, and
// those that are being slowed down are the last to be forgotten.
func TestThrottleIsBounded(t *testing.T) {
	var th throttle
	now := time.Now()
	source := func(i int) netip.Prefix { return sourceOf(fmt.Sprintf("[2001:db8:%x:%x::1]:1", i>>16, i&0xffff)) }
	for i := range 3 * throttleSources {
		th.try(source(i), now)
	}
	if n := len(th.sources); n > throttleSources {
		t.Fatalf("%d sources are remembered", n)
	}
	later := now.Add(throttleBurst * throttleEvery)
	bad := sourceOf("192.0.2.1:1")
	for th.try(bad, later) == 0 {
	}
	for i := range throttleSources {
		th.try(source(i), later.Add(time.Millisecond))
		if th.try(bad, later.Add(time.Millisecond)) == 0 {
			t.Fatalf("forgotten after %d others", i)
		}
	}
}
