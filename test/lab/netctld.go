package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"netctl/api"
)

// build compiles both binaries once for all labs of the process, unless
// NETCTL_BIN names a directory that has them.
var build = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("NETCTL_BIN"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.MkdirTemp("", "nlbin")
	if err != nil {
		return "", err
	}
	args := []string{"build", "-buildvcs=false", "-o", dir}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "netctl/cmd/netctl", "netctl/cmd/netctld")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return dir, nil
})

// Binaries returns the directory of netctl and netctld: that in NETCTL_BIN, or
// one with fresh builds, which RemoveBinaries deletes when the process ends.
func Binaries() (string, error) { return build() }

// RemoveBinaries deletes what Binaries and Deb have built, for the end of
// TestMain.
func RemoveBinaries() {
	removeDebs()
	if dir, err := build(); err == nil && os.Getenv("NETCTL_BIN") == "" {
		_ = os.RemoveAll(dir)
	}
}

// A Netctld is a daemon on one host of the lab.
type Netctld struct {
	NS   *NS
	Dir  string // its directory, which outlives its processes
	Proc *Proc  // the latest process

	// Vars are added to the environment of processes to come.
	Vars []string
	// Wrap, when set, is a command that is followed by that of the daemon and
	// becomes it. It may enter a mount namespace of its own.
	Wrap []string

	bin string
}

// Netctld starts a daemon on ns with a directory of its own and waits until it
// is ready.
func (ns *NS) Netctld() *Netctld {
	ns.Lab.Helper()
	d := ns.Spare()
	d.Start()
	d.WaitReady()
	return d
}

// Spare returns a daemon on ns that has not been started yet. Its directory is
// there and empty.
func (ns *NS) Spare() *Netctld {
	ns.Lab.Helper()
	bin, err := Binaries()
	if err != nil {
		ns.Lab.Fatalf("%v", err)
	}
	d := &Netctld{NS: ns, Dir: filepath.Join(ns.Lab.Dir, ns.Name), bin: bin}
	if err := os.MkdirAll(d.Dir, 0o711); err != nil {
		ns.Lab.Fatalf("%v", err)
	}
	return d
}

// Seclude gives a daemon that has not been started yet network namespaces that
// others do not see, so that instances can be called anything. Enter leads to
// them.
func (d *Netctld) Seclude() {
	d.Wrap = []string{"unshare", "--mount", "sh", "-c", `mkdir -p /run/netns && mount -t tmpfs netns /run/netns && exec "$@"`, "sh"}
}

// Enter is a command that is followed by another and runs it where the daemon
// runs.
func (d *Netctld) Enter() []string {
	return []string{"nsenter", "--target", strconv.Itoa(d.Proc.Cmd.Process.Pid), "--mount", "--net", "--"}
}

// dir is where others find the daemon's directory.
func (d *Netctld) dir() string {
	if d.Wrap == nil {
		return d.Dir
	}
	return fmt.Sprintf("/proc/%d/root%s", d.Proc.Cmd.Process.Pid, d.Dir)
}

// Socket is the path of the API's socket.
func (d *Netctld) Socket() string { return filepath.Join(d.dir(), "unix.socket") }

// Start starts a process of the daemon and does not wait for it.
func (d *Netctld) Start() {
	d.NS.Lab.Helper()
	cmd := append(slices.Clone(d.Wrap), filepath.Join(d.bin, "netctld"), "--dir", d.Dir, "--group", "", "--log-level", "debug")
	d.Proc = d.NS.StartEnv(d.Vars, cmd[0], cmd[1:]...)
}

// WaitReady waits until the daemon has brought its host up to date.
func (d *Netctld) WaitReady() {
	d.NS.Lab.Helper()
	if out, err := d.NS.Try(filepath.Join(d.bin, "netctld"), "waitready", "--dir", d.dir(), "--timeout", "45s"); err != nil {
		d.NS.Lab.Fatalf("netctld: %v: %s\n%s", err, out, d.Proc.Output())
	}
}

