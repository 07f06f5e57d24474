package network_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"netctl/config"
	"netctl/network"
	"netctl/network/link"
)

// A world is a set of objects that users change.
type world struct {
	networks  map[string]*network.Network
	instances map[string]*network.Instance
	forwards  map[string]*network.Forward // by network and address
	acls      []*network.ACL
}

func newWorld() *world {
	return &world{map[string]*network.Network{}, map[string]*network.Instance{}, map[string]*network.Forward{}, nil}
}

// pick gives one of values, or none, to key.
func pick(t *rapid.T, c map[string]string, key string, values ...string) {
	if v := rapid.SampledFrom(append(values, "")).Draw(t, key); v != "" {
		c[key] = v
	}
}

// change creates, changes or deletes one object of any kind.
func (w *world) change(t *rapid.T) {
	remove := rapid.IntRange(0, 5).Draw(t, "delete") == 0
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case kind < 3 || len(w.networks) < 2:
		name := rapid.SampledFrom([]string{"br0", "br1", "br10", "br2", "br3", "br4"}).Draw(t, "network")
		c := networks(name).Draw(t, "config")
		pick(t, c, "security.acls", "", w.aclNames(), w.aclNames(), "web")
		if remove {
			w.removeNetwork(t, name)
		} else if b, err := config.BridgeSchema.Decode(c); err == nil {
			w.networks[name] = &network.Network{Name: name, Config: map[string]config.Bridge{"none": b}}
		}
	case kind < 7:
		name := rapid.SampledFrom([]string{"a", "b", "b-1", "c", "vm1", "vm2"}).Draw(t, "instance")
		if remove {
			delete(w.instances, name)
		} else if i := w.drawInstance(t, name); i != nil {
			w.instances[name] = i
		}
	case kind < 9:
		f := w.drawForward(t)
		key := f.Network + " " + f.Listen.String()
		if remove {
			delete(w.forwards, key)
		} else {
			w.forwards[key] = f
		}
	default:
		w.changeACL(t, remove)
	}
}

// removeNetwork removes a network, mostly with what is on it.
func (w *world) removeNetwork(t *rapid.T, name string) {
	delete(w.networks, name)
	if rapid.IntRange(0, 9).Draw(t, "orphans") == 0 {
		return
	}
	maps.DeleteFunc(w.instances, func(_ string, i *network.Instance) bool {
		return slices.ContainsFunc(i.NICs, func(n network.NIC) bool { return n.Network == name })
	})
	maps.DeleteFunc(w.forwards, func(_ string, f *network.Forward) bool { return f.Network == name })
}

// on draws the name of a network, mostly of one that there is.
func (w *world) on(t *rapid.T) string {
	names := slices.Sorted(maps.Keys(w.networks))
	if len(names) == 0 || rapid.IntRange(0, 19).Draw(t, "elsewhere") == 0 {
		return "br3"
	}
	return rapid.SampledFrom(names).Draw(t, "on")
}

// aclNames lists the ACLs that there are, as networks name them.
func (w *world) aclNames() string {
	names := make([]string, 0, len(w.acls))
	for _, a := range w.acls {
		names = append(names, a.Name)
	}
	return strings.Join(names, ",")
}

func (w *world) changeACL(t *rapid.T, remove bool) {
	name := rapid.SampledFrom([]string{"db", "web"}).Draw(t, "acl")
	w.acls = slices.DeleteFunc(slices.Clone(w.acls), func(a *network.ACL) bool { return a.Name == name })
	if remove {
		return
	}
	rule := config.ACLRule{Action: rapid.SampledFrom([]string{"allow", "drop", "reject"}).Draw(t, "action")}
	w.acls = append(w.acls, network.NewACL(name, config.ACL{Ingress: []config.ACLRule{rule}}))
	slices.SortFunc(w.acls, func(a, b *network.ACL) int { return strings.Compare(a.Name, b.Name) })
}

