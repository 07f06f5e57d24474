package link

import (
	"net/netip"
	"slices"
	"strings"
)

// The settings that turn forwarding on, for all interfaces at once.
const (
	forward4 = "net/ipv4/ip_forward"
	forward6 = "net/ipv6/conf/all/forwarding"
)

// Diff returns the operations that turn have into want: first what adds and
// changes, then what takes down, so that a link is never left without an
// address in between. Settings of have that want does not mention stay.
// Namespaces come before the links that go into them, bridges before their
// ports, and routes after the addresses through which they lead.
//
// Three habits of Linux are met on the way. A host that forwards IPv6 ignores
// router advertisements on interfaces whose accept_ra is 1, so these are set
// to 2 first, lest the host lose its own default route. Removing the first
// IPv4 address of a subnet removes the others of it unless
// promote_secondaries is set. And an IPv6 address cannot be added a second
// time with another prefix length, so that the old one has to go first.
func Diff(have, want State) []Op {
	want = Complete(want)
	d := differ{have: have, want: want, wanted: map[string]string{}}
	for _, w := range want.Links {
		for _, p := range w.Ports {
			d.wanted[p] = w.Name
		}
	}
	d.host()
	d.namespaces()
	var changed []pair
	pairs(have.Links, want.Links, func(h, w *Link) {
		if h != w {
			changed = append(changed, pair{h, w})
		}
	})
	slices.SortStableFunc(changed, func(a, b pair) int { return a.rank() - b.rank() })
	for _, p := range changed {
		if p.want != nil {
			d.link(p.have, p.want)
		}
	}
	slices.Reverse(changed)
	for _, p := range changed {
		if p.want == nil {
			d.remove(p.have)
		}
	}
	for _, p := range have.Marked {
		if d.wanted[p] == "" {
			d.release(&Link{Ports: []string{p}})
		}
	}
	d.routes()
	return slices.Concat(d.add, d.ways, d.gone, d.del, d.left)
}

// A pair is what have and want hold under one name; one of them may be nil.
type pair struct{ have, want *Link }

// rank orders links so that those come first that others need.
func (p pair) rank() int {
	l := p.want
	if l == nil {
		l = p.have
	}
	switch l.Kind {
	case Bridge:
		return 0
	case IFB:
		return 1
	case Veth, Tap:
	}
	return 2
}

// A differ collects operations.
type differ struct {
	have, want State
	wanted     map[string]string // the link that each wanted port belongs to
	add, del   []Op              // on links
	ways, gone []Op              // on routes
	left       []Op              // on namespaces that go
	forced     []Sysctl          // per-link settings that a host-wide one has changed, also of links to come
}

// namespaces makes the namespaces that are wanted, and has those go that are
// not.
func (d *differ) namespaces() {
	have, want := d.have.Namespaces, d.want.Namespaces
	op := func(v Verb, n *Namespace) Op { return Op{Verb: v, Owner: n.Owner, Dev: n.Name} }
	for len(have) > 0 || len(want) > 0 {
		switch {
		case len(want) == 0 || len(have) > 0 && have[0].Name < want[0].Name:
			d.left = append(d.left, op(DelNamespace, have[0]))
			have = have[1:]
		case len(have) == 0 || want[0].Name < have[0].Name:
			d.add = append(d.add, op(AddNamespace, want[0]))
			want = want[1:]
		default:
			if have[0].Owner != want[0].Owner {
				d.add = append(d.add, op(MarkNamespace, want[0]))
			}
			have, want = have[1:], want[1:]
		}
	}
}

// host sets what concerns the whole host.
func (d *differ) host() {
	for _, s := range d.want.Sysctls {
		old := value(d.have.Sysctls, s.Key)
		if old == s.Value {
			continue
		}
		if s.Key == forward6 && s.Value == "1" {
			d.keepDefaultRoute()
		}
		d.add = append(d.add, Op{Verb: SetSysctl, Sysctl: s})
		if all, ok := hostWide(s.Key); ok {
			d.forced = append(d.forced, Sysctl{all, s.Value})
		}
	}
}

// keepDefaultRoute lets interfaces that heed router advertisements go on with
// it while the host forwards.
func (d *differ) keepDefaultRoute() {
	for _, s := range d.have.Sysctls {
		dev, ok := acceptRA(s.Key)
		if _, set := valueOf(d.want.Sysctls, s.Key); !ok || s.Value != "1" || set {
			continue
		}
		if _, ours := find(d.have.Links, dev); ours {
			continue
		}
		d.add = append(d.add, Op{Verb: SetSysctl, Dev: dev, Sysctl: Sysctl{s.Key, "2"}})
	}
}

