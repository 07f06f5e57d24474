package network

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"netctl/config"
)

// A ConflictError reports two objects that cannot exist together.
type ConflictError struct {
	Object, Key, Value string // the one that is refused; Object as in `network "br0"`
	Other              string // what it clashes with, as in `ipv4.address=10.0.0.1/24 of network "br0"`
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s: %s=%s conflicts with %s", e.Object, e.Key, e.Value, e.Other)
}

// An InvalidError reports a value that does not fit to the objects that it
// refers to.
type InvalidError struct {
	Object, Key, Value string // Object as in `instance "web", eth0`
	Why                string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("%s: %s=%s: %s", e.Object, e.Key, e.Value, e.Why)
}

// conflicts returns every conflict in w, and all that is wrong with its parts.
// Of two that clash, a newcomer is refused; if both are or none is, then the
// one that comes later in the order of claimants.
func (w *whole) conflicts(newcomers map[string]bool) error {
	var errs []error
	for _, p := range w.all() {
		errs = append(errs, p.errs...)
	}
	return errors.Join(append(errs,
		checkOverlaps(w.claims, newcomers), checkSlots(w.slots, newcomers), checkPeers(w.networks.parts, newcomers), checkExports(w.single, newcomers))...)
}

// newcomers returns the objects, as claimants have them, that have been made or
// changed.
func (c change) newcomers() map[string]bool {
	out := map[string]bool{}
	for _, p := range c.edited {
		for _, s := range p.slots {
			out[s.object] = true
		}
		for _, c := range p.claims {
			out[c.object] = true
		}
	}
	return out
}

// checkOverlaps reports prefixes that cannot exist together.
func checkOverlaps(claims []*claim, newcomers map[string]bool) error {
	var errs []error
	overlaps(claims, func(a, b *claim) bool {
		if newcomers[a.object] && !newcomers[b.object] {
			a, b = b, a
		}
		errs = append(errs, b.refuse(a.claimant))
		return true
	})
	return errors.Join(errs...)
}

// checkSlots reports what is claimed twice. Unless it is new, an object that
// claims something by its name is never the one that is refused.
func checkSlots(slots []slot, newcomers map[string]bool) error {
	var errs []error
	for _, same := range groups(slots, func(a, b slot) bool { return a.what == b.what }) {
		holder := slices.MinFunc(same, func(a, b slot) int {
			return cmp.Or(older(newcomers[a.object], newcomers[b.object]), older(a.key != nameKey, b.key != nameKey))
		})
		for _, s := range same {
			if s != holder {
				errs = append(errs, s.refuse(holder.claimant))
			}
		}
	}
	return errors.Join(errs...)
}

// older orders what is not new before what is.
func older(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// groups returns the runs of more than one that are the same.
func groups[T any](list []T, same func(a, b T) bool) [][]T {
	var out [][]T
	for len(list) > 0 {
		n := slices.IndexFunc(list, func(x T) bool { return !same(list[0], x) })
		if n < 0 {
			n = len(list)
		}
		if n > 1 {
			out = append(out, list[:n])
		}
		list = list[n:]
	}
	return out
}

// checkExports reports objects that export the same prefix, as two networks
// that translate to one address do, with different next hops.
func checkExports(single []*Export, newcomers map[string]bool) error {
	var errs []error
	for _, same := range groups(single, func(a, b *Export) bool { return a.Prefix == b.Prefix }) {
		holder := slices.MinFunc(same, func(a, b *Export) int {
			x, y := a.Owners[0].claimant(a), b.Owners[0].claimant(b)
			return cmp.Or(older(newcomers[x.object], newcomers[y.object]), x.compare(y))
		})
		for _, e := range same {
			if e.NextHop != holder.NextHop {
				errs = append(errs, differ(e, holder))
			}
		}
	}
	return errors.Join(errs...)
}

// differ reports that e has another next hop than an export of the same prefix.
func differ(e, holder *Export) error {
	key := "bgp.ipv" + number(e.Prefix.Addr()) + ".nexthop"
	own, other := e.Owners[0], holder.Owners[0]
	c := own.claimant(e)
	if c.class == ofNetwork {
		return &ConflictError{
			c.object, key, shown(e.NextHop),
			fmt.Sprintf("%s=%s of network %q, which exports %s too", key, shown(holder.NextHop), other.Network, e.Prefix),
		}
	}
	return &ConflictError{
		c.object, c.key, c.value,
		fmt.Sprintf("%s: network %q has %s=%s, and network %q has %s",
			other.claimant(holder), other.Network, key, shown(holder.NextHop), own.Network, shown(e.NextHop)),
	}
}

// claimant is that for whose sake e is exported.
func (o Owner) claimant(e *Export) claimant {
	switch {
	case o.Instance != "":
		return claimant{ofNIC, nicObject(o.Instance, o.Device), o.Key, e.Prefix.String()}
	case o.Forward != "":
		return claimant{ofForward, forwardObject(o.Network, o.Forward), o.Key, o.Forward}
	}
	return claimant{ofNetwork, networkObject(o.Network), o.Key, e.Prefix.Addr().String()}
}

// Objects as errors name them.
func networkObject(name string) string { return fmt.Sprintf("network %q", name) }

func nicObject(instance, device string) string {
	return fmt.Sprintf("instance %q, %s", instance, device)
}

func forwardObject(network, listen string) string {
	return fmt.Sprintf("forward %s of network %q", listen, network)
}

// A namedPeer is a peer with the network and the name that it has there.
type namedPeer struct {
	network, name string
	config.Peer
}

// checkPeers reports networks that name the same peer and do not agree about
// the session.
func checkPeers(parts []*part, newcomers map[string]bool) error {
	var errs []error
	first := map[netip.Addr]namedPeer{}
	for _, among := range []bool{false, true} { // those that are not new hold
		for _, p := range parts {
			for _, n := range p.peers {
				if newcomers[networkObject(n.network)] != among {
					continue
				}
				have, ok := first[n.Address]
				if !ok {
					first[n.Address] = n
				} else if err := disagree(n, have); err != nil {
					errs = append(errs, err)
				}
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
		networkObject(a.network), "bgp.peers." + a.name + "." + key, va,
		fmt.Sprintf("bgp.peers.%s.%s=%s of network %q, which names the same peer %s; \"netctl bgp peers set %[5]s\" changes a peer on all its networks at once",
			b.name, key, vb, b.network, a.Address),
	}
}

func seconds(d time.Duration) string { return fmt.Sprint(int64(d / time.Second)) }
