package api

import (
	"fmt"
	"time"
)

// A BGP is GET /1.0/bgp: the speaker itself.
type BGP struct {
	Running     bool      `json:"running" yaml:"running"`
	ASN         uint32    `json:"asn" yaml:"asn"`
	RouterID    string    `json:"router_id" yaml:"router_id"`
	Address     string    `json:"address" yaml:"address"`           // core.bgp_address as configured
	Listening   []string  `json:"listening" yaml:"listening"`       // what is really listened on
	ListenError string    `json:"listen_error" yaml:"listen_error"` // why not, while it is retried
	Since       time.Time `json:"since,omitzero" yaml:"since,omitempty"`
	RestartTime int       `json:"restart_time" yaml:"restart_time"` // seconds
	// Waiting says what the speaker lacks to run, or what the first sessions
	// wait for after a start; empty once they have begun.
	Waiting  string      `json:"waiting" yaml:"waiting"`
	Counters BGPCounters `json:"counters" yaml:"counters"`
}

// BGPCounters sums up peers and prefixes.
type BGPCounters struct {
	Peers            int `json:"peers" yaml:"peers"`
	PeersEstablished int `json:"peers_established" yaml:"peers_established"`
	PrefixesDesired  int `json:"prefixes_desired" yaml:"prefixes_desired"`
	PrefixesHeld     int `json:"prefixes_held" yaml:"prefixes_held"` // desired, and not announced by a gate
}

// A BGPPeer is one session of GET /1.0/bgp/peers.
type BGPPeer struct {
	Address      string      `json:"address" yaml:"address"`
	Port         uint16      `json:"port" yaml:"port"`
	ASN          uint32      `json:"asn" yaml:"asn"`
	State        string      `json:"state" yaml:"state"` // idle, connect, active, opensent, openconfirm or established
	Since        time.Time   `json:"since,omitzero" yaml:"since,omitempty"`
	LastError    string      `json:"last_error" yaml:"last_error"`
	LocalAddress string      `json:"local_address" yaml:"local_address"`
	RemoteID     string      `json:"remote_id" yaml:"remote_id"`
	HoldTime     int         `json:"holdtime" yaml:"holdtime"`   // seconds, negotiated
	Keepalive    int         `json:"keepalive" yaml:"keepalive"` // seconds, negotiated
	Flaps        uint64      `json:"flaps" yaml:"flaps"`
	Updates      BGPUpdates  `json:"updates" yaml:"updates"`
	Families     []BGPFamily `json:"families" yaml:"families"`
	Restart      BGPRestart  `json:"restart" yaml:"restart"`
	Networks     []string    `json:"networks" yaml:"networks"` // that name this peer
	Password     string      `json:"password" yaml:"password"` // masked
}

// BGPUpdates counts UPDATE messages of a session.
type BGPUpdates struct {
	Sent     uint64 `json:"sent" yaml:"sent"`
	Received uint64 `json:"received" yaml:"received"`
}

// A BGPFamily is one address family of a session.
type BGPFamily struct {
	Family     string `json:"family" yaml:"family"` // ipv4-unicast or ipv6-unicast
	Negotiated bool   `json:"negotiated" yaml:"negotiated"`
	NextHop    string `json:"nexthop" yaml:"nexthop"` // of paths without one of their own
	Desired    int    `json:"desired" yaml:"desired"`
	Advertised int    `json:"advertised" yaml:"advertised"`
	Received   int    `json:"received" yaml:"received"`
	Held       string `json:"held,omitempty" yaml:"held,omitempty"`
}

// A BGPRestart is the state of graceful restart on a session (RFC 4724).
type BGPRestart struct {
	Negotiated      bool `json:"negotiated" yaml:"negotiated"`
	RestartTime     int  `json:"restart_time" yaml:"restart_time"`           // how long the peer was asked to keep our routes, in seconds
	PeerRestartTime int  `json:"peer_restart_time" yaml:"peer_restart_time"` // how long we were asked to keep the peer's, in seconds
	LocalRestarting bool `json:"local_restarting" yaml:"local_restarting"`
	PeerRestarting  bool `json:"peer_restarting" yaml:"peer_restarting"`
}

