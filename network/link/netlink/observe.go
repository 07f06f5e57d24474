package netlink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// foreignRoutes are the destinations of routes that are not ours.
type foreignRoutes struct {
	stale bool
	dsts  []netip.Prefix
	next  time.Time // when they may be read again
}

// share is the part of the time that may go into reading foreign routes: a
// host with a full table has a million of them and changes them all the time.
const share = 20

// Observe returns what is seen of the host, ours or not, and how packets
// leave for each of peers. Its maps and slices must not be changed.
func (h *Host) Observe(_ context.Context, peers []netip.Addr) (link.Observed, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if changed, err := h.refresh(); err != nil {
		return link.Observed{}, err
	} else if changed {
		h.poke()
	}
	if err := h.readRoutes(); err != nil {
		return link.Observed{}, err
	}
	if h.seen == nil {
		h.seen = make(map[string]*link.Seen, len(h.links))
		for _, e := range h.links {
			h.seen[e.name] = h.see(e)
		}
	}
	if !slices.Equal(h.own.shown, h.own.list) {
		h.own.shown = slices.Clone(h.own.list)
	}
	o := link.Observed{Links: h.seen, Routes: h.routes.dsts, Own: h.own.shown, Toward: make(map[netip.Addr]link.Toward, len(peers))}
	for _, p := range peers {
		t, ok, err := h.toward(p)
		if err != nil {
			return link.Observed{}, fmt.Errorf("route to %s: %w", p, err)
		}
		if ok {
			o.Toward[p] = t
		}
	}
	return o, nil
}

// Index returns the index of an interface as it was when the picture was last
// brought up to date, as by an Apply.
func (h *Host) Index(name string) (uint32, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.names[name]; e != nil {
		return uint32(e.index), nil
	}
	return 0, fmt.Errorf("interface %s does not exist", name)
}

// see returns what is seen of a link; the same as before when it has not
// changed.
func (h *Host) see(e *entry) *link.Seen {
	master := ""
	if m := h.links[e.master]; m != nil {
		master = m.name
	}
	if e.seen != nil && e.seen.Master == master {
		return e.seen
	}
	e.seen = &link.Seen{
		Name: e.name, Alias: e.alias, Making: e.alias == "" && e.ours(), Kind: e.kind, Up: e.up, Carrier: e.carrier, MAC: e.mac, MTU: e.mtu,
		Master: master, Blocked: e.bridged && e.blocked, Addrs: make([]link.Addr, len(e.addrs)),
	}
	for i, a := range e.addrs {
		e.seen.Addrs[i] = a.Addr
	}
	return e.seen
}

// readRoutes reads the foreign routes when they have changed, but not more
// often than is reasonable; when it is too early it asks for another turn.
func (h *Host) readRoutes() error {
	if !h.routes.stale {
		return nil
	}
	start := time.Now()
	if wait := h.routes.next.Sub(start); wait > 0 {
		time.AfterFunc(wait, h.poke)
		return nil
	}
	dsts, err := h.read.foreign()
	if err != nil {
		return fmt.Errorf("read routes: %w", err)
	}
	now := time.Now()
	h.routes = foreignRoutes{dsts: dsts, next: now.Add(share * now.Sub(start))}
	return nil
}

// toward asks the kernel how packets leave for p. A peer without a route is
// no error.
func (h *Host) toward(p netip.Addr) (t link.Toward, ok bool, err error) {
	opts := &vnl.RouteGetOptions{}
	if p.Zone() != "" {
		dev := h.names[p.Zone()]
		if dev == nil {
			return link.Toward{}, false, nil
		}
		opts.OifIndex = dev.index
	}
	rs, err := h.ops.RouteGetWithOptions(p.AsSlice(), opts)
	for _, none := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL, unix.ENODEV} {
		if errors.Is(err, none) {
			return link.Toward{}, false, nil
		}
	}
	if err != nil || len(rs) == 0 {
		return link.Toward{}, false, err
	}
	if dev := h.links[rs[0].LinkIndex]; dev != nil {
		t.Dev = dev.name
	}
	t.Src, _ = netip.AddrFromSlice(rs[0].Src)
	t.Src = t.Src.Unmap()
	if via, ok := netip.AddrFromSlice(rs[0].Gw); ok {
		t.Via = via.Unmap()
	}
	return t, true, nil
}
