package lab

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Machine is a host of the lab that systemd runs on. Its files are those of
// the host that the test runs on, with a layer of its own above them, which
// outlives a power-off; its network namespace does too.
type Machine struct {
	*NS
	Share string // a folder that the machine has as /srv

	dir    string
	cgroup string
	proc   *Proc  // what booted it
	init   string // number of its first process
}

// bootScript starts systemd.
//
//go:embed boot.sh
var bootScript string

// opaque are folders of the host that the machine has empty: what is enabled
// or configured on the host is not the machine's business.
var opaque = []string{
	"etc/systemd/system", "etc/dpkg/dpkg.cfg.d", "etc/sysctl.d", "usr/lib/systemd/system-generators",
	"usr/lib/systemd/system/multi-user.target.wants", "usr/lib/systemd/system/sockets.target.wants",
	"usr/lib/systemd/system/sysinit.target.wants", "usr/lib/systemd/system/timers.target.wants",
}

// Machine boots a machine in ns. It is gone when the test ends.
func (ns *NS) Machine() *Machine {
	l := ns.Lab
	l.Helper()
	dir := filepath.Join(l.Dir, ns.Name+"-root")
	m := &Machine{NS: ns, Share: filepath.Join(dir, "share"), dir: dir, cgroup: filepath.Join(cgroups(l), ns.Full)}
	l.Cleanup(func() { removeCgroup(m.cgroup) })
	upper := filepath.Join(m.dir, "upper")
	must := func(err error) {
		l.Helper()
		if err != nil {
			l.Fatalf("machine %s: %v", ns.Name, err)
		}
	}
	for _, d := range []string{"work", "root", "share", "upper/usr/sbin", "upper/etc"} {
		must(os.MkdirAll(filepath.Join(m.dir, d), 0o755))
	}
	for _, d := range opaque {
		d = filepath.Join(upper, d)
		must(os.MkdirAll(d, 0o755))
		must(unix.Setxattr(d, "trusted.overlay.opaque", []byte("y"), 0))
	}
	must(os.WriteFile(filepath.Join(upper, "etc/fstab"), nil, 0o644))
	must(os.WriteFile(filepath.Join(upper, "etc/hostname"), []byte("hypervisor\n"), 0o644))
	// A whiteout: the machine has no policy against starting services.
	must(unix.Mknod(filepath.Join(upper, "usr/sbin/policy-rc.d"), unix.S_IFCHR, 0))
	must(os.Symlink("../systemd-journald.service", filepath.Join(upper, "usr/lib/systemd/system/sysinit.target.wants/systemd-journald.service")))
	must(os.WriteFile(filepath.Join(m.dir, "boot.sh"), []byte(bootScript), 0o600))
	m.Boot()
	return m
}

// cgroups returns where the host's version 2 hierarchy is mounted.
func cgroups(l *Lab) string {
	l.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		l.Fatalf("%v", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if before, after, _ := strings.Cut(line, " - "); strings.HasPrefix(after, "cgroup2 ") {
			return strings.Fields(before)[4]
		}
	}
	l.Fatalf("lab: control groups of version 2 are not mounted; systemd needs them")
	return ""
}

// removeCgroup removes a group whose processes have been killed, once they are
// gone, and those below it.
func removeCgroup(dir string) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var groups []string
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
		for _, group := range slices.Backward(groups) {
			_ = os.Remove(group)
		}
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return
		}
	}
}

// Boot starts the machine, after Off, and waits until everything that it
// starts runs.
func (m *Machine) Boot() {
	l := m.Lab
	l.Helper()
	m.proc = m.Start("bash", filepath.Join(m.dir, "boot.sh"), m.dir, m.cgroup)
	l.Eventually(time.Minute, "boot of "+m.Name, func() error {
		if m.proc.Exited() {
			l.Fatalf("%s did not boot: %s", m.Name, m.proc.Output())
		}
		pid := m.proc.Cmd.Process.Pid
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil {
			return err
		}
		if m.init = strings.TrimSpace(string(children)); m.init == "" {
			return errors.New("it has no process yet")
		}
		if name, _ := os.ReadFile("/proc/" + m.init + "/comm"); string(name) != "systemd\n" {
			return fmt.Errorf("its first process is %s", name)
		}
		if out, err := m.Try("systemctl", "is-system-running", "--wait"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// Try runs a command on the machine, with the machine's files and processes,
// and returns its standard output.
func (m *Machine) Try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := m.Command(ctx, "nsenter", append([]string{
		"--target", m.init, "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--root", "--wdns=/",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", name,
	}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %s %s: %w: %s%s", m.Name, name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return strings.TrimSpace(stdout.String()), nil
}

// Run is Try that fails the test.
func (m *Machine) Run(name string, args ...string) string {
	m.Lab.Helper()
	out, err := m.Try(name, args...)
	if err != nil {
		log, _ := m.Try("journalctl", "--no-pager", "--lines=100")
		m.Lab.Fatalf("%v\n%s", err, log)
	}
	return out
}

// Off waits until the machine has powered off.
func (m *Machine) Off() {
	m.Lab.Helper()
	if err := m.proc.Wait(time.Minute); err != nil && !m.proc.Exited() {
		m.Lab.Fatalf("%s: %v", m.Name, err)
	}
}

// Layer returns the files that the machine has changed or made, as paths from
// its root.
func (m *Machine) Layer() []string {
	m.Lab.Helper()
	upper := filepath.Join(m.dir, "upper")
	var out []string
	err := filepath.WalkDir(upper, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out = append(out, strings.TrimPrefix(path, upper))
		return nil
	})
	if err != nil {
		m.Lab.Fatalf("%v", err)
	}
	return out
}
