package reconcile

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calls := make(chan string, 100)
		broken := true
		l := New(Options[int64]{
			Load:     func(context.Context) (int64, error) { return 7, nil },
			Revision: func(s int64) int64 { return s },
			Targets: []Target[int64]{
				{Name: "nft", Apply: func(context.Context, int64) error {
					calls <- "nft"
					if broken {
						broken = false
						return errors.New("busy")
					}
					return nil
				}, Refresh: func() { calls <- "refresh" }},
				{Name: "bgp", Apply: func(context.Context, int64) error { calls <- "bgp"; return nil }},
			},
			Resync: time.Minute, MinDelay: time.Second, MaxDelay: 10 * time.Second, Log: slog.New(slog.DiscardHandler),
		})
		go func() { _ = l.Run(ctx) }()

		// drain waits until the loop is idle and returns what it called.
		drain := func() (s string) {
			synctest.Wait()
			for len(calls) > 0 {
				s += <-calls + " "
			}
			return s
		}

		if got := drain(); got != "nft bgp " {
			t.Errorf("first turn: %q; a failing target must not stop the others", got)
		}
		if !l.Turned() {
			t.Error("no turn was taken, it says")
		}
		st := l.Status()
		if st[0].Applied != 0 || st[0].Tried != 7 || st[0].Err == nil || st[0].Since.IsZero() || st[1].Applied != 7 || st[1].Err != nil {
			t.Errorf("after a failure: %+v", st)
		}
		time.Sleep(time.Second)
		if got := drain(); got != "nft bgp " {
			t.Errorf("retry: %q", got)
		}
		if st := l.Status(); st[0].Applied != 7 || st[0].Err != nil || !st[0].Since.IsZero() {
			t.Errorf("after the retry: %+v", st)
		}
		for range 10 {
			l.Poke()
		}
		if got := drain(); got != "nft bgp " && got != "nft bgp nft bgp " {
			t.Errorf("ten pokes: %q; they must merge", got)
		}
		time.Sleep(time.Minute)
		if got := drain(); got != "refresh nft bgp " {
			t.Errorf("resync: %q", got)
		}
		cancel()
		synctest.Wait()
	})
}

func TestLoadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var loads, applied atomic.Int64
		l := New(Options[int64]{
			Load: func(context.Context) (int64, error) {
				if loads.Add(1) < 3 {
					return 0, errors.New("disk full")
				}
				return 1, nil
			},
			Revision: func(s int64) int64 { return s },
			Targets:  []Target[int64]{{Name: "x", Apply: func(context.Context, int64) error { applied.Add(1); return nil }}},
			Resync:   time.Hour, MinDelay: time.Second, MaxDelay: time.Minute, Log: slog.New(slog.DiscardHandler),
		})
		go func() { _ = l.Run(ctx) }()
		time.Sleep(2500 * time.Millisecond) // retries after 1 s and 2 s more
		synctest.Wait()
		if applied.Load() != 0 || loads.Load() != 2 {
			t.Errorf("applied %d times after %d loads, want 0 after 2: nothing is applied when loading fails", applied.Load(), loads.Load())
		}
		if st := l.Status()[0]; st.Err == nil || st.Since.IsZero() || st.Tried != 0 {
			t.Errorf("the status does not tell that loading fails: %+v", st)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if st := l.Status()[0]; st.Err != nil || st.Applied != 1 {
			t.Errorf("after loading: %+v", st)
		}
		if applied.Load() != 1 {
			t.Errorf("applied %d times after the load succeeded", applied.Load())
		}
		cancel()
		synctest.Wait()
	})
}

func TestMeasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type turn struct {
			target string
			took   time.Duration
			err    error
		}
		var turns []turn
		busy := errors.New("busy")
		l := New(Options[int64]{
			Load:     func(context.Context) (int64, error) { return 1, nil },
			Revision: func(s int64) int64 { return s },
			Targets: []Target[int64]{
				{Name: "nft", Apply: func(context.Context, int64) error { time.Sleep(time.Second); return busy }},
				{Name: "bgp", Apply: func(context.Context, int64) error { return nil }},
			},
			Log:     slog.New(slog.DiscardHandler),
			Measure: func(target string, took time.Duration, err error) { turns = append(turns, turn{target, took, err}) },
		})
		if l.Busy() != 0 {
			t.Errorf("busy for %s before the first turn", l.Busy())
		}
		go func() {
			time.Sleep(600 * time.Millisecond)
			if l.Busy() != 600*time.Millisecond {
				t.Errorf("busy for %s", l.Busy())
			}
		}()
		if err := l.Turn(t.Context()); !errors.Is(err, busy) {
			t.Fatal(err)
		}
		if want := []turn{{"nft", time.Second, busy}, {"bgp", 0, nil}}; !slices.Equal(turns, want) {
			t.Errorf("measured %v, want %v", turns, want)
		}
		if l.Busy() != 0 {
			t.Errorf("busy for %s after the turn", l.Busy())
		}
	})
}

// Trouble is logged when it begins and when it ends, not at every attempt.
func TestTroubleIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		var trouble atomic.Pointer[error]
		fail := func(text string) {
			err := errors.New(text)
			trouble.Store(&err)
		}
		fail("no such interface")
		l := New(Options[int64]{
			Load:     func(context.Context) (int64, error) { return 1, nil },
			Revision: func(s int64) int64 { return s },
			Targets:  []Target[int64]{{Name: "link", Apply: func(context.Context, int64) error { return *trouble.Load() }}},
			Resync:   time.Hour, MinDelay: time.Second, MaxDelay: time.Second, Log: slog.New(slog.NewTextHandler(&out, nil)),
		})
		go func() { _ = l.Run(ctx) }()
		time.Sleep(time.Minute)
		fail("another")
		time.Sleep(time.Minute)
		var none error
		trouble.Store(&none)
		time.Sleep(time.Minute)
		cancel()
		synctest.Wait()
		for text, n := range map[string]int{"link: no such interface": 1, "link: another": 1, "turn succeeded again": 1} {
			if got := strings.Count(out.String(), text); got != n {
				t.Errorf("%q is logged %d times", text, got)
			}
		}
	})
}
