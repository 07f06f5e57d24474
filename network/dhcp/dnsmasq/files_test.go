package dnsmasq

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
	prepared := func(v6 bool) string {
		t.Helper()
		if err := prepare(path, v6); err != nil {
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
}
