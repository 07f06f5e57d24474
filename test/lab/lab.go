// Package lab builds networks of Linux namespaces with real routers and
// clients in them, for tests, benchmarks and the demo.
//
// Everything that a [Lab] makes is gone when its test ends, also when it
// fails; what a killed test process left behind is removed by the next one.
// Labs of different tests and processes do not collide. All traffic stays in
// the namespaces that the lab made.
package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
)

// TB is the part of testing.TB that a lab needs.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	TempDir() string
}

// A Lab is a set of namespaces and processes.
type Lab struct {
	TB
	// Dir holds the files of the lab's processes. Its path is short enough
	// for unix sockets.
	Dir string

	prefix string
}

var (
	seq   atomic.Int64
	sweep sync.Once
)

const nsPrefix = "nl"

// New returns an empty lab. It fails the test when a tool is missing or the
// test does not run as root.
func New(t TB, tools ...string) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatalf("lab: needs root")
	}
	for _, tool := range append([]string{"ip", "nsenter"}, tools...) {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("lab: %v; run make deps", err)
		}
	}
	sweep.Do(removeStale)
	dir, err := os.MkdirTemp("", "nl")
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	// Routers drop their privileges and must still reach their files.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatalf("lab: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &Lab{TB: t, Dir: dir, prefix: fmt.Sprintf("%s%d-%d-", nsPrefix, os.Getpid(), seq.Add(1))}
}

// removeStale deletes the namespaces of test processes that are gone.
func removeStale() {
	entries, _ := os.ReadDir("/run/netns")
	for _, e := range entries {
		pid, _, ok := strings.Cut(strings.TrimPrefix(e.Name(), nsPrefix), "-")
		n, err := strconv.Atoi(pid)
		if !ok || err != nil || !strings.HasPrefix(e.Name(), nsPrefix) || syscall.Kill(n, 0) == nil {
			continue
		}
		deleteNS(e.Name())
	}
}

// deleteNS kills what runs in a namespace and removes it.
func deleteNS(name string) {
	out, _ := exec.Command("ip", "netns", "pids", name).Output()
	for f := range strings.FieldsSeq(string(out)) {
		if pid, err := strconv.Atoi(f); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	_ = exec.Command("ip", "netns", "del", name).Run()
}

// An NS is a network namespace: one host of the lab.
type NS struct {
	Lab  *Lab
	Name string // as the test calls it
	Full string // as "ip netns" calls it
}

// NS makes a namespace with its loopback up.
func (l *Lab) NS(name string) *NS {
	l.Helper()
	ns := &NS{Lab: l, Name: name, Full: l.prefix + name}
	if out, err := exec.Command("ip", "netns", "add", ns.Full).CombinedOutput(); err != nil {
		l.Fatalf("ip netns add %s: %v: %s", ns.Full, err, out)
	}
	l.Cleanup(func() { deleteNS(ns.Full) })
	ns.Run("ip", "link", "set", "lo", "up")
	return ns
}

// Later returns the namespace of a name, for an instance to make it, which has
// to be called by its full name.
func (l *Lab) Later(name string) *NS {
	return &NS{Lab: l, Name: name, Full: l.Instance(name)}
}

// Link connects two namespaces with a veth pair, both ends up.
func (l *Lab) Link(a *NS, aDev string, b *NS, bDev string) {
	l.Helper()
	a.Run("ip", "link", "add", aDev, "type", "veth", "peer", "name", bDev, "netns", b.Full)
	a.Run("ip", "link", "set", aDev, "up")
	b.Run("ip", "link", "set", bDev, "up")
}

// Instance returns a name for an instance of a daemon of the lab. All hosts of
// all labs share the directory of network namespaces, and an instance has one of
// its name there; what is left of it is deleted with the lab.
func (l *Lab) Instance(name string) string {
	full := l.prefix + name
	l.Cleanup(func() {
		if _, err := os.Stat("/run/netns/" + full); err == nil {
			deleteNS(full)
		}
	})
	return full
}

// Addr adds addresses to an interface, without duplicate address detection.
func (ns *NS) Addr(dev string, prefixes ...string) {
	ns.Lab.Helper()
	for _, p := range prefixes {
		args := []string{"addr", "add", p, "dev", dev}
		if strings.Contains(p, ":") {
			args = append(args, "nodad")
		}
		ns.Run("ip", args...)
	}
}

// Sysctl sets a kernel setting, named by its path below /proc/sys.
func (ns *NS) Sysctl(key, value string) {
	ns.Lab.Helper()
	ns.Run("sh", "-c", `printf %s "$2" >"/proc/sys/$1"`, "sh", key, value)
}

// Forward turns on forwarding, as on a router.
func (ns *NS) Forward() {
	ns.Lab.Helper()
	ns.Sysctl("net/ipv4/ip_forward", "1")
	ns.Sysctl("net/ipv6/conf/all/forwarding", "1")
}

// Command returns a command that will run in the namespace. It sees the
// host's file system, and namespaces and mounts that it makes are visible to
// others.
func (ns *NS) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + ns.Full, "--", name}, args...)...)
}