// A BGPPeerPost is the body of POST /1.0/bgp/peers/{address}.
type BGPPeerPost struct {
	Action string `json:"action"` // reset
}

// A BGPPeerPatch is the body of PATCH /1.0/bgp/peers/{address}. It sets
// bgp.peers.NAME.KEY for each KEY of Config on every network that names the
// peer, under the name that it has there; an empty value unsets.
type BGPPeerPatch struct {
	Config map[string]string `json:"config"`
}

// A BGPRoute is one prefix of GET /1.0/bgp/routes.
type BGPRoute struct {
	Prefix  string         `json:"prefix" yaml:"prefix"`
	NextHop string         `json:"nexthop" yaml:"nexthop"` // "self" when it depends on the peer
	Owners  []BGPOwner     `json:"owners" yaml:"owners"`
	Member  string         `json:"member" yaml:"member"`
	State   string         `json:"state" yaml:"state"`   // announced or held
	Reason  string         `json:"reason" yaml:"reason"` // why it is held
	Peers   []BGPRoutePeer `json:"peers" yaml:"peers"`
}

// States of a BGPRoute.
const (
	RouteAnnounced = "announced"
	RouteHeld      = "held"
)

// A BGPOwner is the object that a prefix is exported for.
type BGPOwner struct {
	Kind     string `json:"kind" yaml:"kind"` // network, instance or forward
	Network  string `json:"network" yaml:"network"`
	Object   string `json:"object" yaml:"object"`                         // the key that it comes from
	Instance string `json:"instance,omitempty" yaml:"instance,omitempty"` // of a NIC
	Device   string `json:"device,omitempty" yaml:"device,omitempty"`     // of a NIC
	Forward  string `json:"forward,omitempty" yaml:"forward,omitempty"`   // listen address
}

// String names the owner as the command does.
func (o BGPOwner) String() string {
	switch o.Kind {
	case "instance":
		return fmt.Sprintf("instance %s, %s (%s of network %s)", o.Instance, o.Device, o.Object, o.Network)
	case "forward":
		return fmt.Sprintf("forward %s of network %s", o.Forward, o.Network)
	}
	return fmt.Sprintf("%s %s (%s)", o.Kind, o.Network, o.Object)
}

// A BGPRoutePeer says what one peer was sent of a prefix.
type BGPRoutePeer struct {
	Address string   `json:"address" yaml:"address"`
	Sent    bool     `json:"sent" yaml:"sent"`
	NextHop string   `json:"nexthop,omitempty" yaml:"nexthop,omitempty"` // as it was sent
	ASPath  []uint32 `json:"as_path,omitempty" yaml:"as_path,omitempty"`
	Reason  string   `json:"reason,omitempty" yaml:"reason,omitempty"` // why it was not sent
}

// A BGPDebug is GET /internal/testing/bgp, in LXD's shape.
type BGPDebug struct {
	Server   BGPDebugServer   `json:"server"`
	Prefixes []BGPDebugPrefix `json:"prefixes"`
	Peers    []BGPDebugPeer   `json:"peers"`
}

// A BGPDebugServer is the speaker in a BGPDebug.
type BGPDebugServer struct {
	Address  string `json:"address"`
	ASN      uint32 `json:"asn"`
	RouterID string `json:"router_id"`
	Running  bool   `json:"running"`
}

// A BGPDebugPrefix is one exported prefix in a BGPDebug.
type BGPDebugPrefix struct {
	Owner   string `json:"owner"`
	Prefix  string `json:"prefix"`
	Nexthop string `json:"nexthop"`
}

// A BGPDebugPeer is one peer in a BGPDebug; Count is the number of networks
// that name it.
type BGPDebugPeer struct {
	Address  string `json:"address"`
	ASN      uint32 `json:"asn"`
	Password string `json:"password"`
	Count    int    `json:"count"`
	HoldTime uint64 `json:"holdtime"` // seconds
}