// inside returns an address of the subnet that a network has of a family, for
// everybody another one; or nothing.
func (w *world) inside(on string, v, at int) string {
	n := w.networks[on]
	if n == nil {
		return ""
	}
	f := n.Config["none"].V4
	if v == 6 {
		f = n.Config["none"].V6
	}
	a := f.Address.Masked().Addr()
	for range at {
		a = a.Next()
	}
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// route returns a route of a network; or nothing.
func (w *world) route(on string) string {
	if n := w.networks[on]; n != nil && len(n.Config["none"].V4.Routes) > 0 {
		return n.Config["none"].V4.Routes[0].String()
	}
	return ""
}

// drawInstance returns an instance with some NICs, or nil when what was drawn
// is none.
func (w *world) drawInstance(t *rapid.T, name string) *network.Instance {
	i := &network.Instance{Name: name, VM: strings.HasPrefix(name, "vm"), Running: rapid.IntRange(0, 3).Draw(t, "stopped") > 0}
	if !i.VM {
		i.Netns = rapid.SampledFrom([]link.Netns{{}, {}, {Name: "blue"}, {PID: 7, Start: 9}}).Draw(t, "netns")
	}
	for n, dev := range []string{"eth0", "eth1"}[:rapid.IntRange(1, 2).Draw(t, "nics")] {
		at := 10 + n + 2*strings.Index("ab1c2", name[len(name)-1:])
		on := w.on(t)
		c := map[string]string{"network": on}
		if rapid.IntRange(0, 9).Draw(t, "wrong") == 0 {
			pick(t, c, "ipv4.address", w.inside(on, 4, 10), w.inside(on, 4, rapid.IntRange(0, 3).Draw(t, "low")), "10.3.0.9")
			pick(t, c, "ipv6.address", "fd42::1")
			pick(t, c, "host_name", "veth0", "eth1", "br2")
		} else {
			pick(t, c, "ipv4.address", w.inside(on, 4, at), w.inside(on, 4, at))
			pick(t, c, "ipv6.address", w.inside(on, 6, at))
		}
		pick(t, c, "ipv4.routes", fmt.Sprintf("10.%d.0.0/16", 100+at), "10.8.0.0/24", "10.9.9.0/24", "", "", "", "", "")
		const shared = "203.0.113.7/32"
		pick(t, c, "ipv4.routes.external", fmt.Sprintf("198.51.100.%d/32", at), shared, shared, shared, shared, shared+",203.0.113.8/32", "203.0.113.8/31", w.route(on), w.route(on))
		pick(t, c, "ipv6.routes.external", fmt.Sprintf("2001:db8:%d::/64", at), "2001:db8:7::/64", "")
		pick(t, c, "security.ipv4_filtering", "true", "", "", "", "", "", "", "")
		pick(t, c, "security.port_isolation", "true", "", "")
		pick(t, c, "limits.max", "10Mbit", "", "")
		nic, err := config.NICSchema.Decode(c)
		if err != nil {
			return nil
		}
		nic.Name, nic.HWAddr = dev, fmt.Sprintf("00:16:3e:00:00:%02x", at)
		if rapid.IntRange(0, 19).Draw(t, "twin") == 0 {
			nic.HWAddr = "00:16:3e:00:00:ff"
		}
		nic.HostName = cmp.Or(nic.HostName, fmt.Sprintf("h-%s-%d", name, n))
		i.NICs = append(i.NICs, network.NIC{Device: dev, NIC: nic})
	}
	return i
}

func (w *world) drawForward(t *rapid.T) *network.Forward {
	on := w.on(t)
	f := &network.Forward{Network: on, Listen: netip.MustParseAddr(rapid.SampledFrom([]string{
		"192.0.2.1", "192.0.2.2", "198.51.100.99", "198.51.100.98", "203.0.113.7", "10.8.0.5", "10.9.9.7", "10.1.0.1", "10.1.0.7", "2001:db8:99::1", "2001:db8:7::7",
	}).Draw(t, "listen"))}
	v := 6
	if f.Listen.Is4() {
		v = 4
	}
	target, err := netip.ParseAddr(w.inside(on, v, rapid.IntRange(2, 12).Draw(t, "target")))
	if err != nil {
		target = netip.MustParseAddr("10.9.9.9")
	}
	if rapid.Bool().Draw(t, "default") {
		f.Target = target
	}
	if rapid.IntRange(0, 2).Draw(t, "ports") == 0 {
		f.Ports = []config.ForwardPort{{Protocol: "tcp", First: 80, Last: 81, Target: target, To: 8080, ToLast: 8081}}
	}
	return f
}

// objects lists what there is.
func (w *world) objects() network.Objects {
	return network.Objects{
		Networks:  slices.SortedFunc(maps.Values(w.networks), func(a, b *network.Network) int { return strings.Compare(a.Name, b.Name) }),
		Instances: slices.SortedFunc(maps.Values(w.instances), func(a, b *network.Instance) int { return strings.Compare(a.Name, b.Name) }),
		Forwards: slices.SortedFunc(maps.Values(w.forwards), func(a, b *network.Forward) int {
			return cmp.Or(strings.Compare(a.Network, b.Network), a.Listen.Compare(b.Listen))
		}),
		ACLs: w.acls,
	}
}

// copied returns the same objects in other places, of which nothing has been
// derived yet.
func copied(o network.Objects) network.Objects {
	var out network.Objects
	for _, n := range o.Networks {
		out.Networks = append(out.Networks, &network.Network{Name: n.Name, Config: n.Config})
	}
	out.Instances = append(out.Instances, o.Instances...)
	out.Forwards = append(out.Forwards, o.Forwards...)
	out.ACLs = append(out.ACLs, o.ACLs...)
	return out
}

// see draws what is seen of the links that there should be: mostly what there
// should be.
func (w *world) see(t *rapid.T) *network.Observed {
	if rapid.IntRange(0, 29).Draw(t, "blind") == 0 {
		return nil
	}
	o := &network.Observed{Observed: link.Observed{Links: map[string]*link.Seen{}}}
	trouble := rapid.SampledFrom([]int{0, 1, 3, 8}).Draw(t, "trouble")
	look := func(l *link.Seen) {
		l.Up, l.Carrier = true, true
		if rapid.IntRange(0, 9).Draw(t, l.Name) < trouble {
			switch rapid.IntRange(0, 6).Draw(t, "what is wrong with "+l.Name) {
			case 0:
				return // it is not there
			case 1:
				l.Up = false
			case 2:
				l.Alias = ""
			case 3:
				l.Addrs = nil
			case 4:
				l.Carrier = false
			case 5:
				l.Blocked = true
			case 6:
				l.Master = "other"
			}
		}
		o.Links[l.Name] = l
	}
	for _, name := range slices.Sorted(maps.Keys(w.networks)) {
		c := w.networks[name].Config["none"]
		l := &link.Seen{Name: name, Alias: link.AliasPrefix + name}
		for _, a := range []netip.Prefix{c.V4.Address, c.V6.Address} {
			if a.IsValid() {
				l.Addrs = append(l.Addrs, link.Addr{Prefix: a})
			}
		}
		look(l)
	}
	for _, name := range slices.Sorted(maps.Keys(w.instances)) {
		for _, n := range w.instances[name].NICs {
			look(&link.Seen{Name: n.HostName, Alias: link.AliasPrefix + link.NICOwner(name, n.Device), Master: n.Network})
			for _, p := range slices.Concat(n.V4.External, n.V6.External) {
				if rapid.IntRange(0, 9).Draw(t, p.String()) >= trouble {
					o.Own = append(o.Own, link.OnLink(p, n.Network, link.NICOwner(name, n.Device)))
				}
			}
		}
	}
	slices.SortFunc(o.Own, (*link.Route).Compare)
	return o
}
