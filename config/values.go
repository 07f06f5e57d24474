package config

import (
	"net/netip"
	"time"

	"go4.org/netipx"
)

// Server is the decoded configuration of the daemon on one member.
type Server struct {
	BGPAddress     netip.AddrPort // core.bgp_address; the zero Addr with a port for all addresses
	BGPASN         uint32         // core.bgp_asn
	BGPRouterID    netip.Addr     // core.bgp_routerid
	HTTPSAddress   netip.AddrPort // core.https_address; as BGPAddress
	MetricsAddress netip.AddrPort // core.metrics_address; as BGPAddress
	MetricsAuth    bool           // core.metrics_authentication
	TokenExpiry    time.Duration  // core.remote_token_expiry
	RestartTime    time.Duration  // bgp.restart_time
	BGPFirewall    bool           // bgp.firewall
	ChosenRouterID netip.Addr     // volatile.bgp.routerid
}

// Bridge is the decoded configuration of a network of type bridge on one
// member.
type Bridge struct {
	Peers      map[string]*Peer
	MTU        int
	HWAddr     string   // empty for one that is derived from the name
	External   []string // sorted, without duplicates
	Domain     string
	DNSMode    string
	Search     []string
	V4, V6     Family
	RawDNSMasq string

	ACLs            []string   // without duplicates; empty for none
	Ingress, Egress ACLDefault // of what no rule of ACLs matches
}

// Peer is a BGP peer as a network names it: bgp.peers.NAME.*.
type Peer struct {
	Address     netip.Addr
	Port        uint16
	ASN         uint32
	Password    string
	HoldTime    time.Duration
	LocalAddr   netip.Addr
	Multihop    uint8
	TTLSecurity uint8
	Passive     bool
}

// Family is the part of a network's configuration that exists once for each
// address family.
type Family struct {
	Address     netip.Prefix // zero for none; never "auto", which is resolved before it is stored
	NextHop     netip.Addr   // bgp.ipvN.nexthop
	DHCP        bool
	DHCPExpiry  time.Duration // 0 for infinite
	DHCPRanges  []netipx.IPRange
	DHCPGateway netip.Addr // IPv4 only
	Stateful    bool       // IPv6 only
	Firewall    bool
	Routing     bool
	NAT         bool
	NATAddress  netip.Addr
	NATOrder    string         // before or after
	Routes      []netip.Prefix // sorted, masked
	Anycast     bool           // ipvN.routes.anycast
	OVNRanges   []netipx.IPRange
}
