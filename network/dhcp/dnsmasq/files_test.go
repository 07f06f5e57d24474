package dnsmasq

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"netctl/network/dhcp"
)

func TestNameservers(t *testing.T) {
	const resolv = `# made by hand
nameserver 192.0.2.1
nameserver	2001:db8::1 # comment
nameserver fe80::1%eth0
nameserver fe80::1%a#b
nameserver not.an.address
nameserver
options edns0
search example
nameserver 127.0.0.53`
	const want = "server=192.0.2.1\nserver=2001:db8::1\nserver=fe80::1%eth0\nserver=127.0.0.53\n"
	if got := nameservers(resolv); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzNameservers(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nnameserver fe80::1%eth0")
	line := regexp.MustCompile(`^server=[0-9a-f:.]+(%[^"#\\,@\s]+)?$`)
	f.Fuzz(func(t *testing.T, resolv string) {
		for l := range strings.Lines(nameservers(resolv)) {
			if !line.MatchString(strings.TrimSuffix(l, "\n")) {
				t.Errorf("%q becomes %q", resolv, l)
			}
		}
	})
}

// TestUpstreamsAreTold has the daemon killed between its write of the upstream
// servers and the signal that tells the processes: the next one tells them. A
// process that is told ends here, as it does not expect a signal.
func TestUpstreamsAreTold(t *testing.T) {
	resolv, dir := filepath.Join(t.TempDir(), "resolv.conf"), t.TempDir()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	p := &proc{network: "br0"}
	if err := p.open(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	defer p.close()
	name := func(server string) {
		t.Helper()
		if err := os.WriteFile(resolv, []byte("nameserver "+server+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// daemon runs one until it has done its work, or is killed before an
	// operation. It reports whether the processes were told.
	daemon := func(killed bool) (told bool) {
		t.Helper()
		log := slog.New(slog.DiscardHandler)
		if killed {
			log = slog.New(slog.NewTextHandler(deadly{}, nil))
		}
		s := &Servers{ResolvConf: resolv, log: log, dir: dir, procs: map[string]*proc{"br0": p}}
		done := make(chan error, 1)
		go func() {
			defer close(done)
			done <- s.upstreams(t.Context())
		}()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		told, err := p.wait(time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		return told
	}
	p.running = false // it reads the first file when it starts
	name("192.0.2.1")
	daemon(false)
	p.running = true
	if daemon(false) {
		t.Fatal("told of what it has read")
	}
	name("192.0.2.2")
	if daemon(true) {
		t.Fatal("told, though the daemon was killed before")
	}
	daemon(false)
	if told, err := p.wait(10 * time.Second); err != nil || !told {
		t.Errorf("not told by the next daemon: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// A deadly log ends the goroutine that writes to it.
type deadly struct{}

func (deadly) Write([]byte) (int, error) {
	runtime.Goexit()
	return 0, nil
}

func TestNetworkOf(t *testing.T) {
	s := &Servers{dir: "/var/lib/netctl"}
	for _, tt := range []struct{ conf, want string }{
		{"/var/lib/netctl/networks/br0/dnsmasq-0123.conf", "br0"},
		{"/var/lib/netctl/networks/br0/dnsmasq.conf", ""},
		{"/var/lib/netctl/networks/br0/sub/dnsmasq-0123.conf", ""},
		{"/var/lib/netctl/networks/dnsmasq-0123.conf", ""},
		{"/var/lib/netctl2/networks/br0/dnsmasq-0123.conf", ""},
		{"/etc/dnsmasq.conf", ""},
		{"dnsmasq-0123.conf", ""},
	} {
		network, ok := s.networkOf(tt.conf)
		if ok != (tt.want != "") || ok && network != tt.want {
			t.Errorf("%s: %q %v, want %q", tt.conf, network, ok, tt.want)
		}
	}
}

func TestHome(t *testing.T) {
	s := &Servers{dir: "/x"}
	for _, bad := range []string{"", ".", "..", "../y", "a/b", "a\x00b"} {
		if dir, err := s.home(bad); err == nil {
			t.Errorf("network %q lives in %s", bad, dir)
		}
	}
	if dir, err := s.home("br0"); err != nil || dir != "/x/networks/br0" {
		t.Errorf("%s, %v", dir, err)
	}
}

// TestPrepare holds that an identifier is given once, and that leases stay.
func TestPrepare(t *testing.T) {
	duid := regexp.MustCompile(`(?m)^duid 00:04(:[0-9a-f]{2}){16}$`)
	path := filepath.Join(t.TempDir(), "leases")
	drop := func([]dhcp.Lease) []dhcp.Lease { return nil }
	prepared := func(v6 bool) string {
		t.Helper()
		if err := prepare(path, v6, drop); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := prepared(false); got != "" {
		t.Errorf("without IPv6: %q", got)
	}
	first := prepared(true)
	if !duid.MatchString(first) {
		t.Fatalf("%q", first)
	}
	if got := prepared(true); got != first {
		t.Errorf("a second time makes %q of %q", got, first)
	}
	const lease = "1700003600 00:16:3e:aa:bb:cc 10.0.0.5 c1 *"
	if err := os.WriteFile(path, []byte("garbage\n"+lease), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := prepared(false); got != lease+"\n" {
		t.Errorf("%q", got)
	}
	if got := prepared(true); !strings.HasPrefix(got, lease+"\n") || !duid.MatchString(got) || strings.Contains(got, first) {
		t.Errorf("%q", got)
	}
	drop = func(all []dhcp.Lease) []dhcp.Lease { return all[:1] }
	if got := prepared(true); strings.Contains(got, lease) || !duid.MatchString(got) {
		t.Errorf("%q", got)
	}
}