// Do runs f in the namespace. Sockets that f opens belong to the namespace
// wherever they are used later; f must not start goroutines that open any.
func (ns *NS) Do(f func()) {
	ns.Lab.Helper()
	if err := ns.do(f); err != nil {
		ns.Lab.Fatalf("%s: enter: %v", ns.Name, err)
	}
}

func (ns *NS) do(f func()) (err error) {
	there, err := netns.GetFromName(ns.Full)
	if err != nil {
		return err
	}
	defer there.Close()
	runtime.LockOSThread()
	here, err := netns.Get()
	if err != nil {
		return err
	}
	defer here.Close()
	if err := netns.Set(there); err != nil {
		return err
	}
	defer func() {
		if err = netns.Set(here); err == nil {
			runtime.UnlockOSThread()
		}
	}()
	f()
	return nil
}

// Try runs a command in the namespace and returns its standard output.
func (ns *NS) Try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := ns.Command(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %s %s: %w: %s%s", ns.Name, name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// Run is Try that fails the test.
func (ns *NS) Run(name string, args ...string) string {
	ns.Lab.Helper()
	out, err := ns.Try(name, args...)
	if err != nil {
		ns.Lab.Fatalf("%v", err)
	}
	return out
}

// A Proc is a process in the background. It is killed when the test ends, and
// what it printed is logged when the test failed.
type Proc struct {
	Cmd *exec.Cmd
	Log string // path of the file that holds its output

	done chan struct{}
	err  error
}

// Start runs a command in the background of the namespace.
func (ns *NS) Start(name string, args ...string) *Proc {
	ns.Lab.Helper()
	return ns.StartEnv(nil, name, args...)
}

// StartEnv is Start with variables added to the environment.
func (ns *NS) StartEnv(env []string, name string, args ...string) *Proc {
	l := ns.Lab
	l.Helper()
	f, err := os.CreateTemp(l.Dir, ns.Name+"-"+filepath.Base(name)+"-*.log")
	if err != nil {
		l.Fatalf("lab: %v", err)
	}
	defer f.Close()
	cmd := ns.Command(context.Background(), name, args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &Proc{Cmd: cmd, Log: f.Name(), done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		l.Fatalf("start %s: %v", name, err)
	}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	l.Cleanup(func() {
		// What an ended one has left behind dies with its namespace: its
		// number may be another's by now.
		if !p.Exited() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		<-p.done
		if l.Failed() {
			out, _ := os.ReadFile(p.Log)
			if len(out) > 20000 {
				out = out[len(out)-20000:]
			}
			l.Logf("%s: %s %s:\n%s", ns.Name, name, strings.Join(args, " "), out)
		}
	})
	return p
}

// Output returns what the process has printed so far.
func (p *Proc) Output() string {
	out, _ := os.ReadFile(p.Log)
	return string(out)
}

// Signal sends a signal to the process, or does nothing when it has ended.
func (p *Proc) Signal(s syscall.Signal) { _ = p.Cmd.Process.Signal(s) }

// Wait waits for the process to end, and returns how it did.
func (p *Proc) Wait(timeout time.Duration) error {
	select {
	case <-p.done:
		return p.err
	case <-time.After(timeout):
		return fmt.Errorf("%s still runs after %s", p.Cmd.Path, timeout)
	}
}

// Exited reports whether the process has ended.
func (p *Proc) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Eventually waits until check returns nil, and fails the test with its last
// error when that takes longer than timeout.
func (l *Lab) Eventually(timeout time.Duration, what string, check func() error) {
	l.Helper()
	deadline := time.Now().Add(timeout)
	for delay := 5 * time.Millisecond; ; delay = min(2*delay, 100*time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("%s: not within %s: %v", what, timeout, err)
		}
		time.Sleep(delay)
	}
}
