package fault

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netctl/test/lab"
)

// A supervisor does for the daemon what systemd does for a service with
// Type=notify and WatchdogSec=: when it has not been told for that long that
// the daemon is alive, it kills the daemon and starts another.
type supervisor struct {
	*site
	conn  *net.UnixConn
	limit time.Duration
	kills int
}

// supervise starts the daemon anew, under supervision.
func (s *site) supervise(limit time.Duration) *supervisor {
	s.Helper()
	path := filepath.Join(s.Dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		s.Fatalf("%v", err)
	}
	s.Cleanup(func() { _ = conn.Close() })
	s.Daemon.Stop(syscall.SIGTERM)
	s.Daemon.Vars = []string{"NOTIFY_SOCKET=" + path, fmt.Sprintf("WATCHDOG_USEC=%d", limit.Microseconds())}
	s.Daemon.Start()
	return &supervisor{site: s, conn: conn, limit: limit}
}

// wait takes in notifications until there is one with the text, and does what
// a supervisor does meanwhile.
func (v *supervisor) wait(text string) {
	v.Helper()
	buf := make([]byte, 4096)
	started, deadline := false, time.Now().Add(40*time.Second)
	for time.Now().Before(deadline) {
		_ = v.conn.SetReadDeadline(time.Now().Add(v.limit))
		n, err := v.conn.Read(buf)
		switch {
		case err == nil && strings.Contains(string(buf[:n]), text):
			return
		case err == nil:
			started = true
		case !isTimeout(err):
			v.Fatalf("notifications: %v", err)
		case started || v.kills == 0: // a service that is starting has more time
			v.Daemon.Proc.Signal(syscall.SIGABRT) // for its stacks, if it can
			_ = v.Daemon.Proc.Wait(500 * time.Millisecond)
			v.Daemon.Stop(syscall.SIGKILL)
			v.kills++
			started = false
			v.Daemon.Start()
		}
	}
	v.Fatalf("no %q in time", text)
}

// A daemon that hangs is killed by its watchdog and started again, and the
// router and the traffic see nothing of it.
func TestHung(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Client("web", "br0", []string{"198.51.100.10/24"}, []string{"198.51.100.1"})
	v := s.supervise(2 * time.Second)
	v.wait("READY=1")
	for range 5 {
		v.wait("WATCHDOG=1")
	}
	s.back()
	since := time.Now()
	ping := s.Ping(s.Far, "198.51.100.10")
	s.Daemon.Proc.Signal(syscall.SIGSTOP)
	start := time.Now()
	v.wait("READY=1")
	s.back()
	t.Logf("announcing again %s after the daemon began to hang", time.Since(start).Round(time.Millisecond))
	if v.kills != 1 {
		t.Errorf("the daemon was killed %d times", v.kills)
	}
	for range 3 {
		v.wait("WATCHDOG=1")
	}
	s.Undisturbed(since, subnet4, subnet6)
	ping.Check()
	go func() { // nobody listens any more; the daemon does not mind
		for _, err := v.conn.Read(make([]byte, 4096)); err == nil; _, err = v.conn.Read(make([]byte, 4096)) {
		}
	}()
}

// A daemon in a time namespace (time_namespaces(7)) whose clocks are years
// ahead of those of all others does all it should. Its timers run on the
// monotonic clock, as do all of GoBGP's, so that a change of the time of day is
// nothing to them. The time of day counts for what was stored with one:
// leases, tokens and certificates.
func TestClockOffset(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	since := time.Now()
	s.Daemon.Stop(syscall.SIGTERM)
	s.Daemon.Wrap = []string{"unshare", "--time", "--monotonic", "1000000000", "--boottime", "1000000000"}
	s.Daemon.Start()
	s.Daemon.WaitReady()
	here, _ := os.Readlink("/proc/self/ns/time")
	there, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time", s.Daemon.Proc.Cmd.Process.Pid))
	if err != nil || here == there {
		t.Fatalf("the daemon is in the time namespace %s, we are in %s: %v", there, here, err)
	}
	s.back()
	s.Undisturbed(since, subnet4, subnet6)
	s.Network("br1", "198.51.101.1/24", "none")
	s.WaitRoutes(1, "198.51.101.0/24")
	s.within("a bridge that was deleted", func() { s.Host.Run("ip", "link", "del", "br1") }, func() error {
		_, err := s.Host.Try("ip", "link", "show", "br1")
		return err
	})
	s.WaitRoutes(1, "198.51.101.0/24")
}

