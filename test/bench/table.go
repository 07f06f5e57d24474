package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// tables are what has been measured.
type tables struct {
	host   []hostRow
	counts []countRow
	loads  []loadRow
	single []sampleRow
}

// A hostRow is a time that the daemon takes, next to the bar and to LXD.
type hostRow struct {
	what   string
	times  times
	bar    time.Duration // of the median; 0 for none
	lxd    time.Duration // 0 where there is no figure
	lxdHow string        // when the figure of LXD is for another number of networks
}

// A countRow is something that is counted.
type countRow struct{ what, got, bar, lxd string }

// A loadRow is one table that speakers have sent.
type loadRow struct {
	paths, peers int
	got          map[string]load
}

// A sampleRow is a change that several speakers make.
type sampleRow struct {
	what string
	got  map[string]times
}

// times are samples of the same thing.
type times []time.Duration

// at returns the p-th percentile.
func (t times) at(p float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(t))
	return s[max(0, int(math.Ceil(p/100*float64(len(s))))-1)]
}

// text is a time with three digits.
func text(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}

// ratio says how many times a is as long as b.
func ratio(a, b time.Duration) string {
	if a == 0 || b == 0 {
		return ""
	}
	r := float64(a) / float64(b)
	if r >= 100 {
		return fmt.Sprintf("%.0f×", r)
	}
	return fmt.Sprintf("%.2g×", r)
}

// time notes samples of something that the daemon does.
func (t *tables) time(what string, samples times, bar, lxd time.Duration, how string) {
	t.host = append(t.host, hostRow{what, samples, bar, lxd, how})
	fmt.Fprintf(os.Stderr, "  %s: p50 %s, p99 %s (%d)\n", what, text(samples.at(50)), text(samples.at(99)), len(samples))
}

// note notes something that is counted.
func (t *tables) note(what, got, bar, lxd string) {
	t.counts = append(t.counts, countRow{what, got, bar, lxd})
	fmt.Fprintf(os.Stderr, "  %s: %s\n", what, got)
}

// String is what was measured, in Markdown.
func (t *tables) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d cores, %s of memory, Linux %s, %s.\n", runtime.NumCPU(), size(memory()), release(), runtime.Version())
	if len(t.host) > 0 {
		head(&b, "", "p50", "p99", "samples", "at most", "LXD", "LXD / netctl")
		for _, r := range t.host {
			lxd := text(r.lxd)
			if r.lxdHow != "" {
				lxd += " " + r.lxdHow
			}
			row(&b, r.what, text(r.times.at(50)), text(r.times.at(99)), fmt.Sprint(len(r.times)), text(r.bar), lxd, ratio(r.lxd, r.times.at(50)))
		}
	}
	if len(t.counts) > 0 {
		head(&b, "", "netctl", "bar", "LXD")
		for _, r := range t.counts {
			row(&b, r.what, r.got, r.bar, r.lxd)
		}
	}
	t.speakers(&b)
	return b.String()
}

// speakers prints what the speakers have been measured at.
func (t *tables) speakers(b *strings.Builder) {
	if len(t.loads) > 0 {
		head(b, "paths", "peers", "sender", "loaded", "session up → last path", "given the table → last path", "memory", "CPU", "ours / its")
		for _, r := range t.loads {
			for _, s := range senders {
				l, ok := r.got[s]
				if !ok {
					continue
				}
				row(b, fmt.Sprint(r.paths), fmt.Sprint(r.peers), s, text(l.loaded), text(l.sync), text(l.total), size(l.rss), text(l.cpu),
					ratio(r.got[ours].sync, l.sync))
			}
		}
	}
	if len(t.single) > 0 {
		head(b, "one change", "sender", "p50", "p99", "samples", "ours / its")
		for _, r := range t.single {
			for _, s := range senders {
				if v := r.got[s]; len(v) > 0 {
					row(b, r.what, s, text(v.at(50)), text(v.at(99)), fmt.Sprint(len(v)), ratio(r.got[ours].at(50), v.at(50)))
				}
			}
		}
	}
}

// head begins a table.
func head(b *strings.Builder, cells ...string) {
	b.WriteByte('\n')
	row(b, cells...)
	b.WriteString(strings.Repeat("|---", len(cells)) + "|\n")
}

// row prints one row of a table.
func row(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// size is a number of bytes, for people.
func size(n int64) string {
	if n == 0 {
		return ""
	}
	if n >= 1<<30 {
		return fmt.Sprintf("%.3g GB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.3g MB", float64(n)/(1<<20))
}