// WaitSent waits until every peer has been sent every route that it should
// have.
func (d *Netctld) WaitSent() {
	d.NS.Lab.Helper()
	d.NS.Lab.Eventually(30*time.Second, d.NS.Name+" has sent its routes", func() error {
		out, err := d.NS.Try("curl", "-s", "-S", "--unix-socket", d.Socket(), "http://netctl/1.0/bgp/routes")
		if err != nil {
			return err
		}
		var reply struct{ Metadata []api.BGPRoute }
		if err := json.Unmarshal([]byte(out), &reply); err != nil {
			return err
		}
		for _, r := range reply.Metadata {
			for _, p := range r.Peers {
				if !p.Sent {
					return fmt.Errorf("%s is not sent to %s: %s", r.Prefix, p.Address, p.Reason)
				}
			}
		}
		return nil
	})
}

// Stop sends a signal to the daemon and waits until it has ended.
func (d *Netctld) Stop(sig syscall.Signal) {
	d.NS.Lab.Helper()
	d.Proc.Signal(sig)
	err := d.Proc.Wait(20 * time.Second)
	if sig != syscall.SIGKILL && err != nil {
		d.NS.Lab.Fatalf("netctld after %s: %v\n%s", sig, err, d.Proc.Output())
	}
}

// Restart stops the daemon with a signal and starts it again.
func (d *Netctld) Restart(sig syscall.Signal) {
	d.NS.Lab.Helper()
	d.Stop(sig)
	d.Start()
	d.WaitReady()
}

// Settled fails the test when the host lacks anything of what is stored, unless
// the daemon has ended or the test has failed already. It is how tests end.
func (d *Netctld) Settled() {
	l := d.NS.Lab
	l.Helper()
	if l.Failed() || d.Proc.Exited() {
		return
	}
	l.Eventually(10*time.Second, "empty plan", func() error {
		out, err := d.TryCLI("plan")
		return errors.Join(err, Expect(out == "Nothing would change\n", "%s", out))
	})
}

// Env returns the environment variables that point netctl and lxc to d.
func (d *Netctld) Env() []string {
	return []string{"NETCTL_DIR=" + d.Dir, "LXD_SOCKET=" + filepath.Join(d.Dir, "unix.socket"), "PATH=" + d.bin + ":" + os.Getenv("PATH")}
}

// patience is how long a write of a lab waits to take effect: labs that are
// built and removed side by side hold each other up in the kernel.
const patience = "--wait=45s"

// TryCLI runs the command netctl on the host of the daemon. Writes wait
// patiently unless the test says otherwise.
func (d *Netctld) TryCLI(args ...string) (string, error) {
	own := func(a string) bool { return strings.HasPrefix(a, "--wait") || a == "--dry-run" || a == "--help" }
	if len(args) > 2 && slices.Contains([]string{"create", "set", "unset", "rename", "delete", "start", "stop", "restart"}, args[1]) &&
		slices.Contains([]string{"network", "config", "instance"}, args[0]) && !slices.ContainsFunc(args, own) {
		args = append(slices.Clone(args), patience)
	}
	return d.NS.Try(filepath.Join(d.bin, "netctl"), append([]string{"--dir", d.dir()}, args...)...)
}

// TryNetctld runs a subcommand of netctld for the directory of the daemon.
func (d *Netctld) TryNetctld(args ...string) (string, error) {
	return d.NS.Try(filepath.Join(d.bin, "netctld"), append([]string{"--dir", d.dir()}, args...)...)
}

// CLI is TryCLI that fails the test.
func (d *Netctld) CLI(args ...string) string {
	d.NS.Lab.Helper()
	out, err := d.TryCLI(args...)
	if err != nil {
		d.NS.Lab.Fatalf("%v", err)
	}
	return out
}

// Get returns the answer to a GET of the API, as it came.
func (d *Netctld) Get(path string) string {
	d.NS.Lab.Helper()
	return d.Curl("GET", path, "")
}

// Curl sends a request with a JSON body to the API and returns the answer.
func (d *Netctld) Curl(method, path, body string, header ...string) string {
	d.NS.Lab.Helper()
	args := []string{"-s", "-S", "--max-time", "60", "--unix-socket", d.Socket(), "-X", method, "http://netctl" + path}
	if body != "" {
		args = append(args, "-d", body)
	}
	for _, h := range header {
		args = append(args, "-H", h)
	}
	return strings.TrimSpace(d.NS.Run("curl", args...))
}
