package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"netctl/api"
	"netctl/bgp"
)

// TestImpatient passes signals on. What says that the power fails is never
// overtaken by what says that we will be back.
func TestImpatient(t *testing.T) {
	const term, power = syscall.SIGTERM, syscall.SIGPWR
	for _, tt := range []struct {
		name    string
		in, out []os.Signal
		exits   bool
	}{
		{"one", []os.Signal{term}, []os.Signal{term}, false},
		{"twice", []os.Signal{term, syscall.SIGINT}, []os.Signal{term}, true},
		{"the power fails while we stop", []os.Signal{term, power}, []os.Signal{term, power}, false},
		{"everybody is stopped when the power fails", []os.Signal{power, term, term}, []os.Signal{power}, false},
		{"the power fails twice", []os.Signal{power, power}, []os.Signal{power}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := make(chan os.Signal)
				exits := 0
				out := impatient(in, func(int) { exits++ })
				for _, s := range tt.in {
					in <- s
				}
				close(in)
				synctest.Wait()
				var got []os.Signal
				for len(out) > 0 {
					got = append(got, <-out)
				}
				if !slices.Equal(got, tt.out) || exits > 0 != tt.exits {
					t.Errorf("passed %v and exited %d times", got, exits)
				}
			})
		})
	}
}

// TestStrongerStop has several reasons to stop at the same time: one full
// shutdown among them makes it one.
func TestStrongerStop(t *testing.T) {
	full := stop{mode: bgp.Withdraw, text: "moving house", remove: true}
	for _, tt := range []struct {
		name    string
		why     stop
		signals []os.Signal
		request bool
		want    stop
	}{
		{"nothing else", stop{}, nil, false, stop{}},
		{"another restart", stop{}, []os.Signal{syscall.SIGTERM}, false, stop{}},
		{"power", stop{}, []os.Signal{syscall.SIGTERM, syscall.SIGPWR}, false, stop{mode: bgp.Withdraw, text: defaultText}},
		{"request", stop{}, nil, true, full},
		{"power and request", stop{mode: bgp.Withdraw, text: defaultText}, []os.Signal{syscall.SIGTERM}, true, full},
		{"request and power", full, []os.Signal{syscall.SIGPWR}, false, full},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signals := make(chan os.Signal, 4)
			d := &Daemon{opts: Options{Signals: signals, StopMode: StopMode}, log: slog.New(slog.DiscardHandler)}
			d.stopping.init()
			for _, s := range tt.signals {
				signals <- s
			}
			if tt.request {
				d.stopping.request <- full
			}
			if got := d.strongest(tt.why); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestShutdownTooLate asks for a full shutdown of a daemon that is stopping for
// a restart: its client must not believe that the routes are gone.
func TestShutdownTooLate(t *testing.T) {
	b := newBench(t)
	status := make(chan int, 1)
	b.speaker.stop = func() error {
		reads := make(chan struct{}) // closed when the daemon reads the body
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(reads) }})
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://netctl/internal/shutdown", strings.NewReader("{}"))
		if err != nil {
			return err
		}
		req.Header.Set("Expect", "100-continue")
		go func() {
			resp, err := b.http().Do(req)
			if err != nil {
				status <- 0
				return
			}
			_ = resp.Body.Close()
			status <- resp.StatusCode
		}()
		<-reads
		return nil
	}
	b.signals <- syscall.SIGTERM
	if got := <-status; got != http.StatusServiceUnavailable {
		t.Errorf("asked for a shutdown too late: status %d", got)
	}
	if err := <-b.ended; err != nil || !slices.Equal(b.speaker.stopped, []bgp.StopMode{bgp.Restart}) {
		t.Errorf("stopped %v, %v", b.speaker.stopped, err)
	}
}

// TestShutdownFails has a peer that does not acknowledge the withdrawals.
func TestShutdownFails(t *testing.T) {
	b := newBench(t)
	b.speaker.stop = func() error { return errors.New("192.0.2.7 does not answer") }
	err := b.Shutdown(t.Context(), api.Shutdown{})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.7 does not answer") {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-b.ended; err == nil {
		t.Error("the daemon ends without an error")
	}
}

// TestPowerFailsWhileStopping has the power fail while a restart is under way,
// and the speaker still at work.
func TestPowerFailsWhileStopping(t *testing.T) {
	b := newBench(t)
	b.enable()
	busy, release := make(chan struct{}), make(chan struct{})
	b.speaker.mu.Lock()
	b.speaker.apply = sync.OnceFunc(func() { close(busy); <-release })
	b.speaker.mu.Unlock()
	if _, err := b.DeleteNetwork(t.Context(), "br0", ""); err != nil {
		t.Fatal(err)
	}
	<-busy
	b.signals <- syscall.SIGTERM
	b.signals <- syscall.SIGPWR // there is room for it when the first was taken
	close(release)
	if err := <-b.ended; err != nil || !slices.Equal(b.speaker.stopped, []bgp.StopMode{bgp.Withdraw}) {
		t.Errorf("stopped %v, %v", b.speaker.stopped, err)
	}
}

// TestStopWhileDataPlaneHangs withdraws at once when the power fails, whatever
// the data plane is waiting for, and ends without it.
func TestStopWhileDataPlaneHangs(t *testing.T) {
	b := newBench(t)
	b.enable()
	stuck, reached := make(chan struct{}), make(chan struct{})
	defer close(stuck)
	b.host.mu.Lock()
	b.host.stuck = stuck
	b.host.before = func(context.Context) { close(reached) }
	b.host.mu.Unlock()
	if _, err := b.DeleteNetwork(t.Context(), "br0", ""); err != nil {
		t.Fatal(err)
	}
	<-reached // the data plane is at it
	withdrawn := make(chan struct{})
	b.speaker.mu.Lock()
	b.speaker.stop = func() error { close(withdrawn); return nil }
	b.speaker.mu.Unlock()
	start := time.Now()
	b.signals <- syscall.SIGPWR
	<-withdrawn
	if took := time.Since(start); took >= loopBound {
		t.Errorf("withdrawn after %s", took)
	}
	if err := <-b.ended; !errors.Is(err, errHung) {
		t.Errorf("it ended with %v", err)
	}
	if !slices.Equal(b.speaker.stopped, []bgp.StopMode{bgp.Withdraw}) {
		t.Errorf("stopped as %v", b.speaker.stopped)
	}
}
