package lab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// An Op is what happened to a route.
type Op string

// What happens to routes.
const (
	Add     Op = "add"
	Replace Op = "replace"
	Delete  Op = "delete"
)

// A Where says where a route changed.
type Where string

// Places that a [Monitor] watches.
const (
	InKernel Where = "kernel" // the main routing table of the namespace
	InTable  Where = "table"  // the router's BGP table, as its log tells
)

// A Change is a change of one route, and when it was seen.
type Change struct {
	Time    time.Time
	Where   Where
	Op      Op
	Prefix  netip.Prefix
	Gateway netip.Addr // in the kernel, when there is one
}

func (c Change) String() string {
	return fmt.Sprintf("%s %s %s %s %s", c.Time.Format("15:04:05.000000"), c.Where, c.Op, c.Prefix, c.Gateway)
}

// A Monitor records every change of the kernel routes of a namespace and, of
// a router, of its BGP table, with the time at which it happened.
type Monitor struct {
	ns     *NS
	router Router // may be nil

	mu     sync.Mutex
	kernel []Change
	lost   error
}

// rcvbuf holds the messages of a flush of 100,000 routes.
const rcvbuf = 256 << 20

// Monitor starts to record the kernel routes of a namespace.
func (ns *NS) Monitor() *Monitor {
	ns.Lab.Helper()
	m := &Monitor{ns: ns}
	h, err := netns.GetFromName(ns.Full)
	if err != nil {
		ns.Lab.Fatalf("monitor %s: %v", ns.Name, err)
	}
	defer h.Close()
	ch, done := make(chan netlink.RouteUpdate, 1024), make(chan struct{})
	err = netlink.RouteSubscribeWithOptions(ch, done, netlink.RouteSubscribeOptions{
		Namespace:              &h,
		ReceiveBufferSize:      rcvbuf,
		ReceiveBufferForceSize: true,
		ErrorCallback: func(err error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.lost = err
		},
	})
	if err != nil {
		ns.Lab.Fatalf("monitor %s: %v", ns.Name, err)
	}
	go func() {
		for u := range ch {
			m.record(u)
		}
	}()
	ns.Lab.Cleanup(func() { close(done) })
	return m
}

// MonitorRouter starts to record the kernel routes and the BGP table of a
// router.
func MonitorRouter(r Router) *Monitor {
	r.NS().Lab.Helper()
	m := r.NS().Monitor()
	m.router = r
	return m
}

// record keeps what the kernel tells about its main table.
func (m *Monitor) record(u netlink.RouteUpdate) {
	if u.Table != unix.RT_TABLE_MAIN {
		return
	}
	c := Change{Time: time.Now(), Where: InKernel, Prefix: prefixOf(u.Route)}
	gw := u.Gw
	if gw == nil && u.Via != nil {
		if via, ok := u.Via.(*netlink.Via); ok {
			gw = via.Addr
		}
	}
	c.Gateway, _ = netip.AddrFromSlice(gw)
	c.Gateway = c.Gateway.Unmap()
	switch {
	case u.Type == unix.RTM_DELROUTE:
		c.Op = Delete
	case u.NlFlags&unix.NLM_F_REPLACE != 0:
		c.Op = Replace
	default:
		c.Op = Add
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kernel = append(m.kernel, c)
}

// prefixOf is the destination of a kernel route.
func prefixOf(r netlink.Route) netip.Prefix {
	if r.Dst == nil {
		if r.Family == unix.AF_INET6 {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	a, _ := netip.AddrFromSlice(r.Dst.IP)
	bits, size := r.Dst.Mask.Size()
	if size == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, bits)
}

// Changes returns what happened since a time to prefixes for which keep is
// true; nil keeps all. It fails the test when the kernel had to drop messages.
func (m *Monitor) Changes(since time.Time, keep func(netip.Prefix) bool) []Change {
	m.ns.Lab.Helper()
	m.mu.Lock()
	all := slices.Clone(m.kernel)
	lost := m.lost
	m.mu.Unlock()
	if lost != nil {
		m.ns.Lab.Fatalf("monitor %s: %v", m.ns.Name, lost)
	}
	if m.router != nil {
		all = append(all, m.logged()...)
	}
	all = slices.DeleteFunc(all, func(c Change) bool {
		return c.Time.Before(since) || keep != nil && !keep(c.Prefix)
	})
	slices.SortStableFunc(all, func(a, b Change) int { return a.Time.Compare(b.Time) })
	return all
}

// logged reads the changes of the BGP table from the router's log.
func (m *Monitor) logged() []Change {
	b, err := os.ReadFile(m.router.logFile())
	if err != nil {
		return nil
	}
	var out []Change
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if c, ok := m.router.parseLog(sc.Text()); ok {
			out = append(out, c)
		}
	}
	return out
}

// Deletes returns the kernel routes that were deleted since a time, of the
// prefixes for which keep is true; nil keeps all.
func (m *Monitor) Deletes(since time.Time, keep func(netip.Prefix) bool) []Change {
	m.ns.Lab.Helper()
	return slices.DeleteFunc(m.Changes(since, keep), func(c Change) bool {
		return c.Op != Delete || c.Where != InKernel
	})
}

// Withdrawn returns the prefixes that left the router's BGP table since a
// time, of those for which keep is true; nil keeps all.
func (m *Monitor) Withdrawn(since time.Time, keep func(netip.Prefix) bool) []Change {
	m.ns.Lab.Helper()
	return slices.DeleteFunc(m.Changes(since, keep), func(c Change) bool {
		return c.Op != Delete || c.Where != InTable
	})
}

// A KernelRoute is a route in the main table of a namespace.
type KernelRoute struct {
	Gateway  netip.Addr // zero for a route on link
	Dev      string
	Protocol string
}

// Routes returns the routes of a namespace's main table with the given
// protocol, as "ip route" calls it; the empty protocol means all.
func (ns *NS) Routes(protocol string) (map[netip.Prefix]KernelRoute, error) {
	routes := map[netip.Prefix]KernelRoute{}
	for _, family := range []string{"-4", "-6"} {
		out, err := ns.Try("ip", family, "-N", "-j", "route", "show")
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(out) == "" {
			continue
		}
		var list []struct {
			Dst      string
			Gateway  netip.Addr
			Via      struct{ Host netip.Addr }
			Dev      string
			Protocol string
			Nexthops []struct {
				Gateway netip.Addr
				Via     struct{ Host netip.Addr }
				Dev     string
			}
		}
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return nil, fmt.Errorf("%s: ip route: %w", ns.Name, err)
		}
		for _, r := range list {
			if protocol != "" && r.Protocol != protocolNumber(protocol) {
				continue
			}
			k := KernelRoute{Gateway: r.Gateway, Dev: r.Dev, Protocol: r.Protocol}
			if len(r.Nexthops) > 0 {
				k.Gateway, k.Dev = r.Nexthops[0].Gateway, r.Nexthops[0].Dev
				r.Via = r.Nexthops[0].Via
			}
			if !k.Gateway.IsValid() {
				k.Gateway = r.Via.Host
			}
			routes[parseDst(r.Dst, family == "-6")] = k
		}
	}
	return routes, nil
}

// protocolNumber turns the name of a protocol into its number.
func protocolNumber(name string) string {
	if n, ok := map[string]string{"kernel": "2", "static": "4", "bird": "12", "zebra": "11", "bgp": "186"}[name]; ok {
		return n
	}
	return name
}

// parseDst reads a destination of "ip route": a prefix, an address or
// "default".
func parseDst(s string, v6 bool) netip.Prefix {
	if s == "default" {
		if v6 {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}
