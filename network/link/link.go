// Package link describes the links, addresses, routes and kernel settings that
// netctl owns on a host, and what it sees of the others.
//
// Ownership is by mark, never by memory: a link of ours carries the alias
// [AliasPrefix] plus the name of its network, a route of ours the protocol
// number [Protocol], and a foreign interface that is a port of one of our
// bridges because we put it there carries the alternative name [PortMark].
// Whatever bears no mark is never touched; on a link of ours every address of
// global scope is ours.
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
	Links   []*Link  // sorted by Name, without duplicates; shared, never modified
	Sysctls []Sysctl // of the whole host, sorted by Key; never unset again
	// Marked are interfaces that bear our port mark and are not, or not yet
	// fully, a port of a link of ours; sorted. It is never wanted.
	Marked []string
}

// A Kind is the kind of a link, as in "ip link add type KIND".
type Kind string

// Bridge is a learning Ethernet bridge.
const Bridge Kind = "bridge"

// A Link is one network interface of ours.
type Link struct {
	Name    string
	Kind    Kind
	Down    bool           // it is not up; never wanted
	Network string         // the network it belongs to; the alias is AliasPrefix + Network. Empty while it is being made
	MAC     string         // lower case, with colons; empty leaves it to the kernel
	MTU     int            // bytes
	Ports   []string       // foreign interfaces to make ports of it; sorted
	Addrs   []netip.Prefix // sorted by address and length, without duplicates
	Routes  []netip.Prefix // on-link routes with our Protocol; masked, sorted
	Sysctls []Sysctl       // settings below net/ipvN/conf/NAME; sorted by Key
}

// A Sysctl is one kernel setting; Key is its path below /proc/sys.
type Sysctl struct{ Key, Value string }

// An Observed is what is seen of every link of the host, ours or not.
type Observed struct {
	Links  map[string]*Seen      // by name
	Routes []netip.Prefix        // destinations in the main table other than default and connected, sorted
	Toward map[netip.Addr]Toward // for each peer that was asked for and has a route
}

// A Seen is one link as the kernel shows it. It is never modified.
type Seen struct {
	Name    string
	Alias   string
	Kind    Kind   // empty for hardware
	Up      bool   // IFF_UP
	Carrier bool   // IFF_LOWER_UP
	MAC     string // lower case, with colons; empty when it has none
	MTU     int    // bytes
	Master  string // the bridge (or bond, VRF) that it is a port of
	Addrs   []Addr // in the order of the kernel
}

// Network returns the network whose mark s bears; ok is false for a foreign
// link.
func (s Seen) Network() (name string, ok bool) { return strings.CutPrefix(s.Alias, AliasPrefix) }

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
