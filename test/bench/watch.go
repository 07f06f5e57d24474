package main

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"netctl/test/lab"
)

// routes tells when routes change in the kernel of a namespace, which is where
// a router puts what it hears.
type routes struct {
	mu      sync.Mutex
	waiting map[netip.Prefix]*arrival
}

// An arrival is a route that is waited for.
type arrival struct {
	gateway netip.Addr // zero for any
	gone    bool       // it is to be removed
	at      chan time.Time
}

// watchRoutes starts to watch a namespace.
func watchRoutes(l *lab.Lab, ns *lab.NS) *routes {
	l.Helper()
	h, err := netns.GetFromName(ns.Full)
	if err != nil {
		l.Fatalf("watch %s: %v", ns.Name, err)
	}
	defer h.Close()
	r := &routes{waiting: map[netip.Prefix]*arrival{}}
	updates, done := make(chan netlink.RouteUpdate, 4096), make(chan struct{})
	err = netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{
		Namespace: &h, ReceiveBufferSize: 64 << 20, ReceiveBufferForceSize: true,
	})
	if err != nil {
		l.Fatalf("watch %s: %v", ns.Name, err)
	}
	l.Cleanup(func() { close(done) })
	go func() {
		for u := range updates {
			r.take(u)
		}
	}()
	return r
}

// take hands a change to whoever waits for it.
func (r *routes) take(u netlink.RouteUpdate) {
	if u.Table != unix.RT_TABLE_MAIN || u.Dst == nil {
		return
	}
	now := time.Now()
	a, _ := netip.AddrFromSlice(u.Dst.IP)
	bits, _ := u.Dst.Mask.Size()
	prefix := netip.PrefixFrom(a.Unmap(), bits)
	gateway, _ := netip.AddrFromSlice(u.Gw)
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waiting[prefix]
	if w == nil || w.gone != (u.Type == unix.RTM_DELROUTE) || w.gateway.IsValid() && w.gateway != gateway.Unmap() {
		return
	}
	delete(r.waiting, prefix)
	w.at <- now
}

// expect returns a channel that tells when a route is there, with a gateway
// unless that is zero.
func (r *routes) expect(p netip.Prefix, gateway netip.Addr) <-chan time.Time {
	return r.wait(p, &arrival{gateway: gateway, at: make(chan time.Time, 1)})
}

// expectGone is expect for the removal of a route.
func (r *routes) expectGone(p netip.Prefix) <-chan time.Time {
	return r.wait(p, &arrival{gone: true, at: make(chan time.Time, 1)})
}

func (r *routes) wait(p netip.Prefix, a *arrival) <-chan time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[p] = a
	return a.at
}

// receive returns what comes out of a channel, or fails the run.
func receive(l *lab.Lab, what string, at <-chan time.Time) time.Time {
	l.Helper()
	select {
	case t := <-at:
		return t
	case <-time.After(patience):
		l.Fatalf("%s: not within %s", what, patience)
	}
	return time.Time{}
}

// A witness records what changes on a host: the notifications of the kernel
// about links, their settings, addresses and routes, those about nftables, and the processes
// of dnsmasq.
type witness struct {
	s        *site
	link, nf *lab.Proc
	services map[string]int
}

// witness starts to record.
func (s *site) witness() *witness {
	s.Helper()
	w := &witness{
		s: s, services: s.services(),
		// It complains of what else is in the directory of namespaces.
		link: s.host.Start("sh", "-c", "exec ip -o monitor link address route netconf 2>/dev/null"),
		nf:   s.host.Start("stdbuf", "-oL", "nft", "monitor"),
	}
	// They listen once they report a change.
	ours := netip.MustParsePrefix("203.0.113.1/32")
	s.Eventually(patience, "monitors", func() error {
		s.host.Run("ip", "route", "replace", "blackhole", ours.String())
		s.host.Run("ip", "route", "del", "blackhole", ours.String())
		s.host.Run("nft", "add table inet witness; delete table inet witness")
		return contains(w.link.Output(), ours.Addr().String(), w.nf.Output(), "witness")
	})
	return w
}

// A tally is how much has changed.
type tally struct {
	link, nf int // notifications
	services int // processes of dnsmasq that are not what they were
}

// end stops recording and counts.
func (w *witness) end() tally {
	w.s.Helper()
	// What has happened so far was queued before this.
	w.s.host.Run("ip", "route", "replace", "blackhole", "203.0.113.2/32")
	w.s.host.Run("ip", "route", "del", "blackhole", "203.0.113.2/32")
	w.s.host.Run("nft", "add table inet farewell; delete table inet farewell")
	w.s.Eventually(patience, "monitors", func() error {
		return contains(w.link.Output(), "203.0.113.2", w.nf.Output(), "delete table inet farewell")
	})
	link, nf := without(w.link.Output(), "203.0.113."), without(w.nf.Output(), "witness", "farewell", "generation")
	for _, line := range append(link, nf...) {
		w.s.Logf("  changed: %s", line)
	}
	t := tally{link: len(link), nf: len(nf)}
	now := w.s.services()
	for conf, pid := range w.services {
		if now[conf] != pid {
			t.services++
		}
		delete(now, conf)
	}
	t.services += len(now)
	w.link.Signal(syscall.SIGKILL)
	w.nf.Signal(syscall.SIGKILL)
	return t
}

// without returns the lines that have none of the given words.
func without(out string, words ...string) []string {
	return slices.DeleteFunc(strings.Split(strings.TrimSpace(out), "\n"), func(line string) bool {
		return line == "" || slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) })
	})
}
