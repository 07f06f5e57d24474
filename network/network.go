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
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"netctl/bgp"
	"netctl/config"
	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/network/link"
)

// A Snapshot is the content of the database at one revision. Its fields are
// not modified after its first use.
type Snapshot struct {
	Revision int64
	Servers  map[string]config.Server // by member
	Objects

	mu     sync.Mutex
	wholes map[string]*whole // by member
	before *Snapshot         // shares networks with this one; nil when nothing is gained by it
}

// Objects are what users describe.
type Objects struct {
	Networks  []*Network  // sorted by Name
	Instances []*Instance // sorted by Name
	Forwards  []*Forward  // sorted by Network and Listen
	ACLs      []*ACL      // sorted by Name
}

// Next returns the snapshot of a later or an earlier revision. Where objects
// are the same pointers as in s, what has been derived from them is used
// again. S may be nil.
func (s *Snapshot) Next(revision int64, servers map[string]config.Server, objects Objects) *Snapshot {
	return &Snapshot{Revision: revision, Servers: servers, Objects: objects, before: s.derived()}
}

// derived returns s, or what s itself would begin with if nothing has been
// derived from it, as when its networks are in conflict.
func (s *Snapshot) derived() *Snapshot {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before != nil && len(s.wholes) == 0 {
		return s.before
	}
	return s
}

// whole returns what the networks are together on a member, or every conflict
// among them.
func (s *Snapshot) whole(member string) (*whole, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.wholes[member]; w != nil {
		return w, nil
	}
	w, err := s.before.made(member).next(s.Objects, member)
	if err != nil {
		return nil, err
	}
	if s.wholes == nil {
		s.wholes = map[string]*whole{}
	}
	s.wholes[member] = w
	if len(s.wholes) >= len(s.Servers) {
		s.before = nil
	}
	return w, nil
}

// made returns the whole of a member as far as it has been made; an empty one
// if it has not.
func (s *Snapshot) made(member string) *whole {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if w := s.wholes[member]; w != nil {
			return w
		}
	}
	return &whole{}
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

// A Host is everything that one member must realise. It shares what it points
// to with other hosts, so that a pointer that is the same in two of them means
// that nothing has changed there; nothing of it may be modified.
type Host struct {
	Revision int64
	Link     link.State
	Firewall firewall.Config
	DHCP     []*dhcp.Service // sorted by Network
	BGP      bgp.Config      // what is announced now
	Exports  []*Export       // everything that should be announced, held or not, sorted by prefix
	Held     []*Export       // those of Exports that are held
	Named    []Named         // the peers, sorted by address

	// Down says of each network that is not up on this host, by its name, and
	// of each NIC, by the owner of its link, why not.
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
	Rests  bool    // it is held by something that netctl does not bring about, as a tap that nobody has opened
}

// An Owner is what a prefix is exported for: a network, a NIC on it or a forward
// of it.
type Owner struct {
	Network  string
	Key      string
	Instance string // of a NIC
	Device   string // of a NIC
	Forward  string // the address of a forward
}

func (o Owner) String() string {
	switch {
	case o.Instance != "":
		return fmt.Sprintf("instance %s, %s (%s of network %s)", o.Instance, o.Device, o.Key, o.Network)
	case o.Forward != "":
		return fmt.Sprintf("forward %s of network %s", o.Forward, o.Network)
	}
	return fmt.Sprintf("network %s (%s)", o.Network, o.Key)
}

// A Named is a peer and the networks that name it, whether the speaker runs or
// not.
type Named struct {
	Peer     bgp.Peer
	Networks []string // sorted
}

// Derive returns the desired state of the member called name, or every
// conflict in s, joined.
func Derive(s *Snapshot, o *Observed, member string) (*Host, error) {
	w, err := s.whole(member)
	if err != nil {
		return nil, err
	}
	h := &Host{
		Revision: s.Revision,
		Link:     link.State{Links: w.links, Namespaces: w.spaces, Sysctls: w.sysctls()},
		Firewall: firewall.Config{Networks: make([]*firewall.Network, len(w.networks.parts)), NICs: w.nics, Forwards: w.listens, ACLs: w.rules},
		DHCP:     w.services,
	}
	for i, p := range w.networks.parts {
		h.Firewall.Networks[i] = p.network
	}
	gate(h, w, o)
	speaker(h, s.Servers[member], w.peers, o)
	return h, nil
}

// Peers returns the addresses of all peers of a member, sorted. There are none
// in a snapshot from which nothing can be derived.
func (s *Snapshot) Peers(member string) []netip.Addr {
	w, err := s.whole(member)
	if err != nil {
		return nil
	}
	out := make([]netip.Addr, len(w.peers))
	for i, p := range w.peers {
		out[i] = p.Address
	}
	return out
}

// Validate returns the error of Derive, whatever is observed, at less cost.
func Validate(s *Snapshot, member string) error {
	_, err := s.whole(member)
	return err
}

// sysctls returns what the whole host needs to route for the networks, sorted.
func (w *whole) sysctls() []link.Sysctl {
	var routes [2]bool // IPv4 and IPv6
	for _, p := range w.networks.parts {
		routes[0] = routes[0] || p.network.V4.Subnet.IsValid() && p.network.V4.Routing
		routes[1] = routes[1] || p.network.V6.Subnet.IsValid() && p.network.V6.Routing
	}
	var out []link.Sysctl
	// Flows are told apart by their ports too (L4 hash).
	for _, s := range []struct {
		needed bool
		link.Sysctl
	}{
		{w.spreads[0] > 0, link.Sysctl{Key: "net/ipv4/fib_multipath_hash_policy", Value: "1"}},
		{routes[0], link.Sysctl{Key: "net/ipv4/ip_forward", Value: "1"}},
		{routes[1], link.Sysctl{Key: "net/ipv6/conf/all/forwarding", Value: "1"}},
		{w.spreads[1] > 0, link.Sysctl{Key: "net/ipv6/fib_multipath_hash_policy", Value: "1"}},
	} {
		if s.needed {
			out = append(out, s.Sysctl)
		}
	}
	return out
}

// compareOwner orders owners for display.
func compareOwner(a, b Owner) int {
	return cmp.Or(strings.Compare(a.Network, b.Network), strings.Compare(a.Key, b.Key),
		strings.Compare(a.Instance, b.Instance), strings.Compare(a.Device, b.Device), strings.Compare(a.Forward, b.Forward))
}

// Prefixes returns the subnets and routes behind the network on a member.
func (n *Network) Prefixes(member string) []netip.Prefix {
	var out []netip.Prefix
	for _, c := range n.part(member, nil).claims {
		out = append(out, c.prefix)
	}
	return out
}
