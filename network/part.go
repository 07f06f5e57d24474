package network

import (
	"net/netip"
	"reflect"
	"slices"

	"netctl/bgp"
	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/network/link"
)

// A part is what one object contributes to one member by itself and by the
// networks that it refers to. It is never modified.
type part struct {
	links   []*link.Link
	spaces  []*link.Namespace
	routes  []*link.Route // each with one hop
	exports []*Export     // each with one owner
	claims  []*claim
	slots   []slot
	errs    []error // what is wrong with the object

	network *firewall.Network // of a network
	service *dhcp.Service     // of a network that serves DHCP or DNS
	peers   []namedPeer       // of a network
	hearers bgp.PeerSet       // of what a network and those on it export: its peers

	nics    []*firewall.NIC   // of an instance
	hosts   []host            // of an instance
	forward *firewall.Forward // of a forward
}

// A host is a client that the service of a network knows.
type host struct {
	network string
	dhcp.Host
}

// share replaces what is equal in like by what is there, so that those who
// compare pointers find nothing new, and returns p. Like may be nil. It is the
// last step of making a part.
func (p *part) share(like *part) *part {
	if like == nil {
		return p
	}
	shareAll(p.links, like.links)
	shareAll(p.spaces, like.spaces)
	shareAll(p.routes, like.routes)
	shareAll(p.nics, like.nics)
	shareOne(&p.network, like.network)
	shareOne(&p.service, like.service)
	shareOne(&p.forward, like.forward)
	return p
}

// shareAll takes what is equal from another list, as far as it is in the same
// order there.
func shareAll[T any](to, from []*T) {
	for i := range to {
		if at := slices.IndexFunc(from, func(f *T) bool { return reflect.DeepEqual(to[i], f) }); at >= 0 {
			to[i], from = from[at], from[at+1:]
		}
	}
}

func shareOne[T any](to **T, from *T) {
	if reflect.DeepEqual(*to, from) {
		*to = from
	}
}

// number ends the names of the keys of an address's family.
func number(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}

// family is 0 for IPv4 and 1 for IPv6.
func family(p netip.Prefix) int { return p.Addr().BitLen() / 128 }

// single returns the prefix of an address alone.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// scope returns the peers that hear what a network exports.
func scope(peers []namedPeer) bgp.PeerSet {
	addrs := make([]netip.Addr, 0, len(peers))
	for _, p := range peers {
		addrs = append(addrs, p.Address)
	}
	return bgp.NewPeerSet(addrs...)
}
