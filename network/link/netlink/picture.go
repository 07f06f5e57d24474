package netlink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netctl/network/link"
)

// An entry is one link in the picture. It is replaced, never changed, apart
// from what is remembered of it.
type entry struct {
	index, master int
	name          string
	alias         string
	group         uint32
	kind          link.Kind
	up, carrier   bool
	mac           string
	mtu           int
	marks         []string // alternative names that are port marks
	conf          uint64   // digest of its settings, when it is ours
	addrs         []addr
	qdisc         string // the kind of its queueing discipline

	bridged, blocked, isolated, hairpin bool // as a port of a bridge

	credulous bool     // of a bridge, see link.Link
	tun       link.Tun // of a tap
	peerIndex int      // of the other end of a veth
	nsid      int      // of the namespace where that is, -1 for this one
	peer      peer     // that end, when the veth is ours

	seen  *link.Seen // what Observe makes of it; nil until it has
	match *link.Link // what it is known to match; nil when it is not known
}

// A peer is the other end of a veth; the zero peer is one that could not be
// looked at.
type peer struct {
	name, mac string
	mtu       int
	group     uint32
}

// An addr is an address on a link.
type addr struct {
	link.Addr
	global bool // by scope
}

// ours reports whether the link bears our mark.
func (e *entry) ours() bool {
	return strings.HasPrefix(e.alias, link.AliasPrefix) || e.alias == "" && e.group == link.Group
}

func (e *entry) equal(o *entry) bool {
	return e != nil && o != nil && e.index == o.index && e.master == o.master && e.name == o.name &&
		e.alias == o.alias && e.group == o.group && e.kind == o.kind && e.up == o.up &&
		e.carrier == o.carrier && e.conf == o.conf && e.mac == o.mac && e.mtu == o.mtu && slices.Equal(e.marks, o.marks) &&
		slices.Equal(e.addrs, o.addrs) && e.qdisc == o.qdisc && e.port() == o.port() && e.tun == o.tun &&
		e.credulous == o.credulous && e.peerIndex == o.peerIndex && e.nsid == o.nsid && e.peer == o.peer
}

// port is how e is a port of a bridge.
func (e *entry) port() [4]bool { return [4]bool{e.bridged, e.blocked, e.isolated, e.hairpin} }

// many is from how many stale links on everything is read at once.
const many = 64

// refresh brings the picture up to date, and reports whether something has
// changed in it that is not our doing.
func (h *Host) refresh() (changed bool, err error) {
	if changed, err = h.drain(); err != nil {
		return false, err
	}
	more, err := h.readLinks()
	changed = changed || more
	if err != nil {
		return changed, err
	}
	more, err = h.readSpaces()
	changed = changed || more
	if err != nil {
		return changed, err
	}
	more, err = h.readOwn()
	return changed || more, err
}

// readLinks reads the links again that have changed, or all.
func (h *Host) readLinks() (changed bool, err error) {
	if h.lost || len(h.stale) > many {
		all, err := h.read.links()
		if err != nil {
			h.lost = true
			return changed, fmt.Errorf("read links: %w", err)
		}
		for index := range h.links {
			if all[index] == nil {
				changed = h.set(index, nil) || changed
			}
		}
		for index, e := range all {
			if old := h.links[index]; !h.lost && old != nil && !h.stale[index] {
				e.peer = old.peer
			} else {
				h.read.peer(e)
			}
			changed = h.set(index, e) || changed
		}
		h.lost = false
		clear(h.stale)
		return changed, nil
	}
	for index := range h.stale {
		e, err := h.read.link(index)
		if err != nil {
			return changed, fmt.Errorf("read link %d: %w", index, err)
		}
		changed = h.set(index, e) || changed
		delete(h.stale, index)
	}
	return changed, nil
}

// set replaces one link of the picture, and reports whether that is news.
func (h *Host) set(index int, e *entry) (changed bool) {
	old := h.links[index]
	if old == nil && e == nil || old.equal(e) {
		return false
	}
	h.seen = nil
	if old != nil && h.names[old.name] == old {
		delete(h.names, old.name)
	}
	if old != nil && e != nil && old.name != e.name {
		h.own.lost = true // hops are kept by name
	}
	if old != nil && (e == nil || !e.up) {
		h.noteDown(index, false) // the notification that tells it may come later
	}
	h.forget(old, e)
	h.count(index, old, e)
	if e == nil {
		delete(h.links, index)
		return !h.touched[old.name]
	}
	h.links[index], h.names[e.name] = e, e
	return !h.touched[e.name]
}

// forget drops the settings of a link that changes from old to e, and those
// of the host, which may be why.
func (h *Host) forget(old, e *entry) {
	for _, l := range []*entry{old, e} {
		if l != nil {
			delete(h.sysctls, l.name)
			h.matches.drop(h.names[l.name])
			h.matches.drop(l)
			delete(h.rates, l.index)
		}
	}
	if old != nil && e != nil && old.conf != e.conf {
		delete(h.sysctls, "")
	}
}