// link makes one link as it should be; h is what there is of it, or nil.
func (d *differ) link(h, w *Link) {
	op := func(v Verb) Op { return Op{Verb: v, Owner: w.Owner, Dev: w.Name} }
	if h != nil {
		h = d.fit(h, w)
	}
	if h == nil {
		o := op(AddLink)
		o.Kind, o.MAC, o.MTU, o.Tun, o.Peer = w.Kind, w.MAC, w.MTU, w.Tap, w.Peer
		d.add = append(d.add, o)
		h = &Link{Name: w.Name, Kind: w.Kind, MAC: w.MAC, MTU: w.MTU, Down: true, Tap: w.Tap, Credulous: w.Kind == Bridge}
		if w.Peer != nil {
			h.Peer = &Peer{Netns: w.Peer.Netns, Name: w.Peer.Name, Stale: true}
		}
	}
	if h.Owner != w.Owner {
		d.add = append(d.add, op(SetAlias))
	}
	if w.MAC != "" && h.MAC != w.MAC {
		o := op(SetMAC)
		o.MAC = w.MAC
		d.add = append(d.add, o)
	}
	if w.MTU != 0 && h.MTU != w.MTU {
		o := op(SetMTU)
		o.MTU = w.MTU
		d.add = append(d.add, o)
	}
	if h.Credulous {
		d.add = append(d.add, op(SetWary))
	}
	for _, s := range w.Sysctls {
		if d.current(h, s.Key) != s.Value {
			o := op(SetSysctl)
			o.Sysctl = s
			d.add = append(d.add, o)
		}
	}
	d.port(h, w)
	d.limits(h, w)
	if h.Down {
		d.add = append(d.add, op(SetUp))
	}
	if w.Peer != nil && h.Peer != nil && *h.Peer != *w.Peer {
		o := op(SetPeer)
		o.Peer, o.Port = w.Peer, h.Peer.Name
		d.add = append(d.add, o)
	}
	d.ports(h, w)
	d.addrs(h, w)
}

// fit returns h, or nil when it had to go because it cannot be made w.
func (d *differ) fit(h, w *Link) *Link {
	gone := Op{Verb: DelLink, Owner: h.Owner, Dev: h.Name}
	switch {
	case h.Kind != w.Kind:
		r := differ{wanted: d.wanted}
		r.remove(h)
		d.add = append(d.add, r.del...)
		return nil
	case w.Peer != nil && h.Peer != nil && h.Peer.Netns != w.Peer.Netns:
		d.add = append(d.add, gone)
		return nil
	case w.Tap == nil || h.Tap == nil || *h.Tap == Tun{w.Tap.UID, w.Tap.GID, w.Tap.MultiQueue, h.Tap.Open}:
		return h
	}
	// All else is seen to though it may be open.
	gone.Verb = DelIdle
	if h.Tap.Open {
		d.del = append(d.del, gone)
		return h
	}
	d.add = append(d.add, gone)
	return nil
}

// port makes w the port of a bridge that it should be.
func (d *differ) port(h, w *Link) {
	if w.Port == nil {
		if h.Port != nil {
			d.del = append(d.del, Op{Verb: DelMaster, Owner: w.Owner, Dev: w.Name})
		}
		return
	}
	is := Port{}
	if h.Port != nil {
		is = *h.Port
	}
	if is.Bridge != w.Port.Bridge {
		d.add = append(d.add, Op{Verb: SetMaster, Owner: w.Owner, Dev: w.Name, Port: w.Port.Bridge})
		is = Port{Bridge: w.Port.Bridge}
	}
	if is != *w.Port {
		d.add = append(d.add, Op{Verb: SetPort, Owner: w.Owner, Dev: w.Name, Isolated: w.Port.Isolated, Hairpin: w.Port.Hairpin})
	}
}

// limits holds w to its rates. The IFB that it may need is a link of its own.
func (d *differ) limits(h, w *Link) {
	op := func(v Verb) Op { return Op{Verb: v, Owner: w.Owner, Dev: w.Name} }
	switch out := w.Limits.out(); {
	case h.Limits.out() == out:
	case out == 0:
		d.add = append(d.add, op(DelRate))
	default:
		o := op(SetRate)
		o.Rate = out
		d.add = append(d.add, o)
	}
	switch {
	case w.Limits.in() > 0 && h.Limits.in() == 0:
		o := op(AddRedirect)
		o.Port = IFBName(w.Name)
		d.add = append(d.add, o)
	case w.Limits.in() == 0 && h.Limits.in() > 0:
		d.add = append(d.add, op(DelRedirect))
	}
}

// current returns the value that a setting of link h has, or will have when
// the operations so far are done.
func (d *differ) current(h *Link, key string) string {
	for _, s := range d.forced {
		if strings.Replace(s.Key, "/*/", "/"+h.Name+"/", 1) == key {
			return s.Value
		}
	}
	return value(h.Sysctls, key)
}

