package network

import (
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
func (w *whole) conflicts() error {
	var errs []error
	for _, p := range w.all() {
		errs = append(errs, p.errs...)
	}
	return errors.Join(append(errs, checkOverlaps(w.claims), checkSlots(w.slots), checkPeers(w.networks.parts), checkExports(w.single))...)
}

// checkOverlaps reports prefixes that cannot exist together.
func checkOverlaps(claims []*claim) error {
	var errs []error
	overlaps(claims, func(a, b *claim) bool {
		errs = append(errs, b.refuse(a.claimant))
		return true
	})
	return errors.Join(errs...)
}

// checkSlots reports what is claimed twice. An object that claims something by
// what it is, and not by a key, is never the one that is refused.
func checkSlots(slots []slot) error {
	var errs []error
	for len(slots) > 0 {
		n := slices.IndexFunc(slots, func(s slot) bool { return s.what != slots[0].what })
		if n < 0 {
			n = len(slots)
		}
		same := slots[:n]
		slots = slots[n:]
		holder := max(0, slices.IndexFunc(same, func(s slot) bool { return s.key == "" }))
		for i, s := range same {
			if i != holder {
				errs = append(errs, s.refuse(same[holder].claimant))
			}
		}
	}
	return errors.Join(errs...)
}

// checkExports reports objects that export the same prefix, as two networks
// that translate to one address do, with different next hops.
func checkExports(single []*Export) error {
	var errs []error
	for i, first := 1, 0; i < len(single); i++ {
		have, e := single[first], single[i]
		if e.Prefix != have.Prefix {
			first = i
			continue
		}
		if have.NextHop == e.NextHop {
			continue
		}
		key := "bgp.ipv" + number(e.Prefix.Addr()) + ".nexthop"
		errs = append(errs, &ConflictError{
			fmt.Sprintf("network %q", e.Owners[0].Network), key, shown(e.NextHop),
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
		fmt.Sprintf("network %q", a.network), "bgp.peers." + a.name + "." + key, va,
		fmt.Sprintf("bgp.peers.%s.%s=%s of network %q, which names the same peer %s; \"netctl bgp peers set %[5]s\" changes a peer on all its networks at once",
			b.name, key, vb, b.network, a.Address),
	}
}

func seconds(d time.Duration) string { return fmt.Sprint(int64(d / time.Second)) }
