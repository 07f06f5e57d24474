package daemon

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"netctl/api"
)

// netnsDir is where ip-netns(8) keeps network namespaces.
const netnsDir = "/run/netns"

// findNetns returns the network namespace that a request names: one that
// exists, by a name below /run/netns or a path, or that of a process. With
// neither it is none.
func findNetns(typ, netns string, pid int) (storedNetns, error) {
	switch {
	case netns == "" && pid == 0:
		return storedNetns{}, nil
	case typ == api.VirtualMachine:
		return storedNetns{}, api.Errorf(api.Invalid, "netns, pid: only a container has a network namespace; the NICs of a virtual machine are taps")
	case netns != "" && pid != 0:
		return storedNetns{}, api.Errorf(api.Invalid, "netns=%s, pid=%d: name the network namespace in one of the two ways", netns, pid)
	case pid != 0:
		start, err := processStart(pid)
		if err != nil {
			return storedNetns{}, api.Errorf(api.Invalid, "pid=%d: there is no such process", pid)
		}
		return storedNetns{PID: pid, Start: start}, nil
	}
	path := netns
	if !strings.Contains(netns, "/") {
		path = filepath.Join(netnsDir, netns)
	}
	path = filepath.Clean(path)
	if !filepath.IsAbs(path) {
		return storedNetns{}, api.Errorf(api.Invalid, "netns=%s: neither a name below %s nor an absolute path", netns, netnsDir)
	}
	if err := checkNetns(path); err != nil {
		return storedNetns{}, api.Errorf(api.Invalid, "netns=%s: %w", netns, err)
	}
	if name, ok := strings.CutPrefix(strings.TrimPrefix(path, "/var"), netnsDir+"/"); ok && !strings.Contains(name, "/") {
		return storedNetns{Name: name}, nil
	}
	return storedNetns{Path: path}, nil
}

// checkNetns refuses a file that is not a namespace.
func checkNetns(path string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return &os.PathError{Op: "look at", Path: path, Err: err}
	}
	if fs.Type != unix.NSFS_MAGIC {
		return fmt.Errorf("%s is not a network namespace", path)
	}
	return nil
}

// processStart returns when a process was started, in the ticks of
// proc_pid_stat(5).
func processStart(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name of the program is in parentheses and may hold anything; the 20th
	// field after it is the one.
	const after = 20
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < after {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return strconv.ParseUint(string(fields[after-1]), 10, 64)
}

// bootID returns what tells one boot of the host from another.
func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(id)), err
}
