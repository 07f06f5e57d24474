package network

import (
	"net/netip"
	"reflect"

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

func shareAll[T any](to, from []*T) {
	for i := range to {
		for _, f := range from {
			if reflect.DeepEqual(to[i], f) {
				to[i] = f
				break
			}
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

// host returns the prefix of an address alone.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// scope returns the peers that hear what a network exports.
func scope(peers []namedPeer) bgp.PeerSet {
	addrs := make([]netip.Addr, 0, len(peers))
	for _, p := range peers {
		addrs = append(addrs, p.Address)
	}
	return bgp.NewPeerSet(addrs...)
}
