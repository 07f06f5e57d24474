// Bench measures netctl next to BIRD and GoBGP, in one run on one machine, and
// prints what it found as tables in Markdown. Everything runs in network
// namespaces that it makes and removes. It needs root.
//
// What is measured, from which moment to which, is said by each row; the
// moments are those at which the kernel or the log of the router at the other
// end of the session tells of a change, so that nothing is polled that would
// be slowed down by being asked.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"

	"netctl/daemon"
	"netctl/test/lab"
)

func main() {
	if filepath.Base(os.Args[0]) == "netctld" {
		os.Exit(profiled(func() int { return daemon.Main(os.Args[1:], os.Stderr) }))
	}
	if len(os.Args) == 2 && os.Args[1] == agentArg {
		os.Exit(profiled(serveAgent))
	}
	os.Exit(command())
}

// A part is a group of rows that are measured together.
type part struct {
	name, what string
	title      string // of its tables
	run        func(*bench)
	// site names the daemon that it shares with the parts next to it that name
	// the same, and on which networks or instances gather; empty for none.
	site string
}

// Titles of tables.
const (
	networks = "Networks"
	guestly  = "Instances and forwards"
	speakers = "The speaker"
)

// parts are in the order in which they are measured.
var parts = []part{
	{"create", "create a network, with few and with many standing", networks, (*bench).create, "networks"},
	{"change", "change a network, with few and with many standing", networks, (*bench).change, "networks"},
	{"fill", "create all networks", networks, (*bench).fill, "networks"},
	{"read", "read networks", networks, (*bench).read, "networks"},
	{"write", "eight clients that write", networks, (*bench).write, "networks"},
	{"restart", "restart with all networks in place", networks, (*bench).restart, "networks"},
	{"boot", "start on a host that has nothing", networks, (*bench).boot, "networks"},
	{"cycles", "create and delete networks, again and again", networks, (*bench).cycles, ""},
	{"live", "start, change and stop an instance, with none and with many running", guestly, (*bench).live, "instances"},
	{"crowd", "start all instances", guestly, (*bench).populated, "instances"},
	{"list", "read instances", guestly, (*bench).list, "instances"},
	{"resume", "restart with all instances running", guestly, (*bench).resume, "instances"},
	{"forwards", "add forwards one by one", guestly, (*bench).forwards, ""},
	{"paths", "synthetic paths through a speaker, to one and to ten peers", speakers, (*bench).paths, ""},
	{"single", "one path among many standing", speakers, (*bench).one, ""},
}

func command() int {
	b := &bench{dir: os.TempDir()}
	flag.Float64Var(&b.scale, "scale", 1, "multiply the numbers of networks, paths and samples")
	only := flag.String("only", "", "measure only the parts whose names match this regular expression")
	out := flag.String("o", "", "write the tables to this file too")
	profile := flag.String("profile", "", "put CPU and heap profiles of the measured processes into this directory")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "usage: bench [flags]\n\nParts:")
		for _, p := range parts {
			_, _ = fmt.Fprintf(flag.CommandLine.Output(), "  %-8s %s\n", p.name, p.what)
		}
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "\nFlags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	want, err := regexp.Compile("^(" + *only + ")$")
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench: -only:", err)
		return 2
	}
	if *profile != "" {
		if err := profiling(*profile); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "bench: -profile:", err)
			return 2
		}
	}
	code := b.measure(func(name string) bool { return *only == "" || want.MatchString(name) })
	b.print(os.Stdout)
	if *out != "" {
		if err := b.save(*out); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
			code = 1
		}
	}
	return code
}

// A bench is the lab.TB of this program, and what it has measured.
type bench struct {
	tables
	dir   string
	scale float64
	site  *site

	mu       sync.Mutex
	cleanups []func()
	failed   bool // what is being measured now
	lost     bool // something has failed
}

// errFailed unwinds the measurement after Fatalf.
type errFailed struct{}

// Helper is part of lab.TB.
func (b *bench) Helper() {}

// Cleanup is part of lab.TB.
func (b *bench) Cleanup(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cleanups = append(b.cleanups, f)
}

// Logf is part of lab.TB.
func (b *bench) Logf(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// Failed is part of lab.TB.
func (b *bench) Failed() bool { return b.failed }

// TempDir is part of lab.TB.
func (b *bench) TempDir() string { return b.dir }

// Fatalf is part of lab.TB.
func (b *bench) Fatalf(format string, args ...any) {
	b.failed = true
	b.Logf("bench: "+format, args...)
	panic(errFailed{})
}

// clean undoes what has been built since there were n cleanups.
func (b *bench) clean(n int) {
	for {
		b.mu.Lock()
		if len(b.cleanups) <= n {
			b.mu.Unlock()
			return
		}
		last := b.cleanups[len(b.cleanups)-1]
		b.cleanups = b.cleanups[:len(b.cleanups)-1]
		b.mu.Unlock()
		last()
	}
}

// within runs what may build a lab, takes that down again, and reports whether
// it went well. What fails costs its own figures only.
func (b *bench) within(f func()) (ok bool) {
	n := len(b.cleanups)
	defer func() {
		p := recover()
		b.clean(n)
		if _, failed := p.(errFailed); p != nil && !failed {
			panic(p)
		}
		ok = !b.failed
		b.lost, b.failed = b.lost || b.failed, false
	}()
	f()
	return true
}

// count is n at the scale of this run, but at least least.
func (b *bench) count(n, least int) int { return max(least, int(float64(n)*b.scale)) }

// measure runs the parts. An interrupt takes down what has been built.
func (b *bench) measure(wanted func(string) bool) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		b.clean(0)
		os.Exit(1)
	}()
	defer lab.RemoveBinaries()
	left := slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return !wanted(p.name) })
	for len(left) > 0 {
		b.within(func() {
			defer func() { b.site = nil }()
			for len(left) > 0 {
				p := left[0]
				left = left[1:]
				b.title = p.title
				b.Logf("%s: %s", p.name, p.what)
				p.run(b)
				if p.site == "" || len(left) > 0 && left[0].site != p.site {
					return
				}
			}
		})
	}
	if b.lost {
		return 1
	}
	return 0
}

// save writes the tables to a file.
func (b *bench) save(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	b.print(f)
	return f.Close()
}

func (b *bench) print(w io.Writer) { _, _ = io.WriteString(w, b.String()) }
