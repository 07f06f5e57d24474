package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"netctl/bgp"
	"netctl/config"
)

// A ConflictError reports two objects that cannot exist together.
type ConflictError struct {
	Network, Key, Value string // the one that is refused
	Other               string // what it clashes with, as in `ipv4.address=10.0.0.1/24 of network "br0"`
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("network %q: %s=%s conflicts with %s", e.Network, e.Key, e.Value, e.Other)
}

// conflicts returns every conflict among parts, which are sorted by network.
// It looks at everything, which is affordable for what is refused.
func conflicts(parts []*part) error {
	return errors.Join(checkOverlaps(parts), checkPorts(parts), checkPeers(parts), checkExports(parts))
}

// checkOverlaps reports prefixes that two networks claim: subnets and routes,
// of which each may be behind one bridge only.
func checkOverlaps(parts []*part) error {
	var all []*claim
	for _, p := range parts {
		all = append(all, p.claims...)
	}
	slices.SortStableFunc(all, func(a, b *claim) int { return bgp.ComparePrefix(a.prefix, b.prefix) })
	// Sorted by address and then by length, a prefix is followed by those that
	// it contains; the open ones are a stack.
	var open []*claim
	var errs []error
	for _, c := range all {
		for len(open) > 0 && !open[len(open)-1].prefix.Overlaps(c.prefix) {
			open = open[:len(open)-1]
		}
		if i := slices.IndexFunc(open, func(x *claim) bool { return x.network != c.network }); i >= 0 {
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
				errs = append(errs, &ConflictError{p.link.Owner, key, i, other})
				continue
			}
			taken[i] = fmt.Sprintf("%s of network %q", key, p.link.Owner)
		}
	}
	return errors.Join(errs...)
}

// checkExports reports networks that export the same prefix, as two that
// translate to one address do, with different next hops.
func checkExports(parts []*part) error {
	var errs []error
	first := map[netip.Prefix]*Export{}
	for _, e := range all(parts, (*part).allExports) {
		have := first[e.Prefix]
		if have == nil {
			first[e.Prefix] = e
			continue
		}
		if have.NextHop == e.NextHop {
			continue
		}
		key := "bgp.ipv4.nexthop"
		if e.Prefix.Addr().Is6() {
			key = "bgp.ipv6.nexthop"
		}
		errs = append(errs, &ConflictError{
			e.Owners[0].Network, key, shown(e.NextHop),
			fmt.Sprintf("%s=%s of network %q, which exports %s too", key, shown(have.NextHop), have.Owners[0].Network, e.Prefix),
		})
	}
	return errors.Join(errs...)
}

// A namedPeer is a peer with the network and the name that it has there.
type namedPeer struct {
	network, name string
	config.Peer
}

// checkPeers reports networks that name the same peer and do not agree about
// the session.
func checkPeers(parts []*part) error {
	var errs []error
	first := map[netip.Addr]namedPeer{}
	for _, p := range parts {
		for _, n := range p.peers {
			have, ok := first[n.Address]
			if !ok {
				first[n.Address] = n
			} else if err := disagree(n, have); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func shown(a netip.Addr) string {
	if !a.IsValid() {
		return "(unset)"
	}
	return a.String()
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
		fmt.Sprintf("bgp.peers.%s.%s=%s of network %q, which names the same peer %s; \"netctl bgp peers set %[5]s\" changes a peer on all its networks at once",
			b.name, key, vb, b.network, a.Address),
	}
}

func seconds(d time.Duration) string { return fmt.Sprint(int64(d / time.Second)) }
