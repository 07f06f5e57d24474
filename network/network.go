// Package network decides what a host should look like.
//
// [Derive] is a pure function from a [Snapshot] of the database and what is
// [Observed] of the host to a [Host]: links, packet filter, DHCP and DNS
// service, and what BGP should say. It reads no clock, file or socket, and
// every slice it returns is sorted, so that equal inputs give equal hosts. It
// runs inside every write, for every member, before the write is committed,
// and so it is the validator too: whatever two objects disagree about is found
// here and reported as a [ConflictError].
//
// What a network contributes by itself is derived once for each [Network]
// value and kept with it: a snapshot that shares the networks that did not
// change costs what changed.
package network

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"netctl/bgp"
	"netctl/config"
	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/network/link"
)

// A Snapshot is the content of the database at one revision. It is never
// modified after it has been made.
type Snapshot struct {
	Revision int64
	Servers  map[string]config.Server // by member
	Networks []*Network               // sorted by Name
}

// A Network is one bridge network with its configuration decoded. It is never
// modified after its first use.
type Network struct {
	Name   string
	Config map[string]config.Bridge // by member

	mu    sync.Mutex
	parts map[string]*part // by member: what the network contributes alone
}

// Observed is what a member sees of itself. The zero Observed is a host about
// which nothing is known: everything is derived, and nothing is announced.
type Observed struct {
	link.Observed
}

// A Host is everything that one member must realise.
type Host struct {
	Revision int64
	Link     link.State
	Firewall firewall.Config
	DHCP     []dhcp.Service // sorted by Network
	BGP      bgp.Config     // what is announced now
	Exports  []Export       // everything that should be announced, held or not, sorted by prefix
	Named    []Named        // the peers, sorted by address

	// Down says of each network that is not up on this host why not.
	Down map[string]string

	// RouterID is a router id to choose and keep when none is configured and
	// none has been chosen; zero when there is nothing to choose.
	RouterID netip.Addr
	// Silent says why the speaker does not run although it is configured.
	Silent string
}

// An Export is a prefix that the database wants announced.
type Export struct {
	bgp.Path
	Owners []Owner // sorted
	Held   string  // why it is not announced now; empty when it is
}

// An Owner is what a prefix is exported for.
type Owner struct{ Network, Key string }

// A Named is a peer and the networks that name it, whether the speaker runs or
// not.
type Named struct {
	Peer     bgp.Peer
	Networks []string // sorted
}

// A ConflictError reports two objects that cannot exist together.
type ConflictError struct {
	Network, Key, Value string // the one that is refused
	Other               string // what it clashes with, as in `ipv4.address=10.0.0.1/24 of network "br0"`
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("network %q: %s=%s conflicts with %s", e.Network, e.Key, e.Value, e.Other)
}

// Derive returns the desired state of the member called name, or every
// conflict in s, joined.
func Derive(s *Snapshot, o *Observed, member string) (*Host, error) {
	h := &Host{Revision: s.Revision}
	parts := make([]*part, len(s.Networks))
	for i, n := range s.Networks {
		parts[i] = n.part(member)
	}
	peers, peerErr := mergePeers(parts)
	if err := errors.Join(checkOverlaps(parts), checkPorts(parts), peerErr, mergeExports(h, parts)); err != nil {
		return nil, err
	}
	for _, p := range parts {
		h.Link.Links = append(h.Link.Links, p.link)
		h.Firewall.Networks = append(h.Firewall.Networks, p.firewall)
		if p.service != nil {
			h.DHCP = append(h.DHCP, *p.service)
		}
	}
	h.Link.Sysctls = hostSysctls(parts)
	gate(h, o)
	speaker(h, s.Servers[member], peers, o)
	return h, nil
}

// checkPorts reports interfaces that two networks want as a port, and networks
// that want the bridge of one.
func checkPorts(parts []*part) error {
	const key = "bridge.external_interfaces"
	var errs []error
	taken := map[string]string{} // what each interface is taken by
	for _, p := range parts {
		taken[p.link.Name] = fmt.Sprintf("network %q, whose bridge that is", p.link.Name)
	}
	for _, p := range parts {
		for _, i := range p.link.Ports {
			if other := taken[i]; other != "" {
				errs = append(errs, &ConflictError{p.link.Network, key, i, other})
				continue
			}
			taken[i] = fmt.Sprintf("%s of network %q", key, p.link.Network)
		}
	}
	return errors.Join(errs...)
}

// hostSysctls returns what the whole host needs to route for the networks.
func hostSysctls(parts []*part) []link.Sysctl {
	var v4, v6 bool
	for _, p := range parts {
		v4 = v4 || p.firewall.V4.Subnet.IsValid() && p.firewall.V4.Routing
		v6 = v6 || p.firewall.V6.Subnet.IsValid() && p.firewall.V6.Routing
	}
	var out []link.Sysctl
	if v4 {
		out = append(out, link.Sysctl{Key: "net/ipv4/ip_forward", Value: "1"})
	}
	if v6 {
		out = append(out, link.Sysctl{Key: "net/ipv6/conf/all/forwarding", Value: "1"})
	}
	return out
}