// A firewall that hangs holds up neither a withdrawal nor the API, which names
// it; and is given up on in the end.
func TestHungFirewall(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Network("br1", "198.51.101.1/24", "none")
	s.WaitRoutes(1, "198.51.101.0/24")
	bin, flag := filepath.Join(s.Dir, "bin"), filepath.Join(s.Dir, "hang")
	script := fmt.Sprintf("#!/bin/sh\n[ ! -e %s ] || exec sleep 1000\nexec /usr/sbin/nft \"$@\"\n", flag)
	if err := errors.Join(os.Mkdir(bin, 0o755), os.WriteFile(filepath.Join(bin, "nft"), []byte(script), 0o755)); err != nil {
		t.Fatal(err)
	}
	s.Daemon.Vars = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	s.Daemon.Restart(syscall.SIGTERM)
	s.back()
	since := time.Now()
	if err := os.WriteFile(flag, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := s.Daemon.TryCLI("network", "create", "br2", "ipv4.address=198.51.102.1/24", "ipv6.address=none", "--wait=1s")
	if err == nil || !strings.Contains(err.Error(), "firewall") {
		t.Errorf("the command does not say what hangs: %s %v", out, err)
	}
	s.Daemon.CLI("network", "delete", "br1", "--wait=0")
	s.WaitRoutes(0, "198.51.101.0/24")
	t.Logf("withdrawn %s after nft began to hang", time.Since(since).Round(time.Millisecond))
	if time.Since(since) > 10*time.Second {
		t.Error("that is too long")
	}
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	s.Eventually(40*time.Second, "all is well", func() error {
		out, err := s.Daemon.TryCLI("plan")
		return errors.Join(err, lab.Expect(out == "Nothing would change\n", "%s", out))
	})
	s.Undisturbed(since, subnet4, subnet6)
}

// A client that opens connections and forgets them does not take the files
// that the sessions and the data plane need.
func TestLeakyClient(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Daemon.Stop(syscall.SIGTERM)
	s.Daemon.Wrap = []string{"prlimit", "--nofile=400:400"}
	s.Daemon.Start()
	s.Daemon.WaitReady()
	s.back()
	var leaked []net.Conn
	closeAll := func() {
		for _, c := range leaked {
			_ = c.Close()
		}
		leaked = nil
	}
	defer closeAll()
	for range 1000 {
		c, err := net.Dial("unix", s.Daemon.Socket())
		if err != nil {
			t.Fatal(err)
		}
		leaked = append(leaked, c)
	}
	since := time.Now()
	s.Host.Run("ip", "link", "del", "br0")
	s.within("a bridge that was deleted", func() {}, func() error {
		_, err := s.Host.Try("sh", "-ec", "ip addr show br0 | grep -q 198.51.100.1/24 && nft list set inet netctl dhcp4 | grep -q br0")
		return err
	})
	s.Host.Run("ss", "-K", "dst", lab.Router4)
	s.WaitRoutes(1, subnet4, subnet6)
	s.Established()
	if n := descriptors(t, s.Daemon); n > 350 {
		t.Errorf("%d of 400 files are open", n)
	}
	if bad := s.Monitor.Withdrawn(since.Add(5*time.Second), nil); len(bad) > 0 {
		t.Errorf("withdrawn: %v", bad)
	}
	closeAll()
	s.empty("after the leak")
}

// A dnsmasq that hangs holds up neither the announcements of its network nor
// other networks, and another takes its place when the network changes or when
// it is killed.
func TestHungDNSMasq(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	since := time.Now()
	hang := func() int {
		t.Helper()
		pid := s.dnsmasq("br0")
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	another := func(old int) func() error {
		return func() error {
			now := s.dnsmasq("br0")
			return lab.Expect(now != old && now != 0, "pid %d, it was %d", now, old)
		}
	}
	old := hang()
	s.Network("br1", "198.51.101.1/24", "none")
	s.WaitRoutes(1, "198.51.101.0/24")
	if now := s.dnsmasq("br0"); now != old {
		t.Errorf("process %d became %d", old, now)
	}
	s.within("a network with a dnsmasq that hangs was changed", func() { s.Daemon.CLI("network", "set", "br0", "dns.domain=example.net") }, another(old))
	old = hang()
	s.within("a dnsmasq that hangs was killed", func() {
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}, another(old))
	hang()
	s.Daemon.CLI("network", "delete", "br1")
	s.WaitRoutes(0, "198.51.101.0/24")
	s.Undisturbed(since, subnet4, subnet6)
	s.Daemon.CLI("network", "delete", "br0")
	s.empty("deleted, with a dnsmasq that hung")
}
