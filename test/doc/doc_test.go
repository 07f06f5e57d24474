// Package doc runs the examples of the documentation with real hosts and
// routers, so that what a reader types works, and what the page shows is what
// the reader gets.
package doc

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netctl/test/lab"
)

func TestMain(m *testing.M) {
	code := m.Run()
	lab.RemoveBinaries()
	os.Exit(code)
}

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		page, out string
		match     bool
	}{
		{"", "", true},
		{"", "x", false},
		{"a ... c", "a b c\n", true},
		{"a ... c", "a b\n", false},
		{"a\n...\nd", "a\nb\nc\nd\n", true},
		{"a\n...\nd", "a\nd\n", true},
		{"a\n...\nd", "a\nb\nc\n", false},
		{"| a | b |\n+---+---+", "| a   | b  |\n+-----+----+\n", true},
		{"10.0.0.0/8", "10x0.0.0/8\n", false},
	} {
		if got := pattern(strings.Split(tt.page, "\n")).MatchString(normal(tt.out)); got != tt.match {
			t.Errorf("%q shown for %q: %t", tt.page, tt.out, got)
		}
	}
}

// The tutorial starts from nothing: a machine with Debian, and the package.
func TestFirstRoute(t *testing.T) {
	t.Parallel()
	deb, err := lab.Deb("0.1.0")
	if err != nil {
		t.Fatal(err)
	}
	l := lab.New(t)
	m := l.NS("host").Machine()
	if err := os.Link(deb, filepath.Join(m.Share, filepath.Base(deb))); err != nil {
		t.Fatal(err)
	}
	w := &world{Lab: l}
	w.shells = map[string]shell{"": func(command string) (string, error) { return m.Try("bash", "-c", "cd /srv; "+command) }}
	w.write = func(path, text string) {
		if err := os.WriteFile(filepath.Join(m.Share, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.run(readPage(l, "tutorial/first-route.md"))
}

// A pair is a host with netctl and a router next to it, as in the pages about
// routers.
type pair struct {
	*world
	host, router *lab.NS
	daemon       *lab.Netctld
}

func newPair(t *testing.T) *pair {
	t.Helper()
	l := lab.New(t, "bash")
	p := &pair{world: &world{Lab: l}, host: l.NS("host"), router: l.NS("router")}
	l.Link(p.host, "eth0", p.router, "eth0")
	p.host.Addr("eth0", "192.0.2.2/24", "2001:db8::2/64")
	p.router.Addr("eth0", "192.0.2.1/24", "2001:db8::1/64")
	p.router.Forward()
	p.daemon = p.host.Netctld()
	p.shells = map[string]shell{"host": p.shell(p.host, p.daemon.Env()...)}
	return p
}

// shell returns the shell of a host, with variables in its environment.
func (p *pair) shell(ns *lab.NS, env ...string) shell {
	return func(command string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := ns.Command(ctx, "bash", "-c", command)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w\n%s", ns.Name, command, err, out)
		}
		return string(out), nil
	}
}

// tool makes a command of the router that is told where its daemon is, and
// returns the environment that has it.
func (p *pair) tool(name, args string) string {
	p.Helper()
	dir := filepath.Join(p.Dir, "tools")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.Fatalf("%v", err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin %s %s \"$@\"\n", name, args)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil { //nolint:gosec // it is run
		p.Fatalf("%v", err)
	}
	return "PATH=" + dir + ":" + os.Getenv("PATH")
}

func routerConfig() lab.RouterConfig {
	return lab.RouterConfig{ASN: 65000, ID: netip.MustParseAddr("192.0.2.1")}
}

func TestPeerWithFRR(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	r := lab.NewFRR(p.router, routerConfig())
	r.Start()
	if _, err := r.VTYSH("configure terminal", "no router bgp 65000"); err != nil { // the lab's is more lenient
		t.Fatal(err)
	}
	dir := filepath.Join(p.Dir, p.router.Name+"-frr")
	p.shells["router"] = p.shell(p.router, p.tool("vtysh", "--vty_socket "+dir))
	p.paste = map[string]func(string){"router": func(text string) {
		out, err := r.VTYSH(append([]string{"configure terminal"}, strings.Split(strings.TrimSpace(text), "\n")...)...)
		if err != nil || strings.Contains(out, "%") {
			t.Fatalf("vtysh: %v\n%s", err, out)
		}
	}}
	p.run(readPage(p.Lab, "howto/peer-with-frr.md"))
}

func TestPeerWithBIRD(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	r := lab.NewBIRD(p.router, routerConfig())
	r.Start()
	dir := filepath.Join(p.Dir, p.router.Name+"-bird")
	p.shells["router"] = p.shell(p.router, p.tool("birdc", "-s "+dir+"/bird.ctl"))
	p.paste = map[string]func(string){"router": func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "bird.conf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}}
	p.run(readPage(p.Lab, "howto/peer-with-bird.md"))
}

func TestTroubleshootASession(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c := routerConfig()
	c.Peers = []lab.RouterPeer{{Addr: netip.MustParseAddr("192.0.2.2"), ASN: 65001, Password: "correct-horse"}}
	lab.NewBIRD(p.router, c).Start()
	p.shells["router"] = p.shell(p.router, p.tool("birdc", "-s "+filepath.Join(p.Dir, p.router.Name+"-bird")+"/bird.ctl"))
	p.run(readPage(p.Lab, "howto/troubleshoot-a-session.md"))
}

func TestOtherFirewalls(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	guest := p.NS("guest")
	p.Link(guest, "eth0", p.host, "vguest")
	guest.Addr("eth0", "198.51.100.10/24")
	guest.Run("ip", "route", "add", "default", "via", "198.51.100.1")
	p.router.Run("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.2")
	p.shells["router"] = p.shell(p.router)
	p.run(readPage(p.Lab, "howto/other-firewalls.md"))
}

// secluded starts the daemon of a host whose instances can be called anything,
// and returns the shell of that host.
func (w *world) secluded(ns *lab.NS) shell {
	w.Helper()
	d := ns.Spare()
	d.Seclude()
	d.Start()
	d.WaitReady()
	return func(command string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		enter := d.Enter()
		cmd := exec.CommandContext(ctx, enter[0], append(enter[1:], "bash", "-c", "cd "+w.Dir+"; "+command)...)
		cmd.Env = append(os.Environ(), d.Env()...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w\n%s", ns.Name, command, err, out)
		}
		return string(out), nil
	}
}

func TestAnycast(t *testing.T) {
	t.Parallel()
	l := lab.New(t, "bash")
	w := &world{Lab: l, shells: map[string]shell{}}
	router := l.NS("router")
	router.Run("ip", "link", "add", "eth0", "type", "bridge")
	router.Addr("eth0", "192.0.2.1/24")
	router.Run("ip", "link", "set", "eth0", "up")
	c := routerConfig()
	for i, name := range []string{"one", "two", "three"} {
		host := l.NS(name)
		l.Link(host, "eth0", router, name)
		router.Run("ip", "link", "set", name, "master", "eth0")
		a := fmt.Sprint("192.0.2.", 11+i)
		host.Addr("eth0", a+"/24")
		host.Run("ip", "route", "add", "default", "via", "192.0.2.1")
		c.Peers = append(c.Peers, lab.RouterPeer{Addr: netip.MustParseAddr(a), ASN: 65001})
		w.shells[name] = w.secluded(host)
	}
	r := lab.NewFRR(router, c)
	r.Start()
	w.shells["router"] = (&pair{world: w}).shell(router)
	w.paste = map[string]func(string){"router": func(text string) {
		out, err := r.VTYSH(append([]string{"configure terminal"}, strings.Split(strings.TrimSpace(text), "\n")...)...)
		if err != nil || strings.Contains(out, "%") {
			t.Fatalf("vtysh: %v\n%s", err, out)
		}
	}}
	w.run(readPage(l, "howto/anycast.md"))
}

func TestForwardAndFilter(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c := routerConfig()
	c.Peers = []lab.RouterPeer{{Addr: netip.MustParseAddr("192.0.2.2"), ASN: 65001}}
	lab.NewBIRD(p.router, c).Start()
	guest := p.NS("guest")
	p.Link(guest, "eth0", p.host, "vguest")
	guest.Addr("eth0", "10.0.0.10/24")
	guest.Run("ip", "route", "add", "default", "via", "10.0.0.1")
	dir := filepath.Join(p.Dir, "www")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("hello from the guest\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	guest.Start("busybox", "httpd", "-f", "-p", "10.0.0.10:8080", "-h", dir)
	p.shells["router"] = p.shell(p.router)
	p.run(readPage(p.Lab, "howto/forward-and-filter.md"))
}

// What the page tells operators to look for is what the speaker says.
func TestSessionErrorsAreReal(t *testing.T) {
	raw, err := os.ReadFile("../../doc/howto/troubleshoot-a-session.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../../bgp/gobgp/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(raw), "| LAST ERROR | what to do |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")
	if len(rows) < 10 {
		t.Fatalf("%d rows found", len(rows))
	}
	for _, row := range rows {
		text := strings.Split(row, "`")[1]
		if !strings.Contains(string(source), text) {
			t.Errorf("the speaker never says %q", text)
		}
	}
}

func TestRestartAndUpgrade(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host, router := l.NS("host"), l.NS("router")
	l.Link(host, "eth0", router, "eth0")
	host.Addr("eth0", "192.0.2.2/24")
	router.Addr("eth0", "192.0.2.1/24")
	c := routerConfig()
	c.Peers = []lab.RouterPeer{{Addr: netip.MustParseAddr("192.0.2.2"), ASN: 65001}}
	lab.NewBIRD(router, c).Start()
	m := host.Machine()
	for _, version := range []string{"0.1.0", "0.2.0"} {
		deb, err := lab.Deb(version)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Link(deb, filepath.Join(m.Share, filepath.Base(deb))); err != nil {
			t.Fatal(err)
		}
	}
	m.Run("sh", "-c", "dpkg -i /srv/netctl_0.1.0_*.deb")
	m.Run("netctl", "config", "set", "core.bgp_asn=65001", "core.bgp_address=:179")
	m.Run("netctl", "network", "create", "br0", "ipv4.address=198.51.100.1/24", "ipv6.address=none",
		"bgp.peers.tor.address=192.0.2.1", "bgp.peers.tor.asn=65000")
	p := &pair{world: &world{Lab: l}, router: router}
	p.shells = map[string]shell{
		"host":   func(command string) (string, error) { return m.Try("bash", "-c", "cd /srv; "+command) },
		"router": p.shell(router, p.tool("birdc", "-s "+filepath.Join(l.Dir, router.Name+"-bird")+"/bird.ctl")),
	}
	p.run(readPage(l, "howto/restart-and-upgrade.md"))
}

func TestMonitor(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c := routerConfig()
	c.Peers = []lab.RouterPeer{{Addr: netip.MustParseAddr("192.0.2.2"), ASN: 65001}}
	lab.NewBIRD(p.router, c).Start()
	p.daemon.CLI("config", "set", "core.bgp_asn=65001", "core.bgp_address=:179")
	p.daemon.CLI("network", "create", "br0", "ipv4.address=198.51.100.1/24", "ipv6.address=none",
		"bgp.peers.tor.address=192.0.2.1", "bgp.peers.tor.asn=65000")

	// What is copied from one host to the other is in a folder that both see.
	etc := filepath.Join(p.Dir, "etc")
	if err := os.Mkdir(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	in := func(sh shell) shell {
		return func(command string) (string, error) { return sh("cd " + etc + "; " + command) }
	}
	p.shells = map[string]shell{"host": in(p.shells["host"]), "prometheus": in(p.shell(p.router))}
	p.paste = map[string]func(string){"prometheus": func(text string) {
		for from, to := range map[string]string{
			filepath.Join(p.daemon.Dir, "server.crt"): "host1.crt", "../../doc/prometheus/netctl.rules.yml": "netctl.rules.yml",
		} {
			raw, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(etc, to), raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text = "global: {scrape_interval: 1s}\n" + text
		if err := os.WriteFile(filepath.Join(etc, "prometheus.yml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.router.Start("prometheus", "--config.file="+etc+"/prometheus.yml", "--storage.tsdb.path="+etc+"/data", "--web.listen-address=127.0.0.1:9090")
		p.Eventually(30*time.Second, "Prometheus", func() error {
			_, err := p.router.Try("curl", "--silent", "--fail", "http://127.0.0.1:9090/-/ready")
			return err
		})
	}}
	p.run(readPage(p.Lab, "howto/monitor.md"))
}
