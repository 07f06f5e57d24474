package daemon

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"netctl/api"
)

// TestNoGrowth has networks come and go ten thousand times and finds no more
// goroutines and no more open files than before.
func TestNoGrowth(t *testing.T) {
	b := newBench(t)
	b.enable()
	files := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	cycles := func(n int) {
		var wg sync.WaitGroup
		for w := range 32 {
			wg.Go(func() {
				name := fmt.Sprintf("net%d", w)
				for range n / 32 {
					_, err := b.CreateNetwork(t.Context(), api.NetworksPost{Name: name, Config: map[string]string{"ipv4.address": fmt.Sprintf("10.2.%d.1/24", w), "ipv6.address": "none"}})
					if err == nil {
						_, err = b.DeleteNetwork(t.Context(), name, "")
					}
					if err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.Close() // idle connections
	}
	cycles(320)
	settled := func() (goroutines, open int) {
		b.eventually("idle", func() bool {
			before := runtime.NumGoroutine()
			time.Sleep(50 * time.Millisecond)
			return runtime.NumGoroutine() == before
		})
		return runtime.NumGoroutine(), files()
	}
	g, f := settled()
	start := time.Now()
	cycles(10_000)
	took := time.Since(start)
	gNow, fNow := settled()
	t.Logf("10,000 cycles in %s; %d goroutines before, %d after; %d files before, %d after", took.Round(time.Millisecond), g, gNow, f, fNow)
	if gNow > g+3 || fNow > f+3 {
		t.Error("it has grown")
	}
}
