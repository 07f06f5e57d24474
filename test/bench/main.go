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
	run        func(*bench)
}

// parts are in the order in which they are measured; the first ones share a
// daemon, on which networks gather.
var parts = []part{
	{"create", "create a network, with few and with many standing", (*bench).create},
	{"change", "change a network, with few and with many standing", (*bench).change},
	{"fill", "create all networks", (*bench).fill},
	{"read", "read networks", (*bench).read},
	{"write", "eight clients that write", (*bench).write},
	{"restart", "restart with all networks in place", (*bench).restart},
	{"boot", "start on a host that has nothing", (*bench).boot},
	{"paths", "synthetic paths through a speaker, to one and to ten peers", (*bench).paths},
	{"single", "one path among many standing", (*bench).one},
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
	failed   bool
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

// within runs what builds a lab of its own, and takes it down again.
func (b *bench) within(f func()) {
	n := len(b.cleanups)
	defer b.clean(n)
	f()
}

// count is n at the scale of this run, but at least least.
func (b *bench) count(n, least int) int { return max(least, int(float64(n)*b.scale)) }

// measure runs the parts. An interrupt takes down what has been built.
func (b *bench) measure(wanted func(string) bool) (code int) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		b.clean(0)
		os.Exit(1)
	}()
	defer lab.RemoveBinaries()
	defer b.clean(0)
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(errFailed); !ok {
				panic(p)
			}
			code = 1
		}
	}()
	last := slices.IndexFunc(parts, func(p part) bool { return p.name == "paths" })
	for i, p := range parts {
		if i == last {
			b.site = nil
			b.clean(0)
		}
		if wanted(p.name) {
			b.Logf("%s: %s", p.name, p.what)
			p.run(b)
		}
	}
	return code
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
