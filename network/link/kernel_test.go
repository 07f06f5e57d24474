package link

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// A kernel applies operations the way Linux does, with its habits, and
// refuses what Linux would refuse.
type kernel struct {
	links   map[string]*Link
	spaces  map[string]*Namespace
	routes  map[netip.Prefix]*Route
	ports   map[string]*port // foreign interfaces
	sysctls map[string]string
}

type port struct {
	marked, up bool
	master     string
}

func newKernel(s State, ports []string) *kernel {
	s = Complete(s)
	k := &kernel{
		links: map[string]*Link{}, spaces: map[string]*Namespace{}, routes: map[netip.Prefix]*Route{},
		ports: map[string]*port{}, sysctls: map[string]string{},
	}
	for _, n := range s.Namespaces {
		k.spaces[n.Name] = &Namespace{n.Name, n.Owner}
	}
	for _, r := range s.Routes {
		k.routes[r.Prefix] = r
	}
	for _, p := range ports {
		k.ports[p] = &port{}
	}
	for _, l := range s.Links {
		for _, p := range l.Ports {
			*k.ports[p] = port{true, true, l.Name}
		}
		for _, s := range l.Sysctls {
			k.sysctls[s.Key] = s.Value
		}
		c := l.clone()
		c.Ports, c.Sysctls = nil, nil
		k.links[l.Name] = c
	}
	for _, p := range s.Marked {
		k.ports[p].marked = true
	}
	for _, s := range s.Sysctls {
		k.sysctls[s.Key] = s.Value
	}
	return k
}

