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
	ports   map[string]*port // foreign interfaces
	sysctls map[string]string
}

type port struct {
	marked, up bool
	master     string
}

func newKernel(s State, ports []string) *kernel {
	k := &kernel{links: map[string]*Link{}, ports: map[string]*port{}, sysctls: map[string]string{}}
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
		k.links[l.Name] = &Link{
			Name: l.Name, Kind: l.Kind, Down: l.Down, Owner: l.Owner, MAC: l.MAC, MTU: l.MTU,
			Addrs: slices.Clone(l.Addrs), Routes: slices.Clone(l.Routes),
		}
	}
	for _, p := range s.Marked {
		k.ports[p].marked = true
	}
	for _, s := range s.Sysctls {
		k.sysctls[s.Key] = s.Value
	}
	return k
}

// load returns what Load would, for what want asks for.
func (k *kernel) load(want State) State {
	var s State
	for _, name := range slices.Sorted(maps.Keys(k.links)) {
		l := *k.links[name]
		l.Addrs, l.Routes = slices.Clone(l.Addrs), slices.Clone(l.Routes)
		slices.SortFunc(l.Addrs, netip.Prefix.Compare)
		slices.SortFunc(l.Routes, netip.Prefix.Compare)
		if w, ok := find(want.Links, name); ok {
			for _, c := range w.Sysctls {
				l.Sysctls = append(l.Sysctls, Sysctl{c.Key, k.sysctls[c.Key]})
			}
		}
		s.Links = append(s.Links, &l)
	}
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
	if o.Verb == AddLink {
		if k.links[o.Dev] != nil {
			return fmt.Errorf("%s: exists", o)
		}
		k.links[o.Dev] = &Link{Name: o.Dev, Kind: o.Kind, MAC: o.MAC, MTU: o.MTU, Down: true}
		// The kernel sets the default when it sets all.
		k.sysctls["net/ipv6/conf/"+o.Dev+"/forwarding"] = k.sysctls[forward6]
		return nil
	}
	if o.Port != "" {
		return k.port(o)
	}
	if o.Verb == SetSysctl {
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
	}
	l := k.links[o.Dev]
	if l == nil {
		return fmt.Errorf("%s: no such link", o)
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
	case AddAddr:
		if slices.ContainsFunc(l.Addrs, func(a netip.Prefix) bool {
			return a == o.Prefix || a.Addr() == o.Prefix.Addr() && a.Addr().Is6()
		}) {
			return fmt.Errorf("%s: exists", o)
		}
		l.Addrs = append(l.Addrs, o.Prefix)
	case DelAddr:
		k.delAddr(l, o)
	case AddRoute:
		if l.Down || slices.Contains(l.Routes, o.Prefix) {
			return fmt.Errorf("%s: link is down, or exists", o)
		}
		l.Routes = append(l.Routes, o.Prefix)
	case DelRoute:
		l.Routes = slices.DeleteFunc(l.Routes, func(p netip.Prefix) bool { return p == o.Prefix })
	case DelLink:
		delete(k.links, o.Dev)
		maps.DeleteFunc(k.sysctls, func(key, _ string) bool { return strings.Contains(key, "/"+o.Dev+"/") })
		for _, p := range k.ports {
			if p.master == o.Dev {
				p.master = ""
			}
		}
	default:
		return fmt.Errorf("%s: unknown", o)
	}
	return nil
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
			l.Routes = rapid.SliceOfDistinct(rapid.SampledFrom(prefixes("10.9.0.0/24", "fd49::/64")), rapid.ID[netip.Prefix]).Draw(t, "routes")
			slices.SortFunc(l.Routes, netip.Prefix.Compare)
			if v := rapid.SampledFrom([]string{"", "0", "1"}).Draw(t, "forwarding"); v != "" {
				l.Sysctls = []Sysctl{{"net/ipv6/conf/" + name + "/forwarding", v}}
			}
			s.Links = append(s.Links, &l)
		}
		if v := rapid.SampledFrom([]string{"", "0", "1"}).Draw(t, "forward"); v != "" {
			s.Sysctls = []Sysctl{{forward6, v}}
		}
		return s
	})
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
		ops = Diff(k.load(want), want)
		for _, o := range ops {
			if err := k.do(o); err != nil {
				t.Fatalf("%v\nof %v", err, ops)
			}
		}
		got := k.load(want)
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{})); d != "" {
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
			switch {
			case o.Verb == DelAddr && next:
			case o.TakesDown():
				down = true
			case down && o.Verb != UnmarkPort && !strings.HasSuffix(o.Sysctl.Key, "promote_secondaries"):
				t.Fatalf("%s comes after something was taken down: %v", o, ops)
			}
		}
	})
}
