package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A usage is what a process has used.
type usage struct {
	rss, peak int64         // bytes
	cpu       time.Duration // of all its threads
}

// usageOf reads proc(5).
func usageOf(pid int) usage {
	var u usage
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			u.rss = n << 10
		case "VmHWM:":
			u.peak = n << 10
		}
	}
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if i := bytes.LastIndexByte(stat, ')'); i > 0 {
		f := strings.Fields(string(stat[i+1:]))
		if len(f) > 12 {
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			u.cpu = time.Duration(user+system) * (time.Second / clockTick)
		}
	}
	return u
}

// clockTick is sysconf(_SC_CLK_TCK), which is the same on all of Linux.
const clockTick = 100

// memory returns how much memory the machine has.
func memory() int64 {
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) != nil {
		return 0
	}
	return int64(i.Totalram) * int64(i.Unit)
}

// release returns the version of the kernel, without what its builder added.
func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	version, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	return version
}

// profileVar names the directory for profiles to the processes that are
// measured.
const profileVar = "NETCTL_BENCH_PROFILE"

// profiling has this program take the place of netctld, so that it can be
// profiled: the daemon itself has no such switch.
func profiling(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	link := filepath.Join(dir, "netctld")
	_ = os.Remove(link)
	if err := os.Symlink(self, link); err != nil {
		return err
	}
	if err := os.Setenv("NETCTL_BIN", dir); err != nil {
		return err
	}
	return os.Setenv(profileVar, dir)
}

// profiled runs a process that is measured, and writes its profiles when they
// are asked for.
func profiled(run func() int) int {
	dir := os.Getenv(profileVar)
	if dir == "" {
		return run()
	}
	name := filepath.Join(dir, fmt.Sprintf("%s-%d", filepath.Base(os.Args[0]), os.Getpid()))
	cpu, err := os.Create(name + ".cpu")
	if err == nil {
		err = pprof.StartCPUProfile(cpu)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "profile:", err)
		return 1
	}
	code := run()
	pprof.StopCPUProfile()
	if heap, err := os.Create(name + ".heap"); err == nil {
		_ = pprof.Lookup("heap").WriteTo(heap, 0)
		_ = heap.Close()
	}
	_ = cpu.Close()
	return code
}
