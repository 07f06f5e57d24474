package link

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

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
