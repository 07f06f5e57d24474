package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"netctl/bgp"
	"netctl/config"
	"netctl/network/link"
)

// A Reason says of one prefix why it is exported or why not.
type Reason struct {
	Owner
	Prefix   netip.Prefix // masked
	Exported bool
	Rule     string // a sentence
}

// Reasons returns, for every prefix that the objects of s have on a member and
// that overlaps q, why it is exported or not: the most specific prefix first.
func (s *Snapshot) Reasons(member string, q netip.Prefix) []Reason {
	var all []Reason
	peers := map[string]int{} // of each network
	for _, n := range s.Networks {
		c := n.Config[member]
		peers[n.Name] = len(c.Peers)
		all = append(append(all, reasons(n.Name, "4", c.V4)...), reasons(n.Name, "6", c.V6)...)
	}
	for _, i := range s.Instances {
		all = append(all, i.reasons()...)
	}
	for _, f := range s.Forwards {
		all = append(all, f.reason())
	}
	all = slices.DeleteFunc(all, func(r Reason) bool { return !r.Prefix.Overlaps(q) })
	for i, r := range all {
		if r.Exported && peers[r.Network] == 0 {
			all[i].Rule += ", but network " + r.Network + " names no peer (bgp.peers.NAME.address)"
		}
	}
	slices.SortStableFunc(all, func(a, b Reason) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	return all
}

// reasons follows nicDeriver, in words.
func (i *Instance) reasons() []Reason {
	var out []Reason
	for n := range i.NICs {
		nic := &i.NICs[n]
		for _, f := range []config.NICFamily{nic.V4, nic.V6} {
			add := func(key string, prefixes []netip.Prefix, exported bool, rule string) {
				for _, p := range prefixes {
					key := "ipv" + number(p.Addr()) + "." + key
					out = append(out, Reason{
						Owner{Network: nic.Network, Key: key, Instance: i.Name, Device: nic.Device},
						p, exported,
						fmt.Sprintf(rule, i.Name, nic.Device, key),
					})
				}
			}
			if f.Address.IsValid() {
				add("address", []netip.Prefix{single(f.Address)}, false, "it is the address of instance %s, %s (%s), inside the subnet of the network")
			}
			add("routes", f.Routes, false, "instance %s, %s: %s are routes of this host and are not exported")
			if i.Running {
				add("routes.external", f.External, true, "instance %s runs, and %s has it in %s")
			} else {
				add("routes.external", f.External, false, "instance %s does not run; %s has it in %s")
			}
		}
	}
	return out
}

// reason follows deriveForward, in words.
func (f *Forward) reason() Reason {
	r := Reason{Owner: Owner{Network: f.Network, Key: "listen_address", Forward: f.Listen.String()}, Prefix: single(f.Listen)}
	if r.Exported = f.Target.IsValid() || len(f.Ports) > 0; r.Exported {
		r.Rule = "it is the listen address of a forward that has a target"
	} else {
		r.Rule = "the forward has neither target_address nor ports"
	}
	return r
}

// reasons follows familyExports, in words.
func reasons(name, v string, f config.Family) []Reason {
	if !f.Address.IsValid() {
		return nil
	}
	key := func(k string) string { return "ipv" + v + "." + k }
	own := func(k string) Owner { return Owner{Network: name, Key: key(k)} }
	subnet := Reason{Owner: own("address"), Prefix: f.Address.Masked()}
	out := make([]Reason, 0, 2+len(f.Routes))
	switch {
	case !f.NAT:
		subnet.Exported, subnet.Rule = true, fmt.Sprintf("%s is false: the subnet is exported", key("nat"))
	case f.NATAddress.IsValid():
		subnet.Rule = fmt.Sprintf("%s is true: %s=%s is exported in place of the subnet", key("nat"), key("nat.address"), f.NATAddress)
		out = append(out, Reason{
			own("nat.address"), single(f.NATAddress), true,
			fmt.Sprintf("%s is true, and %s is set: the translated address is exported", key("nat"), key("nat.address")),
		})
	default:
		subnet.Rule = fmt.Sprintf("%s is true, and %s is not set", key("nat"), key("nat.address"))
	}
	out = append(out, subnet)
	for _, r := range f.Routes {
		out = append(out, Reason{Owner: own("routes"), Prefix: r, Rule: key("routes") + " are routes of this host and are not exported"})
	}
	return out
}

// NextHop returns the next hop that a peer is given for an export, and where
// it comes from; zero, and why, when there is none.
func (h *Host) NextHop(e *Export, p bgp.Peer) (netip.Addr, string) {
	family := "6"
	if e.Prefix.Addr().Is4() {
		family = "4"
	}
	if e.NextHop.IsValid() {
		return e.NextHop, fmt.Sprintf("bgp.ipv%s.nexthop of network %s", family, e.Owners[0].Network)
	}
	own, held := p.NextHop(bgp.FamilyOf(e.Prefix), true)
	local := p.LocalAddr
	if !local.IsValid() {
		local = p.Source
	}
	switch {
	case held != "":
		return own, held
	case own.Is4() != e.Prefix.Addr().Is4():
		return own, "our IPv6 address, if the peer takes one for IPv4 (RFC 8950): the interface toward it has no IPv4 address"
	case own == local:
		return own, "our end of the session"
	default:
		return own, fmt.Sprintf("the IPv%s address of the interface that has our end of the session, %s", family, local)
	}
}

// Risen returns what o would be with every network up, to derive what a host
// will announce once it has followed.
func (o *Observed) Risen(h *Host) *Observed {
	out := *o
	out.Own = h.Link.Routes
	out.Links = make(map[string]*link.Seen, len(o.Links)+len(h.Link.Links))
	maps.Copy(out.Links, o.Links)
	for _, l := range h.Link.Links {
		was := o.Links[l.Name]
		seen := &link.Seen{Name: l.Name, Alias: link.AliasPrefix + l.Owner, Up: true, Carrier: l.Kind != link.Tap}
		if was != nil && was.Alias == seen.Alias {
			seen.Carrier, seen.Blocked = was.Carrier, was.Blocked
		}
		if l.Port != nil {
			seen.Master = l.Port.Bridge
		}
		for _, a := range l.Addrs {
			seen.Addrs = append(seen.Addrs, link.Addr{Prefix: a})
		}
		out.Links[l.Name] = seen
	}
	return &out
}
