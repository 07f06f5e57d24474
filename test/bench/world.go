package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"netctl/test/lab"
)

// A world is a host for a sender, and BIRD routers that hear it, each on a
// link of its own.
type world struct {
	*lab.Lab
	host      *lab.NS
	receivers []*receiver
	sender    sender
}

// A receiver is a router that logs nothing but its session and the messages on
// it, and puts nothing but the probe into the kernel.
type receiver struct {
	w           *world
	ns          *lab.NS
	addr, local netip.Addr // of the session; local is the sender's
	log, ctl    string
	routes      *routes
}

func newWorld(b *bench, peers int) *world {
	l := lab.New(b, "bird", "gobgpd")
	w := &world{Lab: l, host: l.NS("host")}
	for i := range peers {
		a := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 255, byte(i + 1), last}) }
		r := &receiver{w: w, ns: l.NS(fmt.Sprintf("r%d", i)), addr: a(2), local: a(1)}
		dev := fmt.Sprintf("eth%d", i)
		l.Link(w.host, dev, r.ns, "eth0")
		w.host.Addr(dev, r.local.String()+"/24")
		r.ns.Addr("eth0", r.addr.String()+"/24")
		file := func(kind string) string { return filepath.Join(l.Dir, fmt.Sprintf("receiver%d.%s", i, kind)) }
		r.log, r.ctl = file("log"), file("ctl")
		w.write(file("conf"), fmt.Sprintf(`log %q all;
router id %s;
timeformat log iso long us;
protocol device {}
protocol kernel { ipv4 { import none; export where net = %s; }; }
protocol bgp p {
  debug { states, packets };
  local %s as %d; neighbor %s as %d; graceful restart on;
  connect delay time 1; connect retry time 1; error wait time 1, 1; error forget time 2;
  ipv4 { import all; export none; };
}
`, r.log, r.addr, probe, r.addr, routerASN, r.local, hostASN))
		r.ns.Start("bird", "-f", "-c", file("conf"), "-s", r.ctl, "-P", file("pid"))
		r.routes = watchRoutes(l, r.ns)
		w.receivers = append(w.receivers, r)
	}
	return w
}

// heard waits until a receiver has the whole table, and returns when its
// session came up, and when the table was complete.
func (r *receiver) heard(n int) (up, complete time.Time) {
	r.w.Helper()
	var f *os.File
	r.w.Eventually(patience, "log", func() (err error) {
		f, err = os.Open(r.log)
		return err
	})
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	deadline := time.Now().Add(5 * patience)
	part := ""
	for complete.IsZero() {
		line, err := in.ReadString('\n')
		if part += line; err != nil {
			switch {
			case usageOf(r.w.sender.pid()).rss == 0:
				r.w.Fatalf("the sender has ended")
			case available() < 1<<30:
				r.w.Fatalf("%s: the table is not complete, and %s of memory are left", r.ns.Name, size(available()))
			case time.Now().After(deadline):
				r.w.Fatalf("%s: the table is not complete", r.ns.Name)
			}
			time.Sleep(5 * time.Millisecond)
			continue
		}
		at, rest, _ := birdLine(part)
		part = ""
		if strings.Contains(rest, "State changed to up") {
			up = at
		} else if strings.Contains(rest, "Got END-OF-RIB") {
			complete = at
		}
	}
	if have := r.count(); have != n {
		r.w.Fatalf("%s: %d paths at End-of-RIB, want %d", r.ns.Name, have, n)
	}
	return up, complete
}

var counted = regexp.MustCompile(`(\d+) of (\d+) routes`)

