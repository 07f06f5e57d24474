// Package bgp describes what a BGP speaker should say, and to whom.
//
// A [Config] is the complete desired state: who we are, the peers, and the
// paths with the set of peers that may hear each of them. A [Speaker] makes it
// so. Engines live in child packages; their types never leave them.
//
// Invariants that every engine keeps:
//
//   - Paths before peers, peers before End-of-RIB (RFC 4724 section 4.1): the
//     first thing that a new session carries is the whole table.
//   - A peer hears the paths whose [PeerSet] contains it, and nothing else.
//   - Nothing received from a peer is installed or advertised again.
//   - A next hop on the wire is never unspecified and never an IPv4-mapped
//     IPv6 address.
//   - Stopping with [Restart] says nothing on the wire, so that helpers keep
//     our routes as stale; stopping with [Withdraw] says goodbye (RFC 4271
//     section 4.3, RFC 9003).
//
// Standards: RFC 4271 (BGP-4), RFC 4760 (multiprotocol), RFC 4724 (graceful
// restart), RFC 2385 (TCP MD5), RFC 5082 (GTSM), RFC 8950 (IPv4 over IPv6 next
// hop), RFC 9003 (administrative shutdown communication).
package bgp

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Secret is a string that never prints itself.
type Secret string

// String returns a mask, or nothing for the empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString is String, so that %#v does not leak either.
func (s Secret) GoString() string { return s.String() }

// LogValue is String for structured logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// A Config is the whole desired state of a speaker. The zero Config, without
// an ASN, is a speaker that does not run.
type Config struct {
	ASN         uint32
	RouterID    netip.Addr       // IPv4 (RFC 4271 section 4.2)
	Listen      []netip.AddrPort // sorted; both families for "all addresses"
	RestartTime time.Duration    // how long helpers keep our routes, 1..4095 s (RFC 4724 section 3)
	Peers       []Peer           // sorted by Addr, without duplicates
	Paths       []*Path          // sorted by ComparePrefix, one for each prefix; shared, never modified
}

// A Peer is one BGP neighbour. One session carries IPv4 and IPv6 unicast.
// Peers are compared with ==.
type Peer struct {
	Addr        netip.Addr
	Port        uint16 // 179 unless configured
	ASN         uint32
	Password    Secret        // TCP MD5 key (RFC 2385), empty for none
	HoldTime    time.Duration // 0 or 9..65535 s (RFC 4271 section 4.2)
	Multihop    uint8         // TTL of an eBGP session to a peer that is not on a link of ours; 0 for a peer on a link
	TTLSecurity uint8         // smallest TTL accepted (RFC 5082 section 3); 0 for off
	Passive     bool          // wait for the peer to connect

	// LocalAddr is our end of the session when the operator configured it; a
	// change resets the session.
	LocalAddr netip.Addr
	// Source is our end of the session as the routing table has it now. It
	// pins the transport of the next connection, and a change leaves an
	// established session alone. Zero when there is no route to the peer.
	Source netip.Addr
	// NextHop4 and NextHop6 are what paths without a next hop of their own get
	// toward this peer. A zero NextHop4 falls back to NextHop6 when the peer
	// negotiated RFC 8950; otherwise that family is not sent to the peer.
	NextHop4, NextHop6 netip.Addr
}

// A Path is one route to announce. Paths are compared with ==.
type Path struct {
	Prefix  netip.Prefix // masked
	NextHop netip.Addr   // of the family of Prefix; zero for the peer's NextHop4 or NextHop6
	Peers   PeerSet      // who may hear it
}

// ComparePrefix orders prefixes by address and then by length.
func ComparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// A PeerSet is an immutable set of peer addresses. The zero value is empty,
// and equal sets are ==.
type PeerSet struct{ s string }

// NewPeerSet returns the set of addrs.
func NewPeerSet(addrs ...netip.Addr) PeerSet {
	addrs = slices.Clone(addrs)
	slices.SortFunc(addrs, netip.Addr.Compare)
	var b strings.Builder
	for i, a := range slices.Compact(addrs) {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(a.String())
	}
	return PeerSet{b.String()}
}

// Addrs returns the members in order.
func (s PeerSet) Addrs() []netip.Addr {
	var out []netip.Addr
	for f := range strings.FieldsSeq(s.s) {
		out = append(out, netip.MustParseAddr(f))
	}
	return out
}

// Contains reports whether a is a member.
func (s PeerSet) Contains(a netip.Addr) bool { return slices.Contains(s.Addrs(), a) }

// Union returns the members of either set.
func (s PeerSet) Union(t PeerSet) PeerSet {
	if s == t || t.s == "" {
		return s
	}
	return NewPeerSet(append(s.Addrs(), t.Addrs()...)...)
}

