// Demo shows the main job of netctl on a real router: a host with netctld, an
// FRR router beside it, a client behind a bridge of the host and a remote host
// behind the router, each in a network namespace of its own. It needs root and
// leaves nothing behind.
package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"netctl/test/lab"
)

// apart is the argument of a demo that has network namespaces of its own.
const apart = "apart"

// seclude runs the demo again, with network namespaces that others do not see,
// so that its instance can be called anything. It returns when that fails.
func seclude() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return err
	}
	const script = `mkdir -p /run/netns && mount -t tmpfs netns /run/netns && exec "$@"`
	return syscall.Exec(unshare, []string{"unshare", "--mount", "sh", "-c", script, "sh", self, apart}, os.Environ())
}

func main() {
	if os.Geteuid() == 0 && !slices.Contains(os.Args, apart) {
		fmt.Fprintln(os.Stderr, "demo:", seclude())
		os.Exit(1)
	}
	d := &demo{dir: os.TempDir()}
	code := d.run()
	lab.RemoveBinaries()
	os.Exit(code)
}

// A demo is the lab.TB of this program.
type demo struct {
	dir      string
	cleanups []func()
	failed   bool
}

// errFailed unwinds the demo after Fatalf.
type errFailed struct{}

func (d *demo) Helper()             {}
func (d *demo) Cleanup(f func())    { d.cleanups = append(d.cleanups, f) }
func (d *demo) Logf(string, ...any) {}
func (d *demo) Failed() bool        { return d.failed }
func (d *demo) TempDir() string     { return d.dir }
func (d *demo) Fatalf(format string, args ...any) {
	d.failed = true
	fmt.Printf("\nfailed: "+format+"\n", args...)
	panic(errFailed{})
}

func (d *demo) run() (code int) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(errFailed); !ok {
				panic(p)
			}
			code = 1
		}
		for _, clean := range slices.Backward(d.cleanups) {
			clean()
		}
	}()
	show(d)
	return 0
}

// A scene is the network of the demo.
type scene struct {
	l                 *lab.Lab
	host, far, client *lab.NS
	router            *lab.FRR
	netctl            *lab.Netctld
}

// external is the address of the instance.
const external = "198.18.0.7"