// clone returns a deep copy of l.
func (l *Link) clone() *Link {
	c := *l
	c.Addrs = slices.Clone(l.Addrs)
	c.Port, c.Peer, c.Tap, c.Limits = copied(l.Port), copied(l.Peer), copied(l.Tap), copied(l.Limits)
	return &c
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// load returns what Load would, for what want asks for.
func (k *kernel) load(want State) State {
	var s State
	for _, name := range slices.Sorted(maps.Keys(k.links)) {
		l := k.links[name].clone()
		slices.SortFunc(l.Addrs, netip.Prefix.Compare)
		if w, ok := find(want.Links, name); ok {
			for _, c := range w.Sysctls {
				l.Sysctls = append(l.Sysctls, Sysctl{c.Key, k.sysctls[c.Key]})
			}
		}
		s.Links = append(s.Links, l)
	}
	for _, name := range slices.Sorted(maps.Keys(k.spaces)) {
		s.Namespaces = append(s.Namespaces, copied(k.spaces[name]))
	}
	for _, r := range k.routes {
		s.Routes = append(s.Routes, r)
	}
	slices.SortFunc(s.Routes, (*Route).Compare)
	for _, name := range slices.Sorted(maps.Keys(k.ports)) {
		p := k.ports[name]
		if i := slices.IndexFunc(s.Links, func(l *Link) bool { return l.Name == p.master }); p.marked && i >= 0 && p.up {
			s.Links[i].Ports = append(s.Links[i].Ports, name)
		} else if p.marked {
			s.Marked = append(s.Marked, name)
		}
	}
	for _, c := range want.Sysctls {
		s.Sysctls = append(s.Sysctls, Sysctl{c.Key, k.sysctls[c.Key]})
	}
	return s
}

func (k *kernel) do(o Op) error {
	switch o.Verb {
	case AddNamespace, MarkNamespace, DelNamespace:
		return k.namespace(o)
	case AddLink:
		return k.addLink(o)
	case AddRoute, SetRoute, DelRoute:
		return k.route(o)
	case MarkPort, AddPort, SetPortUp, ReleasePort, UnmarkPort:
		return k.port(o)
	case SetSysctl:
		k.sysctls[o.Sysctl.Key] = o.Sysctl.Value
		for name := range k.links {
			switch o.Sysctl.Key {
			case "net/ipv4/ip_forward":
				k.sysctls["net/ipv4/conf/"+name+"/forwarding"] = o.Sysctl.Value
			case "net/ipv6/conf/all/forwarding":
				k.sysctls["net/ipv6/conf/"+name+"/forwarding"] = o.Sysctl.Value
			}
		}
		return nil
	default:
	}
	l := k.links[o.Dev]
	if l == nil {
		return fmt.Errorf("%s: no such link", o)
	}
	return k.change(l, o)
}

func (k *kernel) addLink(o Op) error {
	if k.links[o.Dev] != nil {
		return fmt.Errorf("%s: exists", o)
	}
	l := &Link{Name: o.Dev, Kind: o.Kind, MAC: o.MAC, MTU: o.MTU, Tap: copied(o.Tun), Down: true}
	if o.Peer != nil {
		if k.spaces[o.Peer.Netns.Name] == nil {
			return fmt.Errorf("%s: no such namespace", o)
		}
		l.Peer = copied(o.Peer)
		l.Peer.Stale = true
	}
	k.links[o.Dev] = l
	// The kernel sets the default when it sets all.
	k.sysctls["net/ipv6/conf/"+o.Dev+"/forwarding"] = k.sysctls[forward6]
	return nil
}

func (k *kernel) namespace(o Op) error {
	switch n := k.spaces[o.Dev]; {
	case (n == nil) != (o.Verb == AddNamespace):
		return fmt.Errorf("%s: exists, or does not", o)
	case o.Verb == DelNamespace:
		delete(k.spaces, o.Dev)
		maps.DeleteFunc(k.links, func(_ string, l *Link) bool { return l.Peer != nil && l.Peer.Netns.Name == o.Dev })
	default:
		k.spaces[o.Dev] = &Namespace{o.Dev, o.Owner}
	}
	return nil
}

// route holds that a route leads over links that are up, and to gateways that
// are on one of their subnets.
func (k *kernel) route(o Op) error {
	is := k.routes[o.Route.Prefix]
	switch {
	case o.Verb == DelRoute:
		delete(k.routes, o.Route.Prefix) // it may have gone with its link
		return nil
	case (is == nil) != (o.Verb == AddRoute):
		return fmt.Errorf("%s: exists, or does not", o)
	}
	for _, h := range o.Route.Hops {
		l := k.links[h.Dev]
		if l == nil || l.Down {
			return fmt.Errorf("%s: %s is down", o, h.Dev)
		}
		if h.Via.IsValid() && !slices.ContainsFunc(l.Addrs, func(a netip.Prefix) bool { return a.Masked().Contains(h.Via) }) {
			return fmt.Errorf("%s: %s is unreachable", o, h.Via)
		}
	}
	k.routes[o.Route.Prefix] = &Route{Prefix: o.Route.Prefix, Hops: o.Route.Usable()}
	return nil
}

// change carries out an operation on a link.
func (k *kernel) change(l *Link, o Op) error {
	if l.Limits == nil {
		l.Limits = &Limits{}
	}
	switch o.Verb {
	case SetAlias:
		l.Owner = o.Owner
	case SetMAC:
		l.MAC = o.MAC
	case SetMTU:
		l.MTU = o.MTU
	case SetUp:
		l.Down = false
	case SetMaster:
		if k.links[o.Port] == nil {
			return fmt.Errorf("%s: no such bridge", o)
		}
		l.Port = &Port{Bridge: o.Port}
	case DelMaster:
		l.Port = nil
	case SetPort:
		l.Port.Isolated, l.Port.Hairpin = o.Isolated, o.Hairpin
	case SetPeer:
		if l.Peer.Netns != o.Peer.Netns {
			return fmt.Errorf("%s: it is in %s", o, l.Peer.Netns)
		}
		l.Peer = copied(o.Peer)
	case SetRate:
		l.Limits.Out = o.Rate
	case DelRate:
		l.Limits.Out = 0
	case AddRedirect:
		if k.links[o.Port] == nil {
			return fmt.Errorf("%s: no such IFB", o)
		}
		l.Limits.In = k.links[o.Port].Limits.out()
	case DelRedirect:
		l.Limits.In = 0
	case AddAddr:
		if slices.ContainsFunc(l.Addrs, func(a netip.Prefix) bool {
			return a == o.Prefix || a.Addr() == o.Prefix.Addr() && a.Addr().Is6()
		}) {
			return fmt.Errorf("%s: exists", o)
		}
		l.Addrs = append(l.Addrs, o.Prefix)
	case DelAddr:
		k.delAddr(l, o)
	case DelIdle, DelLink:
		if o.Verb == DelIdle && l.Tap.Open {
			return fmt.Errorf("%s: is open", o)
		}
		k.delLink(o.Dev)
	default:
		return fmt.Errorf("%s: unknown", o)
	}
	if *l.Limits == (Limits{}) {
		l.Limits = nil
	}
	return nil
}

// delLink deletes a link with its ports' master and the hops over it.
func (k *kernel) delLink(name string) {
	delete(k.links, name)
	maps.DeleteFunc(k.sysctls, func(key, _ string) bool { return strings.Contains(key, "/"+name+"/") })
	for _, p := range k.ports {
		if p.master == name {
			p.master = ""
		}
	}
	for _, l := range k.links {
		if l.Port != nil && l.Port.Bridge == name {
			l.Port = nil
		}
	}
	for prefix, r := range k.routes {
		left := &Route{Prefix: prefix}
		for _, h := range r.Hops {
			if h.Dev != name {
				left.Hops = append(left.Hops, h)
			}
		}
		k.routes[prefix] = left
		if len(left.Hops) == 0 {
			delete(k.routes, prefix)
		}
	}
}

// delAddr takes the other IPv4 addresses of the subnet along, as Linux does
// when the one that goes came first. One that is gone already is no error.
func (k *kernel) delAddr(l *Link, o Op) {
	promote := k.sysctls["net/ipv4/conf/"+l.Name+"/promote_secondaries"] == "1"
	l.Addrs = slices.DeleteFunc(l.Addrs, func(a netip.Prefix) bool {
		return a == o.Prefix || a.Addr().Is4() && a.Masked() == o.Prefix.Masked() && !promote
	})
}

func (k *kernel) port(o Op) error {
	p := k.ports[o.Port]
	if p == nil {
		return fmt.Errorf("%s: no such interface", o)
	}
	switch o.Verb {
	case MarkPort:
		p.marked = true
	case AddPort:
		if k.links[o.Dev] == nil || !p.marked {
			return fmt.Errorf("%s: no such bridge, or not marked", o)
		}
		p.master = o.Dev
	case SetPortUp:
		p.up = true
	case ReleasePort:
		if !p.marked {
			return fmt.Errorf("%s: not ours", o)
		}
		p.master = ""
	case UnmarkPort:
		if p.master != "" {
			return fmt.Errorf("%s: is a port still", o)
		}
		p.marked = false
	default:
		return fmt.Errorf("%s: unknown", o)
	}
	return nil
}

var foreign = []string{"eth1", "eth2", "eth3"}

// states generates what may be wanted.
func states() *rapid.Generator[State] {
	return rapid.Custom(func(t *rapid.T) State {
		var s State
		free := slices.Clone(foreign)
		for _, name := range []string{"br0", "br1", "br2"} {
			if !rapid.Bool().Draw(t, name) {
				continue
			}
			l := Link{Name: name, Kind: Bridge, Owner: name, MTU: rapid.SampledFrom([]int{1400, 1500}).Draw(t, "mtu")}
			l.MAC = rapid.SampledFrom([]string{"02:00:00:00:00:01", "02:00:00:00:00:02"}).Draw(t, "mac")
			for len(free) > 0 && rapid.Bool().Draw(t, "port") {
				l.Ports, free = append(l.Ports, free[0]), free[1:]
			}
			used := map[netip.Addr]bool{}
			for _, p := range rapid.SliceOfDistinct(rapid.SampledFrom(prefixes(
				"10.0.0.1/24", "10.0.0.2/24", "10.0.0.1/16", "10.0.1.1/24", "fd42::1/64", "fd42::1/48", "fd42::2/64",
			)), rapid.ID[netip.Prefix]).Draw(t, "addrs") {
				if !used[p.Addr()] {
					l.Addrs = append(l.Addrs, p)
				}
				used[p.Addr()] = true
			}
			slices.SortFunc(l.Addrs, netip.Prefix.Compare)
			if v := rapid.SampledFrom([]string{"", "0", "1"}).Draw(t, "forwarding"); v != "" {
				l.Sysctls = []Sysctl{{"net/ipv6/conf/" + name + "/forwarding", v}}
			}
			s.Links = append(s.Links, &l)
		}
		if v := rapid.SampledFrom([]string{"", "0", "1"}).Draw(t, "forward"); v != "" {
			s.Sysctls = []Sysctl{{forward6, v}}
		}
		drawRoutes(t, &s)
		drawNICs(t, &s)
		return s
	})
}

// drawRoutes adds routes over the links of s.
func drawRoutes(t *rapid.T, s *State) {
	var hops []Hop
	for _, l := range s.Links {
		hops = append(hops, Hop{Dev: l.Name})
		for _, a := range l.Addrs {
			if a.Addr().Is6() && a.Bits() < 128 {
				hops = append(hops, Hop{Dev: l.Name, Via: netip.MustParseAddr("fd42::9")})
				break
			}
		}
	}
	if len(hops) == 0 {
		return
	}
	for _, p := range prefixes("10.9.0.0/24", "10.9.1.0/24", "fd49::/64", "fd4a::/64") {
		if !rapid.Bool().Draw(t, "route") {
			continue
		}
		r := &Route{Prefix: p, Owners: []string{"n"}}
		for _, h := range hops {
			if (!h.Via.IsValid() || p.Addr().Is6()) && rapid.Bool().Draw(t, "hop") {
				r.Hops = append(r.Hops, h)
			}
		}
		if len(r.Hops) == 0 {
			r.Hops = hops[:1]
		}
		s.Routes = append(s.Routes, r)
	}
}

// drawNICs adds the links of NICs, and the namespaces that they need.
func drawNICs(t *rapid.T, s *State) {
	bridges := []string{""}
	for _, l := range s.Links {
		bridges = append(bridges, l.Name)
	}
	for _, name := range []string{"i1", "i2"} {
		if rapid.Bool().Draw(t, name) {
			s.Namespaces = append(s.Namespaces, &Namespace{Name: name, Owner: rapid.SampledFrom([]string{"i1", "i2"}).Draw(t, "owner")})
		}
	}
	for _, name := range []string{"a0", "v1", "v2"} {
		if !rapid.Bool().Draw(t, name) {
			continue
		}
		l := &Link{Name: name, Owner: NICOwner("i1", name), MTU: rapid.SampledFrom([]int{1400, 1500}).Draw(t, "mtu")}
		if len(s.Namespaces) > 0 && rapid.Bool().Draw(t, "container") {
			in := rapid.SampledFrom(s.Namespaces).Draw(t, "namespace").Name
			l.Kind, l.Peer = Veth, &Peer{
				Netns: Netns{Name: in}, MAC: "02:00:00:00:00:09", MTU: l.MTU,
				Name: rapid.SampledFrom([]string{"eth0", "net0"}).Draw(t, "peer"),
			}
		} else {
			l.Kind, l.Tap = Tap, &Tun{UID: rapid.Uint32Range(0, 1).Draw(t, "uid"), MultiQueue: rapid.Bool().Draw(t, "queues")}
		}
		if b := rapid.SampledFrom(bridges).Draw(t, "bridge"); b != "" {
			l.Port = &Port{b, rapid.Bool().Draw(t, "isolated"), rapid.Bool().Draw(t, "hairpin")}
		}
		rate := rapid.SampledFrom([]uint64{0, 1e6, 1e9})
		if lim := (Limits{rate.Draw(t, "out"), rate.Draw(t, "in")}); lim != (Limits{}) {
			l.Limits = &lim
		}
		s.Links = append(s.Links, l)
	}
	slices.SortFunc(s.Links, func(a, b *Link) int { return strings.Compare(a.Name, b.Name) })
}

// kernels generates what may be found: a wanted state of earlier that was
// realised halfway, and that others have changed since.
func kernels() *rapid.Generator[*kernel] {
	return rapid.Custom(func(t *rapid.T) *kernel {
		k := newKernel(states().Draw(t, "old"), foreign)
		for _, name := range slices.Sorted(maps.Keys(k.links)) {
			l := k.links[name]
			l.Addrs = rapid.Permutation(l.Addrs).Draw(t, "order")
			if rapid.Bool().Draw(t, "drift") {
				l.Down, l.Owner = true, rapid.SampledFrom([]string{"", l.Owner}).Draw(t, "alias")
				if l.Peer != nil {
					l.Peer.Stale = true
				}
				if l.Port != nil {
					l.Port.Bridge = "br9"
				}
				if l.Kind != IFB {
					l.Limits = nil
				}
			}
		}
		for _, name := range foreign {
			p := k.ports[name]
			if rapid.Bool().Draw(t, "unplugged") {
				p.master, p.up = "", false
			}
		}
		return k
	})
}

func TestDiffConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, want := kernels().Draw(t, "kernel"), states().Draw(t, "want")
		ops := Diff(k.load(want), want)
		// An interruption anywhere is made up for.
		stop := rapid.IntRange(0, len(ops)).Draw(t, "stop")
		for _, o := range ops[:stop] {
			if err := k.do(o); err != nil {
				t.Fatalf("%v\nof %v", err, ops)
			}
		}
		// What went with a link that was made anew takes another round.
		for range 2 {
			ops = Diff(k.load(want), want)
			for _, o := range ops {
				if err := k.do(o); err != nil {
					t.Fatalf("%v\nof %v", err, ops)
				}
			}
		}
		got, want := k.load(want), Complete(want)
		for i, r := range want.Routes {
			if i < len(got.Routes) && got.Routes[i].Same(r) {
				got.Routes[i] = r
			}
		}
		for i, l := range got.Links { // what is redirected has the rate of the IFB
			if l.Limits.in() > 0 && l.Limits.in() != want.Links[i].Limits.in() && want.Links[i].Limits.in() > 0 {
				l.Limits.In = want.Links[i].Limits.In
			}
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); d != "" {
			t.Fatalf("did not converge (-want +got)\n%s\nafter %v", d, ops)
		}
		if ops := Diff(got, want); len(ops) != 0 {
			t.Fatalf("still to do: %v", ops)
		}
	})
}

// TestDiffAddsFirst holds Diff to its order: but for the exceptions that
// Linux demands, nothing is taken down before all else is done.
func TestDiffAddsFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, want := kernels().Draw(t, "kernel"), states().Draw(t, "want")
		ops := Diff(k.load(want), want)
		down := false
		for i, o := range ops {
			next := i+1 < len(ops) && ops[i+1].Verb == AddAddr && ops[i+1].Prefix.Addr() == o.Prefix.Addr()
			anew := i+1 < len(ops) && ops[i+1].Verb == AddLink && ops[i+1].Dev == o.Dev
			switch {
			case o.Verb == DelAddr && next || anew:
			case o.TakesDown():
				down = true
			case down && o.Verb != UnmarkPort && !strings.HasSuffix(o.Sysctl.Key, "promote_secondaries"):
				t.Fatalf("%s comes after something was taken down: %v", o, ops)
			}
		}
	})
}
