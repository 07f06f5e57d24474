package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"netctl/api"
	"netctl/client"
	"netctl/test/lab"
)

// A site is a host with netctld and two BIRD routers, each on a link of its
// own.
type site struct {
	*lab.Lab
	b      *bench
	host   *lab.NS
	router [2]*lab.BIRD
	routes [2]*routes
	mon    [2]*lab.Monitor

	dir      string
	proc     *lab.Proc
	client   *client.Client
	networks int // how many of the standing ones there are
	filled   filled
	crowd    crowd
}

// A filled says how long it took to create the last networks.
type filled struct {
	networks       int
	accepted, done time.Duration
}

// Addresses of a site.
var (
	routerAddr = [2]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")}
	hostAddr   = [2]netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("198.51.100.2")}
)

const (
	hostASN   = 65001
	routerASN = 65000
	patience  = 2 * time.Minute
)

// at returns the site that the daemon's parts share, with n networks.
func (b *bench) at(n int) *site {
	if b.site == nil {
		b.site = newSite(b)
	}
	s := b.site
	if s.networks < n {
		s.create(s.networks, n)
	}
	return s
}

func newSite(b *bench) *site {
	l := lab.New(b, "dnsmasq", "nft")
	s := &site{Lab: l, b: b, host: l.NS("host")}
	for i := range s.router {
		dev := fmt.Sprintf("eth%d", i)
		ns := l.NS(fmt.Sprintf("router%d", i))
		l.Link(s.host, dev, ns, "eth0")
		s.host.Addr(dev, hostAddr[i].String()+"/24", fmt.Sprintf("2001:db8:f%d::2/64", i))
		ns.Addr("eth0", routerAddr[i].String()+"/24", fmt.Sprintf("2001:db8:f%d::1/64", i))
		s.router[i] = lab.NewBIRD(ns, lab.RouterConfig{
			ASN: routerASN + uint32(i)*10, ID: routerAddr[i],
			Peers: []lab.RouterPeer{{Addr: hostAddr[i], ASN: hostASN}},
		})
		s.router[i].Start()
		s.routes[i] = watchRoutes(l, ns)
		s.mon[i] = lab.MonitorRouter(s.router[i])
	}
	s.addressed()
	s.dir = filepath.Join(l.Dir, "netctl")
	s.client = client.Unix(filepath.Join(s.dir, "unix.socket"))
	l.Cleanup(func() { s.client.Close(); s.killServices() })
	s.start()
	s.ready(time.Now())
	s.must(s.client.PatchServer(context.Background(), api.ServerPut{Config: map[string]string{
		"core.bgp_asn": strconv.Itoa(hostASN), "core.bgp_address": ":179",
	}}, ""))
	return s
}

// addressed waits until the kernel has given the links of the host the
// addresses that it gives them by itself.
func (s *site) addressed() {
	s.Helper()
	s.Eventually(patience, "addresses", func() error {
		if out := s.host.Run("ip", "-o", "-6", "address", "show", "tentative"); out != "" {
			return errors.New(out)
		}
		return nil
	})
}

// must waits until the host has followed a write.
func (s *site) must(rev int64, err error) {
	s.Helper()
	if err == nil {
		err = s.client.WaitApplied(context.Background(), rev, patience)
	}
	if err != nil {
		s.Fatalf("%v", err)
	}
}

// start starts the daemon, and returns when.
func (s *site) start(args ...string) time.Time {
	s.Helper()
	bin, err := lab.Binaries()
	if err != nil {
		s.Fatalf("%v", err)
	}
	began := time.Now()
	s.proc = s.host.Start(filepath.Join(bin, "netctld"), append([]string{"--dir", s.dir, "--group", ""}, args...)...)
	proc := s.proc
	s.Cleanup(func() { proc.Signal(syscall.SIGTERM); _ = proc.Wait(10 * time.Second) })
	return began
}

// ready waits until the daemon says that it is ready, and returns how long
// that took.
func (s *site) ready(began time.Time) time.Duration {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := s.client.Ready(ctx)
		if err == nil {
			return time.Since(began)
		}
		if ctx.Err() != nil || s.proc.Exited() {
			s.Fatalf("netctld is not ready: %v\n%s", err, s.proc.Output())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// stop ends the daemon.
func (s *site) stop(sig syscall.Signal) {
	s.Helper()
	s.proc.Signal(sig)
	if err := s.proc.Wait(patience); err != nil && !s.proc.Exited() {
		s.Fatalf("netctld: %v", err)
	}
}

// A spec is one network of the site.
type spec struct {
	name     string
	v4, v6   netip.Prefix // of the bridge
	dhcp     bool
	prefixes []netip.Prefix // what peers should hear
}

// standing is the i-th of the networks that stay. Every second one has DHCP.
func standing(i int) spec {
	v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 24)
	v6 := netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 5: 1, 6: byte(i >> 8), 7: byte(i), 15: 1}), 64)
	return spec{fmt.Sprintf("n%05d", i), v4, v6, i%2 == 0, []netip.Prefix{v4.Masked(), v6.Masked()}}
}

// post is the request that makes the network, with the first router as its
// peer.
func (n spec) post() api.NetworksPost {
	c := map[string]string{
		"ipv4.address": n.v4.String(), "ipv6.address": n.v6.String(),
		"bgp.peers.tor.address": routerAddr[0].String(), "bgp.peers.tor.asn": strconv.Itoa(routerASN),
	}
	if !n.dhcp {
		c["ipv4.dhcp"], c["ipv6.dhcp"], c["dns.mode"] = "false", "false", "none"
	}
	return api.NetworksPost{Name: n.name, Config: c}
}

// services returns the processes of dnsmasq that belong to the site, by the
// path of their configuration.
func (s *site) services() map[string]int {
	s.Helper()
	found := map[string]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		s.Fatalf("%v", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if _, conf, ok := strings.Cut(string(line), "--conf-file="+s.dir); ok && strings.HasPrefix(string(line), "/") {
			found[strings.TrimRight(conf, "\x00")] = pid
		}
	}
	return found
}

// killServices ends every dnsmasq of the site.
func (s *site) killServices() {
	for _, pid := range s.services() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