// count asks a receiver how many paths it has.
func (r *receiver) count() int {
	r.w.Helper()
	out := r.ns.Run("birdc", "-s", r.ctl, "show route count")
	m := counted.FindStringSubmatch(out)
	if m == nil {
		r.w.Fatalf("%s: %s", r.ns.Name, out)
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// available is how much memory could be had.
func available() int64 {
	b, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemAvailable:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// A load is how one table was sent.
type load struct {
	loaded time.Duration // until it was all given to the sender
	sync   time.Duration // from a session's beginning to its last path, at the slowest peer
	total  time.Duration // from the beginning to the last path at the last peer
	rss    int64         // at most
	cpu    time.Duration
}

var (
	loadHead = []string{
		"paths", "peers", "sender", "loaded", "session up → last path", "given the table → last path", "memory", "CPU", "ours / its",
	}
	singleHead = []string{"one change", "sender", "p50", "p99", "samples", "ours / its"}
)

// paths measures tables of three sizes, to one peer and to ten.
func (b *bench) paths() {
	for _, peers := range []int{1, 10} {
		for _, full := range []int{10_000, 100_000, 1_000_000} {
			n := b.count(full, 100)
			var own time.Duration
			for _, name := range senders {
				var l load
				if !b.within(func() { l = b.loadOnce(name, n, peers) }) {
					b.row(loadHead, fmt.Sprint(n), fmt.Sprint(peers), name, "failed", "", "", "", "", "")
					continue
				}
				if name == ours {
					own = l.sync
				}
				b.row(loadHead, fmt.Sprint(n), fmt.Sprint(peers), name, text(l.loaded), text(l.sync), text(l.total),
					size(l.rss), text(l.cpu), ratio(own, l.sync))
				b.Logf("  %d paths, %d peers, %s: loaded %s, sync %s, total %s, %s, CPU %s",
					n, peers, name, text(l.loaded), text(l.sync), text(l.total), size(l.rss), text(l.cpu))
			}
		}
	}
}

// loadOnce has one sender tell all receivers its table.
func (b *bench) loadOnce(name string, n, peers int) load {
	w := newWorld(b, peers)
	w.start(name, n)
	given, loaded := w.sender.load()
	var l load
	for _, r := range w.receivers {
		up, complete := r.heard(n)
		l.sync, l.total = max(l.sync, complete.Sub(up)), max(l.total, complete.Sub(given))
	}
	u := usageOf(w.sender.pid())
	l.rss, l.cpu = u.peak, u.cpu
	if !loaded.IsZero() {
		l.loaded = loaded.Sub(given)
	}
	return l
}

// one measures one path that comes and goes while many stand.
func (b *bench) one() {
	n := b.count(50_000, 100)
	for _, peers := range []int{1, 10} {
		got := map[string][2]times{}
		for _, name := range senders {
			b.within(func() {
				added, gone := b.singleOnce(name, n, peers)
				got[name] = [2]times{added, gone}
				b.Logf("  %s, %d peers: announced %s, withdrawn %s", name, peers, text(added.at(50)), text(gone.at(50)))
			})
		}
		for i, verb := range []string{"announced", "withdrawn"} {
			what := fmt.Sprintf("%s, %d standing, to the last of %d peers", verb, n, peers)
			own := got[ours][i].at(50)
			for _, name := range senders {
				t := got[name][i]
				b.row(singleHead, what, name, text(t.at(50)), text(t.at(99)), fmt.Sprint(len(t)), ratio(own, t.at(50)))
			}
		}
	}
}

// singleOnce has one sender announce and withdraw a path again and again.
func (b *bench) singleOnce(name string, n, peers int) (added, gone times) {
	w := newWorld(b, peers)
	w.start(name, n)
	w.sender.load()
	for _, r := range w.receivers {
		r.heard(n)
	}
	for i := range 2 * b.count(200, 5) {
		present := i%2 == 0
		var at []<-chan time.Time
		for _, r := range w.receivers {
			if present {
				at = append(at, r.routes.expect(probe, netip.Addr{}))
			} else {
				at = append(at, r.routes.expectGone(probe))
			}
		}
		began := w.sender.change(present)
		var took time.Duration
		for _, c := range at {
			took = max(took, receive(w.Lab, "the probe", c).Sub(began))
		}
		if present {
			added = append(added, took)
		} else {
			gone = append(gone, took)
		}
	}
	return added, gone
}
