package dataplane_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/dhcpv6/nclient6"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"netctl/network/dhcp"
	"netctl/network/dhcp/dnsmasq"
	"netctl/network/firewall"
	"netctl/network/firewall/nft"
	"netctl/network/link"
	"netctl/network/link/netlink"
)

// agentEnv makes the test binary an agent; its value is the directory.
const agentEnv = "NETCTL_DATAPLANE_AGENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentEnv); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve answers calls on standard input and output: it is the part of a
// daemon that is under test, in a process and a namespace of its own.
func serve(dir string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := &Agent{dir: dir, taps: map[string]*os.File{}}
	var err error
	if a.links, err = netlink.New(log); err != nil {
		return err
	}
	a.links.BeforeDelete = a.before
	if a.filter, err = nft.New(log); err != nil {
		return err
	}
	if a.services, err = dnsmasq.New(dir, log); err != nil {
		return err
	}
	a.services.ResolvConf = dir + "/resolv.conf"
	a.watch()
	s := rpc.NewServer()
	if err := s.Register(a); err != nil {
		return err
	}
	s.ServeCodec(jsonrpc.NewServerCodec(stdio{}))
	return nil
}

type stdio struct{}

func (stdio) Read(b []byte) (int, error) { return os.Stdin.Read(b) }

func (stdio) Write(b []byte) (int, error) { return os.Stdout.Write(b) }

func (stdio) Close() error { return nil }

// An Agent acts in its namespace for a test.
type Agent struct {
	dir      string
	links    *netlink.Host
	filter   *nft.Firewall
	services *dnsmasq.Servers
	deletes  atomic.Int64
	standing atomic.Pointer[[]string] // the routes of ours when something was about to be taken down last; nil when nobody asks
	taps     map[string]*os.File
	unwatch  func() error
	conns    map[string]net.Conn // by name, for Ask
	heard    map[string]int      // sockets by interface, for Hear
}

// watch starts what notices changes.
func (a *Agent) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	for _, watch := range []func(context.Context) error{a.links.Watch, a.filter.Watch, a.services.Watch} {
		g.Go(func() error { return watch(ctx) })
	}
	a.unwatch = func() error { cancel(); return g.Wait() }
}

// Usage stops watching, returns the numbers of open files and of goroutines,
// and watches again.
func (a *Agent) Usage(_ struct{}, out *[2]int) error {
	if err := a.unwatch(); err != nil {
		return err
	}
	fds, err := os.ReadDir("/proc/self/fd")
	*out = [2]int{len(fds), runtime.NumGoroutine()}
	a.watch()
	return err
}

// A World is what is wanted of a host.
type World struct {
	Link     link.State
	Firewall firewall.Config
	DHCP     []*dhcp.Service
}

// Apply makes the host what w says, in the order of the daemon.
func (a *Agent) Apply(w World, _ *struct{}) error {
	ctx := context.Background()
	return errors.Join(a.links.Apply(ctx, w.Link), a.filter.Apply(ctx, w.Firewall), a.services.Apply(ctx, w.DHCP))
}

// Do carries out operations on links, whatever they are.
func (a *Agent) Do(ops []link.Op, _ *struct{}) error { return a.links.Do(context.Background(), ops) }

// Plan returns what Apply would do.
func (a *Agent) Plan(w World, out *[]string) error {
	ctx := context.Background()
	l, lerr := a.links.Plan(ctx, w.Link)
	f, ferr := a.filter.Plan(ctx, w.Firewall)
	d, derr := a.services.Plan(ctx, w.DHCP)
	*out = append([]string{}, slices.Concat(l, f, d)...)
	return errors.Join(lerr, ferr, derr)
}

// Partly does the first n operations on links that w needs.
func (a *Agent) Partly(args struct {
	World World
	N     int
}, total *int,
) error {
	have, err := a.links.Load(context.Background(), args.World.Link)
	if err != nil {
		return err
	}
	ops := link.Diff(have, args.World.Link)
	*total = len(ops)
	return a.links.Do(context.Background(), ops[:min(args.N, len(ops))])
}

// Expect lets what serves know hosts that are about to come.
func (a *Agent) Expect(w World, _ *struct{}) error {
	a.services.Expect(context.Background(), w.DHCP)
	return nil
}

// Resync forgets what is remembered of the host.
func (a *Agent) Resync(_ struct{}, _ *struct{}) error {
	a.links.Resync()
	a.filter.Resync()
	a.services.Resync()
	return nil
}

// before notes that something is about to be taken down.
func (a *Agent) before(ctx context.Context) {
	a.deletes.Add(1)
	if a.standing.Load() == nil {
		return
	}
	o, err := a.links.Observe(ctx, nil)
	if err != nil {
		panic(err)
	}
	routes := make([]string, len(o.Own))
	for i, r := range o.Own {
		routes[i] = r.Prefix.String()
	}
	a.standing.Store(&routes)
}

// Standing returns the routes of ours that there were when something was about
// to be taken down last, since it was first asked for.
func (a *Agent) Standing(_ struct{}, routes *[]string) error {
	if was := a.standing.Swap(routes); was != nil {
		*routes = *was
	}
	return nil
}

// Deletes returns how often links were about to be taken down.
func (a *Agent) Deletes(_ struct{}, n *int64) error {
	*n = a.deletes.Load()
	return nil
}

