package network_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"netctl/config"
	"netctl/network"
)

// TestConflictsAreFound holds that what is found by looking at what changed is
// what is found by comparing everything with everything else.
func TestConflictsAreFound(t *testing.T) {
	with, without := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for range rapid.IntRange(4, 14).Draw(t, "steps") {
			w.change(t)
		}
		o := w.objects()
		err := network.Validate(&network.Snapshot{Objects: o}, "none")
		_, invalid := errors.AsType[*network.InvalidError](err)
		if invalid {
			return // of an object by itself
		}
		if got, want := err != nil, clash(o); got != want {
			t.Fatalf("conflict found: %t (%v), want %t", got, err, want)
		}
		if err != nil {
			with++
		} else {
			without++
		}
	})
	if with == 0 || without == 0 {
		t.Errorf("%d with conflicts, %d without: the test says nothing", with, without)
	}
}

// A holding is a prefix and what it is held as.
type holding struct {
	prefix  netip.Prefix
	network string
	as      string // subnet, behind (a network), nic, listen
	anycast bool
	holder  string
}

// clash reports whether some of o cannot exist together.
func clash(o network.Objects) bool {
	var all []holding
	var things [][2]string // what one can have only, and who has it
	for _, n := range o.Networks {
		c := n.Config["none"]
		things = append(things, [2]string{"interface " + n.Name, n.Name})
		for _, p := range c.External {
			things = append(things, [2]string{"interface " + p, n.Name + " as a port"})
		}
		for _, f := range []config.Family{c.V4, c.V6} {
			if !f.Address.IsValid() {
				continue
			}
			things = append(things, [2]string{n.Name + " " + f.Address.Addr().String(), n.Name})
			all = append(all, holding{f.Address.Masked(), n.Name, "subnet", false, n.Name})
			for _, r := range f.Routes {
				all = append(all, holding{r, n.Name, "behind", false, n.Name})
			}
		}
	}
	for _, i := range o.Instances {
		for _, n := range i.NICs {
			who := i.Name + "/" + n.Device
			things = append(things, [2]string{"interface " + n.HostName, who}, [2]string{n.Network + " " + n.HWAddr, who})
			all = append(all, routesOf(n, o, who)...)
			for _, a := range []netip.Addr{n.V4.Address, n.V6.Address} {
				if a.IsValid() {
					things = append(things, [2]string{n.Network + " " + a.String(), who})
				}
			}
		}
	}
	for _, f := range o.Forwards {
		all = append(all, holding{netip.PrefixFrom(f.Listen, f.Listen.BitLen()), f.Network, "listen", false, f.Network + f.Listen.String()})
	}
	return pairwise(all, apart) || pairwise(things, func(a, b [2]string) bool { return a[0] != b[0] || a[1] == b[1] }) || peersClash(o.Networks) || nextHopsClash(o)
}

func routesOf(n network.NIC, o network.Objects, who string) []holding {
	i := slices.IndexFunc(o.Networks, func(on *network.Network) bool { return on.Name == n.Network })
	c := o.Networks[i].Config["none"]
	var all []holding
	for _, f := range []struct {
		config.NICFamily
		anycast bool
	}{{n.V4, c.V4.Anycast}, {n.V6, c.V6.Anycast}} {
		for _, r := range f.Routes {
			all = append(all, holding{r, n.Network, "nic", false, who})
		}
		for _, r := range f.External {
			all = append(all, holding{r, n.Network, "nic", f.anycast, who})
		}
	}
	return all
}

// pairwise reports whether two of all do not go together.
func pairwise[T any](all []T, fit func(a, b T) bool) bool {
	for i, a := range all {
		for _, b := range all[:i] {
			if !fit(a, b) {
				return true
			}
		}
	}
	return false
}

// apart reports whether two prefixes can be held at the same time.
func apart(a, b holding) bool {
	if a.prefix.Bits() > b.prefix.Bits() {
		a, b = b, a // a is the outer one
	}
	own := func(h holding) bool { return h.as == "subnet" || h.as == "behind" }
	switch {
	case !a.prefix.Overlaps(b.prefix), a.holder == b.holder:
		return true
	case a.as == "nic" && b.as == "nic":
		return a.prefix == b.prefix && a.anycast && b.anycast
	case a.network != b.network || own(a) && own(b):
		return false
	}
	return a.as == "behind" || a.prefix == b.prefix && b.as == "behind"
}

// peersClash reports whether networks differ about a peer.
func peersClash(networks []*network.Network) bool {
	var all []config.Peer
	for _, n := range networks {
		for _, p := range n.Config["none"].Peers {
			all = append(all, *p)
		}
	}
	return pairwise(all, func(a, b config.Peer) bool { return a.Address != b.Address || a == b })
}

// nextHopsClash reports whether one prefix is exported with two next hops.
func nextHopsClash(o network.Objects) bool {
	type export struct {
		prefix  netip.Prefix
		nextHop netip.Addr
	}
	var all []export
	hops := map[string]config.Bridge{}
	for _, n := range o.Networks {
		c := n.Config["none"]
		hops[n.Name] = c
		if a := c.V4.NATAddress; c.V4.NAT && c.V4.Address.IsValid() && a.IsValid() {
			all = append(all, export{netip.PrefixFrom(a, 32), c.V4.NextHop})
		}
	}
	for _, i := range o.Instances {
		for _, n := range i.NICs {
			for _, r := range n.V4.External {
				if i.Running {
					all = append(all, export{r, hops[n.Network].V4.NextHop})
				}
			}
		}
	}
	for _, f := range o.Forwards {
		if f.Listen.Is4() && (f.Target.IsValid() || len(f.Ports) > 0) {
			all = append(all, export{netip.PrefixFrom(f.Listen, 32), hops[f.Network].V4.NextHop})
		}
	}
	return pairwise(all, func(a, b export) bool { return a.prefix != b.prefix || a.nextHop == b.nextHop })
}