// String lists the members, separated by spaces.
func (s PeerSet) String() string { return s.s }

// A StopMode says what peers should do with our routes when the speaker stops.
type StopMode int

// Stop modes.
const (
	Restart  StopMode = iota // keep forwarding: we will be back (RFC 4724)
	Withdraw                 // forget them: we are going away
)

func (m StopMode) String() string { return [...]string{"restart", "withdraw"}[m] }

// A Speaker holds BGP sessions. It is safe for concurrent use.
type Speaker interface {
	// Apply makes the speaker match c, and is a no-op when it already does.
	// Paths go in before peers. A change of ASN, RouterID or RestartTime
	// restarts every session; anything else touches only the paths and peers
	// that differ. Trouble that does not stop the rest, such
	// as a port in use, is returned after the rest is done and shown by
	// Status; calling Apply again retries it.
	Apply(ctx context.Context, c Config) error

	// Flush waits until everything applied has been written to the
	// established sessions and acknowledged by their kernels' TCP, or until
	// ctx is done.
	Flush(ctx context.Context) error

	// Status reports the speaker itself.
	Status() Status

	// Sessions reports the state of every peer, sorted by address.
	Sessions(ctx context.Context) ([]Session, error)

	// Advertised returns what was really sent to a peer and not withdrawn
	// since, sorted by prefix; nothing when the session is down.
	Advertised(ctx context.Context, peer netip.Addr) ([]Advertised, error)

	// Reset closes the session with a peer with an administrative reset
	// (RFC 4486) and lets it come back.
	Reset(ctx context.Context, peer netip.Addr) error

	// Watch delivers a value whenever a session changes its state, until ctx
	// is done. Values are dropped for a reader that is slow.
	Watch(ctx context.Context) <-chan Event

	// Stop ends all sessions. The speaker cannot be used afterwards. With
	// Withdraw, the text is shown to the peers' operators (RFC 9003).
	Stop(ctx context.Context, m StopMode, text string) error
}

// A Status describes a running speaker.
type Status struct {
	Running   bool
	ASN       uint32
	RouterID  netip.Addr
	Listening []netip.AddrPort
	ListenErr string // why we do not listen; empty when we do
	Since     time.Time
}

// A State is a state of the BGP finite state machine (RFC 4271 section 8.2.2).
type State string

// States of a session.
const (
	Idle        State = "idle"
	Connect     State = "connect"
	Active      State = "active"
	OpenSent    State = "opensent"
	OpenConfirm State = "openconfirm"
	Established State = "established"
)

// A Family is an address family that a session may carry.
type Family string

// Families (RFC 4760).
const (
	IPv4Unicast Family = "ipv4-unicast"
	IPv6Unicast Family = "ipv6-unicast"
)

// FamilyOf returns the family that carries p.
func FamilyOf(p netip.Prefix) Family {
	if p.Addr().Is4() {
		return IPv4Unicast
	}
	return IPv6Unicast
}

// A Session is the observed state of one peer.
type Session struct {
	Peer      Peer
	State     State
	Since     time.Time  // when State was entered
	LocalAddr netip.Addr // our end of the connection, when there is one
	RemoteID  netip.Addr // the peer's router id
	LastError string     // the latest failure as a sentence; empty after a session that came up without one
	Families  []FamilyStatus
	HoldTime  time.Duration // negotiated
	Keepalive time.Duration // negotiated
	Restart   RestartStatus
	Flaps     uint64 // times the session left Established

	UpdatesSent, UpdatesReceived uint64
}

// A FamilyStatus says how one family stands on a session.
type FamilyStatus struct {
	Family     Family
	Negotiated bool
	Desired    int    // prefixes that the peer should hear
	Advertised int    // prefixes that it was sent
	Received   int    // prefixes that it announced in this session, all dropped; one that it announced twice counts twice
	Held       string // why the family is not sent; empty when it is
}

// A RestartStatus is the state of graceful restart on a session (RFC 4724).
type RestartStatus struct {
	Negotiated      bool          // both sides sent the capability
	PeerRestartTime time.Duration // how long the peer asks us to wait
	LocalRestarting bool          // our last OPEN had the restart state bit set
	PeerRestarting  bool          // the peer's last OPEN had it set
}

// An Advertised is one route as a peer was sent it.
type Advertised struct {
	Prefix  netip.Prefix
	NextHop netip.Addr
	ASPath  []uint32
}

// An Event reports that a session changed its state.
type Event struct {
	Time  time.Time
	Peer  netip.Addr
	State State
	Error string // why it went down, as a sentence
}
