package dnsmasq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"netctl/network/dhcp"
)

// A proc is a dnsmasq of ours.
type proc struct {
	network string
	conf    string // path of its configuration
	pid     int
	fd      int  // pidfd_open(2)
	running bool // fd is open: it has not been seen to be dead

	// What is behind conf; not known of one that was found.
	service *dhcp.Service
	index   uint32
	text    string
	roll    roll
	told    bool // the roll is that of service, and the process has been told
}

func (p *proc) alive() bool { return p.running }

// open follows the process pid from now on.
func (p *proc) open(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	p.pid, p.fd, p.running = pid, fd, true
	return nil
}

func (p *proc) close() {
	if p.running {
		_ = unix.Close(p.fd)
		p.running = false
	}
}

func (p *proc) signal(sig unix.Signal) error {
	err := unix.PidfdSendSignal(p.fd, sig, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	return nil
}

// patience is how long a dnsmasq may take to end before it is killed.
const patience = 2 * time.Second

// stop ends a process and waits until it is gone.
func (s *Servers) stop(ctx context.Context, p *proc) error {
	s.op(ctx, p.network, "stop", strconv.Itoa(p.pid))
	defer p.close()
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := p.signal(sig); err != nil {
			return err
		}
		if gone, err := p.wait(patience); err != nil || gone {
			return err
		}
	}
	return fmt.Errorf("process %d does not end", p.pid)
}

// wait waits until the process has ended.
func (p *proc) wait(timeout time.Duration) (gone bool, err error) {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(timeout); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return false, nil
		}
		n, err := unix.Poll(fds, int(left/time.Millisecond)+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, os.NewSyscallError("poll", err)
		}
		if n > 0 {
			return true, nil
		}
	}
}

// scan finds the processes of ours, and what others have left behind.
func (s *Servers) scan(ctx context.Context) error {
	found, err := s.running()
	if err != nil {
		return fmt.Errorf("dnsmasq: %w", err)
	}
	known := maps.Clone(s.procs)
	for _, p := range known {
		s.take(p)
		p.close()
	}
	dirs, err := os.ReadDir(filepath.Join(s.dir, "networks"))
	if err != nil {
		return fmt.Errorf("dnsmasq: %w", err)
	}
	for _, d := range dirs {
		dir := filepath.Join(s.dir, "networks", d.Name())
		if files, err := filepath.Glob(filepath.Join(dir, "dnsmasq*")); err == nil && len(files) > 0 {
			s.procs[d.Name()] = &proc{network: d.Name()}
		} else {
			_ = os.Remove(dir) // unless it holds something else
		}
	}
	here, err := namespace("thread-self")
	if err != nil {
		return fmt.Errorf("dnsmasq: %w", err)
	}
	for _, p := range found {
		old := s.procs[p.network]
		twice := old != nil && old.alive()
		if ns, err := namespace(strconv.Itoa(p.pid)); err == nil && ns == here && !twice {
			if k := known[p.network]; k != nil && k.conf == p.conf {
				p.service, p.index, p.text = k.service, k.index, k.text
			}
			s.procs[p.network] = p
			if err := s.deaths.add(p.fd); err != nil {
				return fmt.Errorf("dnsmasq: %w", err)
			}
			continue
		}
		// Two for one network are an interrupted start: both go.
		err := s.stop(ctx, p)
		if twice {
			s.take(old)
			err = errors.Join(err, s.stop(ctx, old))
			s.procs[p.network] = &proc{network: p.network}
		}
		if err != nil {
			return fmt.Errorf("network %s: dnsmasq: %w", p.network, err)
		}
	}
	s.scanned = true
	return nil
}

// namespace names the network namespace of a process.
func namespace(pid string) (string, error) {
	return os.Readlink("/proc/" + pid + "/ns/net")
}

// running returns the processes of ours that run, opened.
func (s *Servers) running() ([]*proc, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []*proc
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		conf, ok := confOf(pid)
		if !ok {
			continue
		}
		network, ok := s.networkOf(conf)
		if !ok {
			continue
		}
		p := &proc{network: network, conf: conf}
		if err := p.open(pid); err != nil {
			continue // gone
		}
		// It may have ended, and another have got its number, before it
		// was opened.
		if again, ok := confOf(pid); !ok || again != conf || !s.trusts(pid, conf) {
			p.close()
			continue
		}
		found = append(found, p)
	}
	return found, nil
}

// confOf returns the configuration that the process pid was given, when it is
// a dnsmasq with no other argument.
func confOf(pid int) (conf string, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "", false
	}
	args := bytes.Split(bytes.TrimSuffix(b, []byte{0}), []byte{0})
	if len(args) != 2 || filepath.Base(string(args[0])) != "dnsmasq" {
		return "", false
	}
	return strings.CutPrefix(string(args[1]), "--conf-file=")
}

// trusts reports whether it was us who started the process pid with a
// configuration of ours. Any user of the host can start one that looks the
// same, to have the real one stopped, or theirs taken for it.
func (s *Servers) trusts(pid int, conf string) bool {
	uid := userOf(pid)
	if slices.Contains(s.uids, uid) {
		return true
	}
	text, err := os.ReadFile(conf)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) { // raw.dnsmasq may name another
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "user="); ok {
			if u, err := user.Lookup(name); err == nil && u.Uid == uid {
				return true
			}
		}
	}
	return false
}

// userOf returns the real user id of a process, or nothing when it has ended;
// see proc_pid_status(5). The owner of /proc/PID is another for programs that
// are set-user-id.
func userOf(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Uid:" {
			return f[1]
		}
	}
	return ""
}

func readPID(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}
