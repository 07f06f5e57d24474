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

// A Reason says of one prefix of a network why it is exported or why not.
type Reason struct {
	Network  string
	Key      string       // where the prefix comes from
	Prefix   netip.Prefix // masked
	Exported bool
	Rule     string // a sentence
}

// Reasons returns, for every prefix that the networks of s have on a member
// and that overlaps q, why it is exported or not: the most specific prefix
// first.
func (s *Snapshot) Reasons(member string, q netip.Prefix) []Reason {
	var out []Reason
	for _, n := range s.Networks {
		c := n.Config[member]
		for _, r := range slices.Concat(reasons(n.Name, "4", c.V4, len(c.Peers)), reasons(n.Name, "6", c.V6, len(c.Peers))) {
			if r.Prefix.Overlaps(q) {
				out = append(out, r)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Reason) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	return out
}

// reasons follows familyExports, in words.
func reasons(name, v string, f config.Family, peers int) []Reason {
	if !f.Address.IsValid() {
		return nil
	}
	key := func(k string) string { return "ipv" + v + "." + k }
	subnet := Reason{Network: name, Key: key("address"), Prefix: f.Address.Masked()}
	out := make([]Reason, 0, 2+len(f.Routes))
	switch {
	case !f.NAT:
		subnet.Exported, subnet.Rule = true, fmt.Sprintf("%s is false: the subnet is exported", key("nat"))
	case f.NATAddress.IsValid():
		subnet.Rule = fmt.Sprintf("%s is true: %s=%s is exported in place of the subnet", key("nat"), key("nat.address"), f.NATAddress)
		out = append(out, Reason{
			name, key("nat.address"), netip.PrefixFrom(f.NATAddress, f.NATAddress.BitLen()), true,
			fmt.Sprintf("%s is true, and %s is set: the translated address is exported", key("nat"), key("nat.address")),
		})
	default:
		subnet.Rule = fmt.Sprintf("%s is true, and %s is not set", key("nat"), key("nat.address"))
	}
	out = append(out, subnet)
	for _, r := range f.Routes {
		out = append(out, Reason{Network: name, Key: key("routes"), Prefix: r, Rule: key("routes") + " are routes of this host and are not exported"})
	}
	if peers == 0 {
		for i := range out {
			if out[i].Exported {
				out[i].Rule += ", but network " + name + " names no peer (bgp.peers.NAME.address)"
			}
		}
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
	out.Links = make(map[string]*link.Seen, len(o.Links)+len(h.Link.Links))
	maps.Copy(out.Links, o.Links)
	for _, l := range h.Link.Links {
		seen := &link.Seen{Name: l.Name, Alias: link.AliasPrefix + l.Owner, Up: true}
		for _, a := range l.Addrs {
			seen.Addrs = append(seen.Addrs, link.Addr{Prefix: a})
		}
		out.Links[l.Name] = seen
	}
	return &out
}
