package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netctl/bgp"
	"netctl/config"
	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/network/link"
)

// nicDeriver derives the NICs of one instance on one member.
type nicDeriver struct {
	*part
	instance *Instance
	member   string
	forwards bool // the network of the NIC at hand has some
}

// deriveInstance returns what an instance contributes to a member, given the
// networks by name, and which of them have forwards.
func deriveInstance(i *Instance, member string, networks func(string) *Network, forwards map[string]bool) *part {
	d := &nicDeriver{part: &part{}, instance: i, member: member}
	if i.Running && d.ownNamespace() {
		d.spaces = append(d.spaces, &link.Namespace{Name: i.Name, Owner: i.Name})
	}
	for n := range i.NICs {
		nic := &i.NICs[n]
		on := networks(nic.Network)
		if on == nil {
			d.wrong(nic, "network", nic.Network, "there is no such network")
			continue
		}
		d.forwards = forwards[nic.Network]
		d.nic(nic, on)
	}
	return d.part
}

// ownNamespace reports whether the NICs go to a namespace of ours.
func (d *nicDeriver) ownNamespace() bool { return !d.instance.VM && d.instance.Netns == link.Netns{} }

func (d *nicDeriver) object(n *NIC) string {
	return nicObject(d.instance.Name, n.Device)
}

func (d *nicDeriver) wrong(n *NIC, key, value, why string, args ...any) {
	d.errs = append(d.errs, &InvalidError{d.object(n), key, value, fmt.Sprintf(why, args...)})
}

// nic adds what one NIC contributes. What is configured is claimed whether the
// instance runs or not, so that it can always be started.
func (d *nicDeriver) nic(n *NIC, on *Network) {
	c := on.Config[d.member]
	by := func(key, value string) claimant { return claimant{ofNIC, d.object(n), key, value} }
	d.slots = append(d.slots,
		interfaceSlot(n.HostName, by("host_name", n.HostName)),
		macSlot(n.Network, n.HWAddr, by("hwaddr", n.HWAddr)))
	d.hosts = append(d.hosts, host{n.Network, dhcp.Host{MAC: n.HWAddr, Name: d.instance.Name, V4: n.V4.Address, V6: n.V6.Address}})
	for _, f := range []struct {
		n   string
		nic config.NICFamily
		net config.Family
	}{{"4", n.V4, c.V4}, {"6", n.V6, c.V6}} {
		d.address(n, f.n, f.nic, f.net)
		anycast := f.net.Anycast
		for _, r := range f.nic.Routes {
			d.claims = append(d.claims, &claim{by("ipv"+f.n+".routes", r.String()), r, n.Network, nicClaim, false})
		}
		for _, r := range f.nic.External {
			d.claims = append(d.claims, &claim{by("ipv"+f.n+".routes.external", r.String()), r, n.Network, nicClaim, anycast})
		}
	}
	if d.instance.Running {
		d.running(n, on, c)
	}
}

// address checks and claims the static address of one family.
func (d *nicDeriver) address(n *NIC, v string, f config.NICFamily, net config.Family) {
	key, a := "ipv"+v+".address", f.Address
	switch {
	case !a.IsValid() && f.Filter && net.Address.IsValid():
		d.wrong(n, "security.ipv"+v+"_filtering", "true", "needs %s", key)
		return
	case !a.IsValid():
		return
	case !net.Address.IsValid():
		d.wrong(n, key, a.String(), "network %q has ipv%s.address=none", n.Network, v)
		return
	case !net.Address.Contains(a):
		d.wrong(n, key, a.String(), "not inside the subnet %s of network %q", net.Address.Masked(), n.Network)
		return
	}
	if r := hosts(net.Address); !r.Contains(a) {
		d.wrong(n, key, a.String(), "not an address that a host can have in the subnet %s of network %q", net.Address.Masked(), n.Network)
		return
	}
	d.slots = append(d.slots, addressSlot(n.Network, a, claimant{ofNIC, d.object(n), key, a.String()}))
}