func show(t lab.TB) {
	start := time.Now()
	say("Four hosts, each a network namespace: client -- host (netctld) -- router (FRR) -- remote")
	s := build(t)

	say("The host announces over BGP, as AS 65001")
	s.cli("config", "set", "core.bgp_asn=65001", "core.bgp_address=:179")

	say("A bridge network with an external subnet of each family, and the router as its peer")
	s.cli("network", "create", "br0", "ipv4.address=198.51.100.1/24", "ipv6.address=2001:db8:100::1/64",
		"bgp.peers.tor.address=192.0.2.1", "bgp.peers.tor.asn=65000")
	s.plug()
	lab.WaitKernel(s.router, 1, 30*time.Second, netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:100::/64"))

	say("The router has learned both prefixes")
	s.routes()
	s.cli("bgp", "peers")

	say("The remote host reaches the client, with its own address")
	s.on(s.far, "ping", "-c", "3", "-i", "0.2", "198.51.100.10")

	say("An instance with an address of its own, which is in no subnet of the host")
	s.cli("instance", "create", "web", "--start", "--nic", "network=br0,ipv4.address=198.51.100.20,ipv4.routes.external="+external+"/32")
	s.ip("-n", "web", "addr", "add", "198.51.100.20/24", "dev", "eth0")
	s.ip("-n", "web", "route", "add", "default", "via", "198.51.100.1")
	s.ip("-n", "web", "addr", "add", external+"/32", "dev", "lo")
	lab.WaitKernel(s.router, 1, 10*time.Second, netip.MustParsePrefix(external+"/32"))
	s.routes()
	s.on(s.far, "ping", "-c", "3", "-i", "0.2", external)
	s.cli("bgp", "explain", external)

	say("netctld is restarted while the remote host pings the instance every 10 ms")
	ping := s.far.Start("ping", "-n", "-q", "-i", "0.01", external)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		fmt.Printf("  netctld gets %s, and is started again\n", sig)
		s.netctl.Restart(sig)
		s.netctl.WaitSent()
	}
	ping.Signal(syscall.SIGINT)
	_ = ping.Wait(5 * time.Second) // its summary says the same
	summary := regexp.MustCompile(`.*packet loss.*`).FindString(ping.Output())
	fmt.Println("  " + summary)
	if !strings.Contains(summary, " 0% packet loss") {
		t.Fatalf("packets were lost")
	}

	say("The instance stops, and its address is gone")
	s.cli("instance", "stop", "web")
	lab.WaitKernel(s.router, 0, 10*time.Second, netip.MustParsePrefix(external+"/32"))
	s.routes()
	s.unreachable(external)

	say("A full shutdown takes the routes back before the session closes")
	s.cli("shutdown")
	lab.WaitKernel(s.router, 0, 10*time.Second, netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:100::/64"))
	s.routes()
	fmt.Printf("  no route of the host is left\n\nDone in %s.\n", time.Since(start).Round(100*time.Millisecond))
}

func build(t lab.TB) *scene {
	l := lab.New(t, "ping")
	s := &scene{l: l, host: l.NS("host"), far: l.NS("remote"), client: l.NS("client")}
	r := l.NS("router")
	l.Link(s.host, "eth0", r, "eth0")
	l.Link(r, "eth1", s.far, "eth0")
	s.host.Addr("eth0", "192.0.2.2/24", "2001:db8::2/64")
	r.Addr("eth0", "192.0.2.1/24", "2001:db8::1/64")
	r.Addr("eth1", "203.0.113.1/24")
	s.far.Addr("eth0", "203.0.113.2/24")
	r.Forward()
	s.host.Run("ip", "route", "add", "default", "via", "192.0.2.1")
	s.far.Run("ip", "route", "add", "default", "via", "203.0.113.1")
	s.router = lab.NewFRR(r, lab.RouterConfig{
		ASN: 65000, ID: netip.MustParseAddr("192.0.2.1"),
		Peers: []lab.RouterPeer{{Addr: netip.MustParseAddr("192.0.2.2"), ASN: 65001}},
	})
	s.router.Start()
	s.netctl = s.host.Netctld()
	return s
}

// plug connects the client to the bridge, as a container would be.
func (s *scene) plug() {
	s.l.Link(s.client, "eth0", s.host, "vclient")
	s.ip("link", "set", "vclient", "master", "br0")
	s.client.Addr("eth0", "198.51.100.10/24")
	s.client.Run("ip", "route", "add", "default", "via", "198.51.100.1")
}

func (s *scene) routes() {
	for _, family := range []string{"ipv4", "ipv6"} {
		command := "show bgp " + family + " unicast wide"
		out, err := s.router.VTYSH(command)
		if err != nil {
			s.l.Fatalf("%v", err)
		}
		prompt("router", "vtysh", "-c", "'"+command+"'")
		for line := range strings.Lines(out) {
			if strings.Contains(line, "/") && !strings.Contains(line, "codes") || strings.Contains(line, "No BGP prefixes") {
				fmt.Print("  ", line)
			}
		}
	}
}

func (s *scene) cli(args ...string) {
	prompt("host", "netctl", args...)
	indent(s.netctl.CLI(args...))
}

func (s *scene) on(ns *lab.NS, name string, args ...string) {
	prompt(ns.Name, name, args...)
	indent(ns.Run(name, args...))
}

// ip runs a command of iproute2 on the host.
func (s *scene) ip(args ...string) { s.on(s.host, "ip", args...) }

// unreachable shows that the remote host does not reach an address.
func (s *scene) unreachable(address string) {
	prompt(s.far.Name, "ping", "-c", "1", "-W", "2", address)
	out, err := s.far.Try("ping", "-c", "1", "-W", "2", address)
	indent(out)
	if err == nil {
		s.l.Fatalf("%s is still reached", address)
	}
}

func say(text string) { fmt.Printf("\n# %s\n", text) }

func prompt(host, name string, args ...string) {
	fmt.Printf("%s$ %s %s\n", host, filepath.Base(name), strings.Join(args, " "))
}

func indent(out string) {
	for line := range strings.Lines(out) {
		fmt.Print("  ", line)
	}
}
