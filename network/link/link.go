// Package link describes the links, addresses, routes and kernel settings that
// netctl owns on a host, and what it sees of the others.
//
// Ownership is by mark, never by memory: a link of ours carries the alias
// [AliasPrefix] plus the name of its network, a route of ours the protocol
// number [Protocol], and a foreign interface that is a port of one of our
// bridges because we put it there carries the alternative name [PortMark].
// Whatever bears no mark is never touched; on a link of ours every address of
// global scope and every queueing discipline is ours.
//
// What is inside an instance is its own: the end of a veth that it has gets
// its name, MAC address and MTU when it is made and when these change in the
// configuration, and is then left to the instance, which may rename it, move it
// on or set it down. That this was done is noted in the link group of that end,
// see [Netns].
package link

import (
	"net/netip"
	"strings"
)

// Marks of ownership.
const (
	// AliasPrefix starts the alias (IFLA_IFALIAS) of every link of ours.
	AliasPrefix = "netctl:"
	// Protocol is the origin (rtm_protocol, see rtnetlink(7)) of our routes.
	Protocol = 213
	// PortMark starts the alternative name (IFLA_ALT_IFNAME) of a foreign
	// interface that we made a port of a bridge; the rest is its name.
	PortMark = "netctl.port."
	// Group is the link group (IFLA_GROUP) of our links. The kernel gives it
	// to a link in the moment of its creation, which it cannot do for an
	// alias: a link of this group without an alias is one of ours whose
	// making was interrupted.
	Group = 0x6e657463
)

// A State is the part of the host that netctl owns.
type State struct {
	Links      []*Link      // sorted by Name, without duplicates; shared, never modified
	Routes     []*Route     // sorted by Prefix and Metric, without duplicates; shared, never modified
	Namespaces []*Namespace // that are ours; sorted by Name
	Sysctls    []Sysctl     // of the whole host, sorted by Key; never unset again
	// Marked are interfaces that bear our port mark and are not, or not yet
	// fully, a port of a link of ours; sorted. It is never wanted.
	Marked []string
}

// A Kind is the kind of a link, as in "ip link add type KIND".
type Kind string

// The kinds of links that are ours.
const (
	Bridge Kind = "bridge" // a learning Ethernet bridge
	Veth   Kind = "veth"   // one end of a pair, the other one of which is in a namespace
	Tap    Kind = "tun"    // a persistent tap, as the kernel names both of that driver
	IFB    Kind = "ifb"    // through which goes what a limited link receives, see [Complete]
)

// A Link is one network interface of ours.
type Link struct {
	Name    string
	Kind    Kind
	Down    bool           // it is not up; never wanted
	Owner   string         // what it belongs to, see [NICOwner]; the alias is AliasPrefix + Owner. Empty while it is being made
	MAC     string         // lower case, with colons; empty leaves it to the kernel
	MTU     int            // bytes
	Ports   []string       // foreign interfaces to make ports of it; sorted
	Addrs   []netip.Prefix // sorted by address and length, without duplicates
	Sysctls []Sysctl       // settings below net/ipvN/conf/NAME; sorted by Key

	// Credulous is a Bridge that learns addresses from frames to link-local
	// groups, such as those of LLDP (IEEE 802.1Q-2018 section 8.6.3), which
	// pass no filter. It is never wanted.
	Credulous bool

	Port   *Port   // what it is as a port of a bridge of ours; nil when it is none
	Peer   *Peer   // the other end of a Veth
	Tap    *Tun    // what is particular to a Tap
	Limits *Limits // nil for no limits
}

// NICOwner is the owner of the link of a NIC; that of the link of a network is
// the name of the network, which cannot have a slash.
func NICOwner(instance, device string) string { return instance + "/" + device }

// A Port says how a bridge treats one of its ports. What is not here, such as
// learning, is as the kernel has it for a new port.
type Port struct {
	Bridge   string
	Isolated bool // it exchanges no frames with other isolated ports
	Hairpin  bool // frames may leave through it that came in through it
}

// A Peer is the end of a Veth that an instance has.
type Peer struct {
	Netns Netns
	Name  string
	MAC   string // lower case, with colons; empty leaves it to the kernel
	MTU   int    // bytes; 0 leaves it to the kernel
	Stale bool   // it was not made as it is wanted now, or not completely; never wanted
}

// A Netns names a network namespace. The zero Netns is none. It can be
// compared.
type Netns struct {
	Name  string // below /run/netns; ours when State.Namespaces has it
	Path  string // of somebody else's
	PID   int    // the process whose namespace it is
	Start uint64 // when that process was started, in the ticks of proc_pid_stat(5), lest another has its number
}

// A Namespace is a network namespace that we have made, with the alias
// AliasPrefix + Owner on its loopback interface, which is up.
type Namespace struct {
	Name  string // below /run/netns, where ip-netns(8) finds it
	Owner string // the instance
}

// A Tun is what is particular to a tap. Whoever opens it decides for itself
// whether it wants virtio-net headers.
type Tun struct {
	UID        uint32 // the user who may open it, besides root
	GID        uint32 // the group that may open it; 0 for any of UID, and then, if that is 0 too, only root
	MultiQueue bool
	Open       bool // somebody has it open, so that it cannot be made anew; never wanted
}

// Limits hold the traffic of a link to rates, in bits per second; 0 is no
// limit.
type Limits struct {
	Out uint64 // what the host sends through the link: toward an instance
	In  uint64 // what it receives: from an instance
}

// A Route is a route with our Protocol in the main table.
type Route struct {
	Prefix netip.Prefix // masked
	Hops   []Hop        // at least one; sorted by Dev and Via, without duplicates
	Owners []string     // whose doing it is; sorted
	Metric uint32       // other than what the kernel gives to a route without one; never wanted
}

// A Hop is one of the ways of a route. Flows are spread over them evenly.
type Hop struct {
	Dev string
	Via netip.Addr // zero for what is on the link itself
}

// A Sysctl is one kernel setting; Key is its path below /proc/sys.
type Sysctl struct{ Key, Value string }

// An Observed is what is seen of every link of the host, ours or not.
type Observed struct {
	Links  map[string]*Seen      // by name
	Routes []netip.Prefix        // destinations of others in the main table, other than default and connected; sorted
	Own    []*Route              // routes of ours, sorted by Prefix and Metric
	Toward map[netip.Addr]Toward // for each peer that was asked for and has a route
}

// A Seen is one link as the kernel shows it. It is never modified.
type Seen struct {
	Name    string
	Alias   string
	Making  bool   // it is one of ours that has no mark yet, see [Group]
	Kind    Kind   // empty for hardware
	Up      bool   // IFF_UP
	Carrier bool   // IFF_LOWER_UP
	MAC     string // lower case, with colons; empty when it has none
	MTU     int    // bytes
	Master  string // the bridge (or bond, VRF) that it is a port of
	Blocked bool   // it is a port of a bridge and does not forward (IEEE 802.1D port state)
	Addrs   []Addr // in the order of the kernel
}

// Owner returns the owner whose mark s bears; ok is false for a foreign link.
func (s Seen) Owner() (name string, ok bool) { return strings.CutPrefix(s.Alias, AliasPrefix) }

// An Addr is an address on a link.
type Addr struct {
	netip.Prefix
	Dynamic   bool // it has a lifetime: DHCP or SLAAC
	Unusable  bool // tentative, deprecated or duplicate
	Temporary bool // a privacy address (RFC 8981)
}

// A Toward says how packets leave for an address.
type Toward struct {
	Dev string     // the outgoing interface
	Src netip.Addr // the preferred source
	Via netip.Addr // the gateway; zero when on link
}