// running adds what a NIC needs while its instance runs. With forwards, and a
// kernel that shows the packet filter what stays on a bridge, what an instance
// sends to itself by way of a forward has to leave where it came in.
func (d *nicDeriver) running(n *NIC, on *Network, c config.Bridge) {
	owner := link.NICOwner(d.instance.Name, n.Device)
	mtu := cmp.Or(n.MTU, c.MTU)
	l := &link.Link{
		Name: n.HostName, Owner: owner, MTU: mtu,
		Port: &link.Port{Bridge: n.Network, Isolated: n.Isolated, Hairpin: d.forwards},
	}
	if mtu >= minMTU6 { // a port has no address of its own
		l.Sysctls = []link.Sysctl{{Key: "net/ipv6/conf/" + n.HostName + "/disable_ipv6", Value: "1"}}
	}
	if n.Ingress != 0 || n.Egress != 0 {
		l.Limits = &link.Limits{Out: n.Ingress, In: n.Egress}
	}
	if d.instance.VM {
		l.Kind, l.Tap = link.Tap, &link.Tun{UID: n.TapUID, GID: n.TapGID, MultiQueue: n.MultiQueue}
	} else {
		l.Kind, l.Peer = link.Veth, &link.Peer{Netns: d.instance.Netns, Name: n.Name, MAC: n.HWAddr, MTU: mtu}
		if d.ownNamespace() {
			l.Peer.Netns = link.Netns{Name: d.instance.Name}
		}
	}
	d.links = append(d.links, l)
	d.nics = append(d.nics, &firewall.NIC{
		Owner: owner, Dev: n.HostName, Network: n.Network, MAC: n.HWAddr, FilterMAC: n.MACFilter,
		V4: nicFilter(n.V4, c.V4), V6: nicFilter(n.V6, c.V6), Priority: n.Priority,
		Hairpin: d.forwards,
	})
	hearers := on.part(d.member, nil).hearers
	for _, f := range []struct {
		n   string
		nic config.NICFamily
		net config.Family
	}{{"4", n.V4, c.V4}, {"6", n.V6, c.V6}} {
		for _, r := range slices.Concat(f.nic.Routes, f.nic.External) {
			d.routes = append(d.routes, &link.Route{Prefix: r, Hops: []link.Hop{{Dev: n.Network, Via: f.nic.Address}}, Owners: []string{owner}})
		}
		for _, r := range f.nic.External {
			d.exports = append(d.exports, &Export{
				Path:   bgp.Path{Prefix: r, NextHop: f.net.NextHop, Peers: hearers},
				Owners: []Owner{{Network: n.Network, Key: "ipv" + f.n + ".routes.external", Instance: d.instance.Name, Device: n.Device}},
			})
		}
	}
}

func nicFilter(f config.NICFamily, net config.Family) firewall.NICFamily {
	out := firewall.NICFamily{Filter: f.Filter, Static: f.Address, Behind: slices.Concat(f.Routes, f.External)}
	slices.SortFunc(out.Behind, bgp.ComparePrefix)
	if net.Address.IsValid() {
		out.Subnet, out.NAT = net.Address.Masked(), net.NAT
	}
	for _, r := range out.Behind {
		if !slices.ContainsFunc(net.Routes, func(p netip.Prefix) bool { return p.Bits() <= r.Bits() && p.Contains(r.Addr()) }) {
			out.Beyond = append(out.Beyond, r)
		}
	}
	return out
}

// deriveForward returns what a forward contributes to a member, given the
// networks by name.
func deriveForward(f *Forward, member string, networks func(string) *Network) *part {
	p := &part{}
	object := forwardObject(f.Network, f.Listen.String())
	wrong := func(key, value, why string, args ...any) {
		p.errs = append(p.errs, &InvalidError{object, key, value, fmt.Sprintf(why, args...)})
	}
	on := networks(f.Network)
	if on == nil {
		wrong("network", f.Network, "there is no such network")
		return p
	}
	c, v := on.Config[member], number(f.Listen)
	family := c.V4
	if v == "6" {
		family = c.V6
	}
	subnet := family.Address.Masked()
	inside := func(key string, a netip.Addr) {
		switch {
		case !family.Address.IsValid():
			wrong(key, a.String(), "network %q has ipv%s.address=none", f.Network, v)
		case !subnet.Contains(a):
			wrong(key, a.String(), "not inside the subnet %s of network %q", subnet, f.Network)
		}
	}
	filter := &firewall.Forward{Listen: f.Listen, Target: f.Target, Subnet: subnet}
	if f.Target.IsValid() {
		inside("target_address", f.Target)
	}
	for _, q := range f.Ports {
		inside("target_address", q.Target)
		filter.Ports = append(filter.Ports, firewall.Port{Protocol: q.Protocol, First: q.First, Last: q.Last, Target: q.Target, To: q.To, ToLast: q.ToLast})
	}
	slices.SortFunc(filter.Ports, func(a, b firewall.Port) int {
		return cmp.Or(strings.Compare(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First))
	})
	p.forward = filter
	p.claims = []*claim{{claimant{ofForward, object, "listen_address", f.Listen.String()}, single(f.Listen), f.Network, listenClaim, false}}
	if f.Target.IsValid() || len(f.Ports) > 0 {
		p.exports = []*Export{{
			Path:   bgp.Path{Prefix: single(f.Listen), NextHop: family.NextHop, Peers: on.part(member, nil).hearers},
			Owners: []Owner{{Network: f.Network, Key: "listen_address", Forward: f.Listen.String()}},
		}}
	}
	return p
}