// Changed waits until something has changed: "link", "filter" or "dhcp".
func (a *Agent) Changed(what string, _ *struct{}) error {
	changed := map[string]<-chan struct{}{
		"link": a.links.Changed(), "filter": a.filter.Changed(), "dhcp": a.services.Changed(),
	}[what]
	select {
	case <-changed:
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("no change of %s was noticed", what)
	}
}

// Quiet takes what has been noticed so far, and reports whether there was
// something.
func (a *Agent) Quiet(what string, noticed *bool) error {
	changed := map[string]<-chan struct{}{
		"link": a.links.Changed(), "filter": a.filter.Changed(), "dhcp": a.services.Changed(),
	}[what]
	select {
	case <-changed:
		*noticed = true
	default:
	}
	return nil
}

// Seen is what Observe tells of a link, in a form that survives JSON.
type Seen struct {
	Alias, MAC, Master string
	MTU                int
	Up, Carrier        bool
	Blocked            bool
	Addrs, Dynamic     []string
}

// Observed is what Observe tells.
type Observed struct {
	Links  map[string]Seen
	Routes []netip.Prefix
	Toward map[netip.Addr]link.Toward
}

// Observe returns what is seen of the host.
func (a *Agent) Observe(peers []netip.Addr, o *Observed) error {
	got, err := a.links.Observe(context.Background(), peers)
	if err != nil {
		return err
	}
	*o = Observed{Links: map[string]Seen{}, Routes: got.Routes, Toward: got.Toward}
	for name, s := range got.Links {
		seen := Seen{Alias: s.Alias, MAC: s.MAC, Master: s.Master, MTU: s.MTU, Up: s.Up, Carrier: s.Carrier, Blocked: s.Blocked}
		for _, ad := range s.Addrs {
			seen.Addrs = append(seen.Addrs, ad.String())
			if ad.Dynamic {
				seen.Dynamic = append(seen.Dynamic, ad.String())
			}
		}
		o.Links[name] = seen
	}
	return nil
}

// OpenTap opens a tap as a hypervisor does.
func (a *Agent) OpenTap(args struct {
	Name       string
	MultiQueue bool
}, _ *struct{},
) error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	req, err := unix.NewIfreq(args.Name)
	if err != nil {
		return err
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if args.MultiQueue {
		flags |= unix.IFF_MULTI_QUEUE
	}
	req.SetUint16(flags)
	if err := unix.IoctlIfreq(int(f.Fd()), unix.TUNSETIFF, req); err != nil {
		return errors.Join(err, f.Close())
	}
	a.taps[args.Name] = f
	return nil
}

// CloseTap closes a tap that was opened.
func (a *Agent) CloseTap(name string, _ *struct{}) error { return a.taps[name].Close() }

// Leases returns the leases of a network.
func (a *Agent) Leases(network string, out *[]dhcp.Lease) error {
	ls, err := a.services.Leases(network)
	*out = append([]dhcp.Lease{}, ls...)
	return err
}

// Mirror tells everybody who connects to addr over TCP whom it sees.
func (a *Agent) Mirror(addr string, _ *struct{}) error {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, netip.MustParseAddrPort(c.RemoteAddr().String()).Addr().String())
			_ = c.Close()
		}
	}()
	return nil
}

// Look connects to a mirror, from a local address and port if From is set,
// and returns whom it sees.
func (a *Agent) Look(args struct{ From, Addr string }, seen *string) error {
	d := net.Dialer{Timeout: time.Second}
	if args.From != "" {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(args.From))
	}
	c, err := d.DialContext(context.Background(), "tcp", args.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	*seen = string(b)
	return err
}

// resolver asks a DNS server.
func resolver(server string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: time.Second}
		return d.DialContext(ctx, network, net.JoinHostPort(server, "53"))
	}}
}

// Resolve asks a DNS server for the addresses of a name.
func (a *Agent) Resolve(args struct{ Server, Name string }, out *[]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	found, err := resolver(args.Server).LookupHost(ctx, args.Name)
	*out = append([]string{}, found...)
	return err
}

// DHCP6 gets an address for an interface by DHCPv6, with which nothing is
// done, and returns it with the name servers that came along. The client
// names itself, and is known by a DUID that tells nothing if there is one.
func (a *Agent) DHCP6(args struct{ Dev, Name, UUID string }, out *[]string) error {
	c, err := nclient6.New(args.Dev, nclient6.WithTimeout(time.Second), nclient6.WithRetry(5))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx := context.Background()
	with := []dhcpv6.Modifier{dhcpv6.WithFQDN(1, args.Name)} // RFC 4704: the server is to make it known
	if args.UUID != "" {
		duid := &dhcpv6.DUIDUUID{}
		copy(duid.UUID[:], args.UUID)
		with = append(with, dhcpv6.WithClientID(duid))
	}
	offer, err := c.Solicit(ctx, with...)
	if err != nil {
		return err
	}
	reply, err := c.Request(ctx, offer, with...)
	if err != nil {
		return err
	}
	*out = []string{}
	if ia := reply.Options.OneIANA(); ia != nil && ia.Options.OneAddress() != nil {
		*out = append(*out, ia.Options.OneAddress().IPv6Addr.String())
	}
	for _, s := range reply.Options.DNS() {
		*out = append(*out, s.String())
	}
	return nil
}

// Reverse asks a DNS server for the names of an address.
func (a *Agent) Reverse(args struct{ Server, Addr string }, out *[]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	found, err := resolver(args.Server).LookupAddr(ctx, args.Addr)
	*out = append([]string{}, found...)
	return err
}
