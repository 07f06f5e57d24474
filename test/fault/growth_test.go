package fault

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"netctl/api"
	"netctl/client"
	"netctl/test/lab"
)

// A usage is what the daemon uses of the machine.
type usage struct{ goroutines, files, threads, memory int }

func (s *site) usage(tb testing.TB, c *client.Client) usage {
	tb.Helper()
	now, _ := s.memory()
	return usage{goroutines(tb, c), descriptors(tb, s.Daemon), s.threads(), now}
}

// threads returns how many threads the daemon has.
func (s *site) threads() int {
	s.Helper()
	var n int
	out := s.Host.Run("sh", "-c", fmt.Sprintf("ls /proc/%d/task | wc -l", s.Daemon.Proc.Cmd.Process.Pid))
	if _, err := fmt.Sscan(out, &n); err != nil {
		s.Fatalf("%v", err)
	}
	return n
}

// churn creates and deletes networks until it is told to stop, several at a
// time, and returns how many. If wanted, each is waited for: with its bridge,
// its dnsmasq, its rules and its prefixes. Otherwise the host follows as it
// can, and many go before it has got to them.
func (s *site) churn(tb testing.TB, wait bool, goOn func(done int) bool) int {
	tb.Helper()
	var done atomic.Int64
	var wg sync.WaitGroup
	applied := func(c *client.Client, rev int64, err error) error {
		if err != nil || !wait {
			return err
		}
		return c.WaitApplied(tb.Context(), rev, 30*time.Second)
	}
	for w := range 16 {
		wg.Go(func() {
			c := client.Unix(s.Daemon.Socket())
			defer c.Close()
			name := fmt.Sprintf("churn%d", w)
			for goOn(int(done.Load())) {
				rev, err := c.CreateNetwork(tb.Context(), api.NetworksPost{Name: name, Config: map[string]string{
					"ipv4.address": fmt.Sprintf("10.70.%d.1/24", w), "ipv6.address": fmt.Sprintf("fd70:%d::1/64", w), "ipv4.nat": "true", "ipv4.nat.address": fmt.Sprintf("198.51.101.%d", w),
					"bgp.peers.tor.address": lab.Router4, "bgp.peers.tor.asn": fmt.Sprint(lab.RouterASN),
				}})
				if err = applied(c, rev, err); err == nil {
					rev, err = c.DeleteNetwork(tb.Context(), name, "")
					err = applied(c, rev, err)
				}
				if err != nil {
					tb.Errorf("%s: %v", name, err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return int(done.Load())
}

// grown fails the test when the daemon uses more than before.
func (s *site) grown(tb testing.TB, c *client.Client, before usage) {
	tb.Helper()
	var now usage
	s.Soon("what was used is given back", func() error {
		now = s.usage(tb, c)
		return lab.Expect(now.goroutines <= before.goroutines+5 && now.files <= before.files+3, "%+v, before %+v", now, before)
	})
	tb.Logf("before %+v, after %+v", before, now)
	// Threads stay when they have once been needed.
	if now.threads > before.threads+20 || now.memory > before.memory+48<<20 {
		tb.Errorf("it uses %+v, before %+v", now, before)
	}
}

// Networks that come and go ten thousand times leave nothing behind in the
// daemon, nor on the host. Not all of them are waited for: the kernel takes a
// tenth of a second to delete one bridge.
func TestNoGrowth(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := client.Unix(s.Daemon.Socket())
	defer c.Close()
	since := time.Now()
	s.churn(t, true, func(done int) bool { return done < 32 }) // what it needs once
	before := s.usage(t, c)
	end := time.Now().Add(10 * time.Second)
	n := s.churn(t, true, func(int) bool { return time.Now().Before(end) })
	t.Logf("%d networks in %s, each waited for", n, time.Since(since).Round(time.Second))
	s.grown(t, c, before)
	begin := time.Now()
	n = s.churn(t, false, func(done int) bool { return done < 10_000 })
	t.Logf("%d networks in %s", n, time.Since(begin).Round(time.Second))
	s.grown(t, c, before)
	s.unharmed(t, since)
	s.empty("churn")
}
