package link

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
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
	l := &Link{Name: o.Dev, Kind: o.Kind, MAC: o.MAC, MTU: o.MTU, Tap: copied(o.Tun), Down: true, Credulous: o.Kind == Bridge}
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
	case SetWary:
		l.Credulous = false
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
