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

// A table is what has been measured in one way.
type table struct {
	title string
	head  []string
	rows  [][]string
}

// tables are what has been measured, in the order in which it was.
type tables struct {
	title string // of what is being measured
	all   []*table
}

// row adds a row to the table with these columns under the present title.
func (t *tables) row(head []string, cells ...string) {
	i := slices.IndexFunc(t.all, func(o *table) bool { return o.title == t.title && slices.Equal(o.head, head) })
	if i < 0 {
		// Tables with the same title stay together.
		i = len(t.all)
		for i > 0 && t.all[i-1].title != t.title && slices.ContainsFunc(t.all[:i], func(o *table) bool { return o.title == t.title }) {
			i--
		}
		t.all = slices.Insert(t.all, i, &table{title: t.title, head: head})
	}
	t.all[i].rows = append(t.all[i].rows, cells)
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

// The columns of what the daemon is measured at, and of what it is counted at.
var (
	timeHead  = []string{"", "p50", "p99", "samples", "goal", "LXD", "LXD / netctl"}
	countHead = []string{"", "netctl", "goal", "LXD"}
)

// time notes samples of something that the daemon does. The goal, and what LXD
// takes, are 0 where there is none; how says for how many networks LXD's
// figure is, if it is for another number.
func (t *tables) time(what string, samples times, goal, lxd time.Duration, how string) {
	p50, p99 := samples.at(50), samples.at(99)
	t.row(timeHead, what, text(p50), text(p99), fmt.Sprint(len(samples)), text(goal), strings.TrimSpace(text(lxd)+" "+how), ratio(lxd, p50))
	fmt.Fprintf(os.Stderr, "  %s: p50 %s, p99 %s (%d)\n", what, text(p50), text(p99), len(samples))
}

// note notes something that is counted.
func (t *tables) note(what, got, goal, lxd string) {
	t.row(countHead, what, got, goal, lxd)
	fmt.Fprintf(os.Stderr, "  %s: %s\n", what, got)
}

// String is what was measured, in Markdown.
func (t *tables) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d cores, %s of memory, Linux %s, %s.\n", runtime.NumCPU(), size(memory()), release(), runtime.Version())
	title := ""
	for _, o := range t.all {
		if o.title != title {
			title = o.title
			fmt.Fprintf(&b, "\n## %s\n", title)
		}
		fmt.Fprintf(&b, "\n| %s |\n%s|\n", strings.Join(o.head, " | "), strings.Repeat("|---", len(o.head)))
		for _, cells := range o.rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
		}
	}
	return b.String()
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
