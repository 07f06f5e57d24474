package daemon

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Limits of a throttle.
const (
	throttleBurst   = 5                // wrong tries that a source has at once
	throttleEvery   = 10 * time.Second // and then one in this time
	throttleSources = 4096             // that are remembered
)

// A throttle slows down who tries tokens one after the other. It counts wrong
// tries by their source, and a source has no more of them than come back with
// the time. The zero throttle is ready for use.
type throttle struct {
	mu      sync.Mutex
	sources map[netip.Prefix]tries
}

// tries is how many tries a source has had of late, as of a time.
type tries struct {
	n  float64
	at time.Time
}

// left returns what is left of t at a time.
func (t tries) left(now time.Time) float64 {
	return max(0, t.n-float64(now.Sub(t.at))/float64(throttleEvery))
}

// sourceOf returns where a connection comes from: one IPv4 address, or the
// IPv6 subnet that somebody has as a whole.
func sourceOf(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	a, bits := ap.Addr().Unmap().WithZone(""), 32
	if a.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// sourceText returns a source as people write it.
func sourceText(s netip.Prefix) string {
	if s.IsSingleIP() {
		return s.Addr().String()
	}
	return s.String()
}

// try counts a try of a source, or says how long it must wait before the next.
func (t *throttle) try(source netip.Prefix, now time.Time) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.sources[source].left(now)
	if n+1 > throttleBurst {
		return time.Duration((n + 1 - throttleBurst) * float64(throttleEvery))
	}
	if t.sources == nil {
		t.sources = map[netip.Prefix]tries{}
	}
	if len(t.sources) >= throttleSources {
		t.forget(now)
	}
	t.sources[source] = tries{n + 1, now}
	return 0
}

// forget makes room: the sources go that have all their tries again, and when
// that is not enough, a quarter of them so that it is seldom done, those with
// the fewest wrong tries first.
func (t *throttle) forget(now time.Time) {
	maps.DeleteFunc(t.sources, func(_ netip.Prefix, tr tries) bool { return tr.left(now) == 0 })
	list := slices.SortedFunc(maps.Keys(t.sources), func(a, b netip.Prefix) int {
		return cmp.Compare(t.sources[a].left(now), t.sources[b].left(now))
	})
	for _, s := range list[:max(0, len(list)-throttleSources*3/4)] {
		delete(t.sources, s)
	}
}

// forgive takes a try back that turned out to be right.
func (t *throttle) forgive(source netip.Prefix) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tr, ok := t.sources[source]; ok {
		tr.n = max(0, tr.n-1)
		t.sources[source] = tr
	}
}