func (d *differ) ports(h, w *Link) {
	for _, p := range w.Ports {
		if slices.Contains(h.Ports, p) {
			continue
		}
		op := Op{Owner: w.Owner, Dev: w.Name, Port: p}
		if !d.marked(p) {
			op.Verb = MarkPort
			d.add = append(d.add, op)
		}
		op.Verb = AddPort
		d.add = append(d.add, op)
		op.Verb = SetPortUp
		d.add = append(d.add, op)
	}
	d.release(h)
}

// release lets the ports of h go that no link of ours is to have.
func (d *differ) release(h *Link) {
	for _, p := range h.Ports {
		if d.wanted[p] != "" {
			continue
		}
		op := Op{Owner: h.Owner, Dev: h.Name, Port: p}
		op.Verb = ReleasePort
		d.del = append(d.del, op)
		op.Verb = UnmarkPort
		d.del = append(d.del, op)
	}
}

// marked reports whether interface p bears our mark already.
func (d *differ) marked(p string) bool {
	return slices.Contains(d.have.Marked, p) ||
		slices.ContainsFunc(d.have.Links, func(l *Link) bool { return slices.Contains(l.Ports, p) })
}

func (d *differ) addrs(h, w *Link) {
	op := func(v Verb, p netip.Prefix) Op {
		return Op{Verb: v, Owner: w.Owner, Dev: w.Name, Prefix: p}
	}
	var gone []netip.Prefix // that were removed already
	for _, a := range w.Addrs {
		if slices.Contains(h.Addrs, a) {
			continue
		}
		for _, old := range h.Addrs {
			if old.Addr() == a.Addr() && a.Addr().Is6() && !slices.Contains(gone, old) {
				d.add = append(d.add, op(DelAddr, old))
				gone = append(gone, old)
			}
		}
		d.add = append(d.add, op(AddAddr, a))
	}
	promoted := false
	for _, a := range h.Addrs {
		if slices.Contains(w.Addrs, a) || slices.Contains(gone, a) {
			continue
		}
		if !promoted && a.Addr().Is4() && slices.ContainsFunc(w.Addrs, func(b netip.Prefix) bool { return a.Masked() == b.Masked() }) {
			o := op(SetSysctl, netip.Prefix{})
			o.Sysctl = Sysctl{"net/ipv4/conf/" + w.Name + "/promote_secondaries", "1"}
			d.del = append(d.del, o)
			promoted = true
		}
		d.del = append(d.del, op(DelAddr, a))
	}
}

// remove takes a link down with all that is on it.
func (d *differ) remove(h *Link) {
	d.release(h)
	d.del = append(d.del, Op{Verb: DelLink, Owner: h.Owner, Dev: h.Name})
}

// hostWide reports whether the host-wide setting key overwrites that of every
// interface when it is written, and returns the pattern of those.
func hostWide(key string) (pattern string, ok bool) {
	switch key {
	case forward6:
		return "net/ipv6/conf/*/forwarding", true
	case forward4, "net/ipv4/conf/all/forwarding":
		return "net/ipv4/conf/*/forwarding", true
	}
	return "", false
}

// acceptRA returns the interface whose setting accept_ra is key.
func acceptRA(key string) (dev string, ok bool) {
	dev, ok = strings.CutPrefix(key, "net/ipv6/conf/")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(dev, "/accept_ra")
}

// value returns the value of key in sorted settings, or nothing.
func value(settings []Sysctl, key string) string {
	v, _ := valueOf(settings, key)
	return v
}

func valueOf(settings []Sysctl, key string) (string, bool) {
	i, ok := slices.BinarySearchFunc(settings, key, func(s Sysctl, k string) int { return strings.Compare(s.Key, k) })
	if !ok {
		return "", false
	}
	return settings[i].Value, true
}

// pairs calls each with what have and want hold under every name, in order;
// nil for the one that does not have it.
func pairs(have, want []*Link, each func(h, w *Link)) {
	for len(have) > 0 || len(want) > 0 {
		var h, w *Link
		switch {
		case len(have) > 0 && len(want) > 0 && have[0] == want[0]:
			h, w = have[0], want[0]
		case len(want) == 0 || len(have) > 0 && have[0].Name < want[0].Name:
			h = have[0]
		case len(have) == 0 || want[0].Name < have[0].Name:
			w = want[0]
		default:
			h, w = have[0], want[0]
		}
		if h != nil {
			have = have[1:]
		}
		if w != nil {
			want = want[1:]
		}
		each(h, w)
	}
}

func find(links []*Link, name string) (*Link, bool) {
	i, ok := slices.BinarySearchFunc(links, name, func(l *Link, n string) int { return strings.Compare(l.Name, n) })
	if !ok {
		return nil, false
	}
	return links[i], true
}