// count keeps the number of links of ours, and which links bear port marks,
// when one changes from old to e.
func (h *Host) count(index int, old, e *entry) {
	if old != nil && old.ours() {
		h.ours--
	}
	delete(h.marked, index)
	if e == nil {
		return
	}
	if e.ours() {
		h.ours++
	}
	if len(e.marks) > 0 {
		h.marked[index] = e
	}
}

// Load returns what of the host is ours. It holds the settings that want
// names, and no others.
func (h *Host) Load(_ context.Context, want link.State) (link.State, error) {
	s, _, err := h.load(want, false)
	return s, err
}

// A match is a link as it was found and as it is wanted.
type match struct {
	entry *entry
	want  *link.Link
}

// load is Load. Links and routes of which it is known that they are as they
// should be are those of want themselves, which saves the comparison; of the
// others it returns what it has found. With applying it is an Apply that asks:
// all that it has done is in the picture then, and what comes after is others'
// doing.
func (h *Host) load(want link.State, applying bool) (s link.State, found []match, err error) {
	want = link.Complete(want)
	h.mu.Lock()
	defer h.mu.Unlock()
	if changed, err := h.refresh(); err != nil {
		return link.State{}, nil, err
	} else if changed {
		h.poke()
	}
	if applying {
		h.untouch()
	}
	h.spaces.wanted = want.Namespaces
	s.Namespaces = h.spaces.ours()
	s.Routes = h.own.match(want.Routes)
	ports := map[int][]string{}
	for _, e := range h.marked {
		if m := h.links[e.master]; m != nil && m.ours() && e.up {
			ports[e.master] = append(ports[e.master], e.name)
		} else {
			s.Marked = append(s.Marked, e.name)
		}
	}
	slices.Sort(s.Marked)
	var errs []error
	s.Links = make([]*link.Link, 0, len(want.Links))
	for _, w := range want.Links {
		e := h.matches[w]
		if e != nil && len(ports[e.index]) == 0 {
			s.Links = append(s.Links, w)
			continue
		}
		if e = h.names[w.Name]; e == nil || !e.ours() {
			continue
		}
		l, err := h.link(e, w, ports[e.index])
		s.Links, errs = append(s.Links, l), append(errs, err)
		found = append(found, match{e, w})
	}
	if len(s.Links) < h.ours {
		s.Links = append(s.Links, h.others(want, ports)...)
		slices.SortFunc(s.Links, compareLink)
	}
	s.Sysctls, err = h.hostSettings(want.Sysctls)
	return s, found, errors.Join(append(errs, err)...)
}

// others returns the links of ours that are not wanted.
func (h *Host) others(want link.State, ports map[int][]string) []*link.Link {
	var out []*link.Link
	for _, e := range h.links {
		if !e.ours() {
			continue
		}
		_, wanted := slices.BinarySearchFunc(want.Links, e.name, func(l *link.Link, name string) int { return strings.Compare(l.Name, name) })
		if !wanted {
			out = append(out, h.bare(e, ports[e.index]))
		}
	}
	return out
}

func compareLink(a, b *link.Link) int { return strings.Compare(a.Name, b.Name) }

// keep remembers that links are as they should be. What is known of ports is
// not known of a link alone.
func (h *Host) keep(found []match) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range found {
		if len(m.want.Ports) == 0 && h.names[m.want.Name] == m.entry {
			h.matches.add(m.entry, m.want)
		}
	}
}

// link returns the link of ours that e is, as far as w asks for it.
func (h *Host) link(e *entry, w *link.Link, ports []string) (*link.Link, error) {
	l := h.bare(e, ports)
	if w.Peer != nil && e.kind == link.Veth {
		l.Peer = h.peer(e, w.Peer)
	}
	var err, lerr error
	l.Limits, lerr = h.limits(e, w)
	l.Sysctls, err = h.settings(w.Sysctls)
	return l, errors.Join(err, lerr)
}

// bare returns the link of ours that e is, without what has to be asked for.
func (h *Host) bare(e *entry, ports []string) *link.Link {
	l := &link.Link{
		Name: e.name, Kind: e.kind, Owner: strings.TrimPrefix(e.alias, link.AliasPrefix),
		Down: !e.up, MAC: e.mac, MTU: e.mtu, Ports: ports, Credulous: e.credulous,
	}
	for _, a := range e.addrs {
		if a.global {
			l.Addrs = append(l.Addrs, a.Prefix)
		}
	}
	if e.kind == link.Tap {
		l.Tap = &e.tun
	}
	if m := h.links[e.master]; m != nil && e.kind != link.Bridge {
		l.Port = &link.Port{Bridge: m.name, Isolated: e.isolated, Hairpin: e.hairpin}
	}
	slices.Sort(l.Ports)
	slices.SortFunc(l.Addrs, netip.Prefix.Compare)
	return l
}