// checkOverlaps reports prefixes that two networks claim: subnets and routes,
// of which each may be behind one bridge only.
func checkOverlaps(parts []*part) error {
	var all []claim
	for _, p := range parts {
		all = append(all, p.claims...)
	}
	slices.SortStableFunc(all, func(a, b claim) int { return bgp.ComparePrefix(a.prefix, b.prefix) })
	// Sorted by address and then by length, a prefix is followed by those that
	// it contains; the open ones are a stack.
	var open []claim
	var errs []error
	for _, c := range all {
		for len(open) > 0 && !open[len(open)-1].prefix.Overlaps(c.prefix) {
			open = open[:len(open)-1]
		}
		if i := slices.IndexFunc(open, func(x claim) bool { return x.network != c.network }); i >= 0 {
			a, b := c, open[i]
			if a.network < b.network {
				a, b = b, a
			}
			errs = append(errs, &ConflictError{a.network, a.key, a.value, fmt.Sprintf("%s=%s of network %q", b.key, b.value, b.network)})
		}
		open = append(open, c)
	}
	return errors.Join(errs...)
}

// mergeExports joins exports of the same prefix, as of two networks that
// translate to one address, into h.Exports.
func mergeExports(h *Host, parts []*part) error {
	for _, p := range parts {
		h.Exports = append(h.Exports, p.exports...)
	}
	slices.SortStableFunc(h.Exports, func(a, b Export) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	var errs []error
	out := h.Exports[:0]
	for _, e := range h.Exports {
		if len(out) == 0 || out[len(out)-1].Prefix != e.Prefix {
			out = append(out, e)
			continue
		}
		have := &out[len(out)-1]
		if have.NextHop != e.NextHop {
			key := "bgp.ipv4.nexthop"
			if e.Prefix.Addr().Is6() {
				key = "bgp.ipv6.nexthop"
			}
			errs = append(errs, &ConflictError{
				e.Owners[0].Network, key, shown(e.NextHop),
				fmt.Sprintf("%s=%s of network %q, which exports %s too", key, shown(have.NextHop), have.Owners[0].Network, e.Prefix),
			})
			continue
		}
		have.Peers = have.Peers.Union(e.Peers)
		have.Owners = append(slices.Clone(have.Owners), e.Owners...)
	}
	h.Exports = out
	return errors.Join(errs...)
}

func shown(a netip.Addr) string {
	if !a.IsValid() {
		return "(unset)"
	}
	return a.String()
}

// A namedPeer is a peer with the network and the name that it has there.
type namedPeer struct {
	network, name string
	config.Peer
}

// A sharedPeer is one peer and every network that names it.
type sharedPeer struct {
	config.Peer
	first    namedPeer
	networks []string
}

// mergePeers joins the peers of all networks by address. Networks that name
// the same peer must agree about the session.
func mergePeers(parts []*part) ([]sharedPeer, error) {
	byAddr := map[netip.Addr]*sharedPeer{}
	var errs []error
	for _, p := range parts {
		for _, n := range p.peers {
			have, ok := byAddr[n.Address]
			if !ok {
				byAddr[n.Address] = &sharedPeer{n.Peer, n, []string{n.network}}
				continue
			}
			if err := disagree(n, have.first); err != nil {
				errs = append(errs, err)
				continue
			}
			if !slices.Contains(have.networks, n.network) {
				have.networks = append(have.networks, n.network)
			}
		}
	}
	out := make([]sharedPeer, 0, len(byAddr))
	for _, p := range byAddr {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b sharedPeer) int { return a.Address.Compare(b.Address) })
	return out, errors.Join(errs...)
}

// disagree reports the first key about which two descriptions of one peer
// differ.
func disagree(a, b namedPeer) error {
	if a.Peer == b.Peer {
		return nil
	}
	for _, k := range []struct{ key, a, b string }{
		{"asn", fmt.Sprint(a.ASN), fmt.Sprint(b.ASN)},
		{"holdtime", seconds(a.HoldTime), seconds(b.HoldTime)},
		{"port", fmt.Sprint(a.Port), fmt.Sprint(b.Port)},
		{"local_address", shown(a.LocalAddr), shown(b.LocalAddr)},
		{"multihop", fmt.Sprint(a.Multihop), fmt.Sprint(b.Multihop)},
		{"ttl_security", fmt.Sprint(a.TTLSecurity), fmt.Sprint(b.TTLSecurity)},
		{"passive", fmt.Sprint(a.Passive), fmt.Sprint(b.Passive)},
	} {
		if k.a != k.b {
			return peerConflict(a, b, k.key, k.a, k.b)
		}
	}
	return peerConflict(a, b, "password", "***", "***")
}

func peerConflict(a, b namedPeer, key, va, vb string) error {
	return &ConflictError{
		a.network, "bgp.peers." + a.name + "." + key, va,
		fmt.Sprintf("bgp.peers.%s.%s=%s of network %q, which names the same peer %s", b.name, key, vb, b.network, a.Address),
	}
}

func seconds(d time.Duration) string { return fmt.Sprint(int64(d / time.Second)) }

// compareOwner orders owners for display.
func compareOwner(a, b Owner) int {
	return cmp.Or(strings.Compare(a.Network, b.Network), strings.Compare(a.Key, b.Key))
}

// Prefixes returns the subnets and routes behind the network on a member.
func (n *Network) Prefixes(member string) []netip.Prefix {
	var out []netip.Prefix
	for _, c := range n.part(member).claims {
		out = append(out, c.prefix)
	}
	return out
}
