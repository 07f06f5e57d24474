package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"netctl/api"
)

// full returns the site with all networks.
func (b *bench) full() *site { return b.at(b.count(manyNetworks, 10)) }

// fill tells how long all networks took, and what they cost.
func (b *bench) fill() {
	s := b.full()
	f := s.filled
	b.time(fmt.Sprintf("%d networks, %d clients: all accepted", f.networks, writers), times{f.accepted}, 0, 0, "")
	b.time(fmt.Sprintf("%d networks, %d clients: all at the peer, all dnsmasq running", f.networks, writers), times{f.done}, 0, 0, "")
	services := len(s.services())
	b.note(fmt.Sprintf("dnsmasq that run for %d networks", s.networks), fmt.Sprint(services), fmt.Sprint((s.networks+1)/2), "stops at 124")
	u := usageOf(s.proc.Cmd.Process.Pid)
	b.note(fmt.Sprintf("Memory of netctld with %d networks (and at most)", s.networks), fmt.Sprintf("%s (%s)", size(u.rss), size(u.peak)), "100 MB", "")
}

// get reads a path of the API to its end and returns how long that took.
func (s *site) get(c *http.Client, path string) time.Duration {
	s.Helper()
	began := time.Now()
	resp, err := c.Get("http://netctl" + path)
	if err != nil {
		s.Fatalf("%v", err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || n == 0 {
		s.Fatalf("GET %s: %s, %v", path, resp.Status, err)
	}
	return time.Since(began)
}

// raw returns a client that does not look at what it gets.
func (s *site) raw() *http.Client {
	socket := filepath.Join(s.dir, "unix.socket")
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
}

// read measures the reading of networks, in between writes too.
func (b *bench) read() {
	s := b.full()
	c := s.raw()
	defer c.CloseIdleConnections()
	const all = "/1.0/networks?recursion=1"
	s.get(c, all)
	var list, after, single times
	for range b.count(50, 5) {
		list = append(list, s.get(c, all))
	}
	for i := range b.count(50, 5) {
		s.describe(standing(i%s.networks), fmt.Sprint("read ", i))
		after = append(after, s.get(c, all))
	}
	for i := range b.count(1000, 20) {
		single = append(single, s.get(c, "/1.0/networks/"+standing(i%s.networks).name))
	}
	b.time(fmt.Sprintf("`GET /1.0/networks?recursion=1`, %d networks", s.networks), list, 50*time.Millisecond, lxdRead, "(200)")
	b.time(fmt.Sprintf("the same, each right after a write, %d networks", s.networks), after, 50*time.Millisecond, lxdRead, "(200)")
	b.time(fmt.Sprintf("`GET /1.0/networks/NAME`, %d networks", s.networks), single, 2*time.Millisecond, 0, "")
}

// describe changes the description of a network, which concerns nobody else.
func (s *site) describe(n spec, text string) {
	s.Helper()
	if _, err := s.client.PatchNetwork(context.Background(), n.name, api.NetworkPatch{Description: &text}, ""); err != nil {
		s.Fatalf("%v", err)
	}
}

// write measures how many writes are accepted when several clients write.
func (b *bench) write() {
	s := b.full()
	n := b.count(2000, 50)
	for _, kind := range []struct {
		what   string
		config func(i int) map[string]string
	}{
		{"a key of the user", func(i int) map[string]string { return map[string]string{"user.bench": fmt.Sprint(i)} }},
		{"the next hop", func(i int) map[string]string {
			return map[string]string{"bgp.ipv4.nexthop": fmt.Sprintf("192.0.2.%d", 50+i%150)}
		}},
	} {
		var revision atomic.Int64
		began := time.Now()
		s.together(0, n, func(i int) error {
			rev, err := s.patch(standing(i%s.networks), kind.config(i))
			revision.Store(max(revision.Load(), rev))
			return err
		})
		took := time.Since(began)
		s.must(revision.Load(), nil)
		b.note(fmt.Sprintf("Writes accepted per second, %d clients, %s, %d networks", writers, kind.what, s.networks),
			fmt.Sprintf("%.0f", float64(n)/took.Seconds()), "≥ 300", "")
		b.time(fmt.Sprintf("%d of these: all applied", n), times{time.Since(began)}, 0, 0, "")
	}
}

// restart measures a restart with all networks in place.
func (b *bench) restart() {
	s := b.full()
	s.other()
	b.restarts(s, fmt.Sprintf("%d networks", s.networks), lxdRestart, "(100)")
}

// restarts restarts the daemon of a site with both signals. What says what is
// in place, and lxd what LXD takes with how many networks.
func (b *bench) restarts(s *site, what string, lxd time.Duration, how string) {
	for _, kind := range []struct {
		name string
		sig  syscall.Signal
	}{{"SIGTERM", syscall.SIGTERM}, {"SIGKILL", syscall.SIGKILL}} {
		var up, end, ready times
		var t tally
		flushed := 0
		for range b.count(5, 1) {
			r := s.restartOnce(kind.sig)
			up, end, ready = append(up, r.up), append(end, r.end), append(ready, r.ready)
			t.link, t.nf, t.services, flushed = t.link+r.tally.link, t.nf+r.tally.nf, t.services+r.tally.services, flushed+r.flushed
		}
		after := fmt.Sprintf(" after %s, %s", kind.name, what)
		b.time("exec → both sessions up"+after, up, 0, 0, "")
		b.time("exec → End-of-RIB of both families at both peers"+after, end, 3*time.Second, lxd, how)
		b.time("exec → ready"+after, ready, 3*time.Second, 0, "")
		b.note(fmt.Sprintf("Changes of links, their settings, addresses and routes / of nftables / dnsmasq restarted in %d restarts%s", len(up), after),
			fmt.Sprintf("%d / %d / %d", t.link, t.nf, t.services), "0 / 0 / 0", "all is set up again")
		b.note(fmt.Sprintf("Routes flushed at the peers in %d restarts%s", len(up), after), fmt.Sprint(flushed), "0", "all")
	}
}

// A restarted is what came of one restart.
type restarted struct {
	up, end, ready time.Duration
	tally          tally
	flushed        int
}

// restartOnce ends the daemon with a signal and starts it again.
func (s *site) restartOnce(sig syscall.Signal) restarted {
	s.Helper()
	w := s.witness()
	since := time.Now()
	s.stop(sig)
	began := s.start()
	r := restarted{ready: s.ready(began)}
	for i := range s.router {
		up, end := s.settled(i, began)
		r.up, r.end = max(r.up, up), max(r.end, end)
	}
	r.tally = w.end()
	for _, m := range s.mon {
		r.flushed += len(m.Deletes(since, nil)) + len(m.Withdrawn(since, nil))
	}
	return r
}

// settled waits until a router has heard the End-of-RIB of both families since
// a time, and returns how long after it the session was up, and the last one
// came.
func (s *site) settled(router int, since time.Time) (up, end time.Duration) {
	s.Helper()
	s.Eventually(patience, "End-of-RIB", func() error {
		ends := 0
		up, end = 0, 0
		for line := range strings.Lines(s.router[router].Log()) {
			at, rest, ok := birdLine(line)
			switch {
			case !ok || at.Before(since):
			case strings.Contains(rest, "State changed to up"):
				up, ends = at.Sub(since), 0
			case strings.Contains(rest, "Got END-OF-RIB"):
				end = at.Sub(since)
				ends++
			}
		}
		if ends < 2 {
			return fmt.Errorf("%d of 2", ends)
		}
		return nil
	})
	return up, end
}

// birdLine takes a line of BIRD's log apart.
func birdLine(line string) (at time.Time, rest string, ok bool) {
	const stamp = "2006-01-02 15:04:05.000000"
	if len(line) < len(stamp) {
		return time.Time{}, "", false
	}
	at, err := time.ParseInLocation(stamp, line[:len(stamp)], time.Local)
	return at, line[len(stamp):], err == nil
}

// boot measures a start on a host on which nothing is left of the networks.
func (b *bench) boot() {
	s := b.full()
	var ready, all times
	var u usage
	for range b.count(3, 1) {
		s.stop(syscall.SIGKILL)
		s.killServices()
		for _, n := range s.links() {
			s.host.Run("ip", "link", "del", n)
		}
		s.host.Run("nft", "flush", "ruleset")
		for i := range s.router {
			s.router[i].Stop()
			s.router[i].Start()
		}
		began := s.start()
		ready = append(ready, s.ready(began))
		s.everywhere()
		all = append(all, time.Since(began))
		u = usageOf(s.proc.Cmd.Process.Pid)
	}
	b.time(fmt.Sprintf("exec → ready on an empty host, %d networks", s.networks), ready, 0, 0, "")
	b.time(fmt.Sprintf("exec → all at the peer and all dnsmasq running, %d networks", s.networks), all, 0, 0, "")
	b.note(fmt.Sprintf("dnsmasq that run after it, for %d networks", s.networks), fmt.Sprint(len(s.services())), "all", "stops at 124")
	b.note(fmt.Sprintf("Memory of netctld after it, with %d networks (and at most)", s.networks), fmt.Sprintf("%s (%s)", size(u.rss), size(u.peak)), "100 MB", "")
}

// links returns the bridges of the host.
func (s *site) links() []string {
	s.Helper()
	var names []string
	for line := range strings.Lines(s.host.Run("ip", "-o", "link", "show", "type", "bridge")) {
		if f := strings.Fields(line); len(f) > 1 {
			names = append(names, strings.TrimSuffix(f[1], ":"))
		}
	}
	return names
}
