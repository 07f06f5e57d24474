package config

import "time"

// ServerSchema declares the keys of the daemon. The speaker runs when
// core.bgp_address and core.bgp_asn are set.
var ServerSchema = newSchema("server", "Server", nil,
	field(Key{
		Name: "core.bgp_address", Scope: Member,
		Doc:    "Address that the BGP speaker listens on.",
		Detail: "The port is 179 unless given. Without an address, as in `:179`, or with `[::]`, it listens on all addresses of both families; with `0.0.0.0` on all IPv4 addresses. The speaker runs when this and `core.bgp_asn` are set.",
	}, listenAddress(BGPPort), func(s *Server) *addrPort { return &s.BGPAddress }),
	field(Key{
		Name: "core.bgp_asn",
		Doc:  "AS number of the BGP speaker.",
	}, asn, func(s *Server) *uint32 { return &s.BGPASN }),
	field(Key{
		Name: "core.bgp_routerid", Scope: Member,
		DefaultDoc: "the IPv4 address of `core.bgp_address`, else the one that packets to the first peer have as their source",
		Doc:        "Router id of the BGP speaker.",
		Detail:     "It looks like an IPv4 address and must differ from those of all peers.",
	}, routerID, func(s *Server) *addr { return &s.BGPRouterID }),
	field(Key{
		Name: "core.https_address", Scope: Member,
		DefaultDoc: "the API is not served over the network",
		Doc:        "Address that the API is served at over HTTPS.",
		Detail:     "The port is 8443 unless given. Without an address, as in `:8443`, or with `[::]`, it listens on all addresses of both families; with `0.0.0.0` on all IPv4 addresses. Clients need a certificate that is in the trust store.",
	}, listenAddress(HTTPSPort), func(s *Server) *addrPort { return &s.HTTPSAddress }),
	field(Key{
		Name: "core.metrics_address", Scope: Member,
		DefaultDoc: "metrics are served with the rest of the API alone",
		Doc:        "Address that metrics are served at for Prometheus, as `/1.0/metrics`, and nothing else.",
		Detail:     "The port is 9100 unless given; the rest is as for `core.https_address`.",
	}, listenAddress(MetricsPort), func(s *Server) *addrPort { return &s.MetricsAddress }),
	field(Key{
		Name: "core.metrics_authentication", Default: "true",
		Doc:    "Whether `core.metrics_address` wants a certificate of its clients.",
		Detail: "With `true` it is served over HTTPS to clients with a certificate that is in the trust store, of which a restricted one is enough. With `false` it is served over plain HTTP to everybody who can reach it.",
	}, boolean, func(s *Server) *bool { return &s.MetricsAuth }),
	field(Key{
		Name: "core.remote_token_expiry", Default: "1d",
		Doc:    "How long a new trust token can be used.",
		Detail: "A number with unit S, M, H, d or w, or several that are added up, as in `1d 12H`; at most 52w. It applies to tokens that are made from then on.",
	}, tokenTime, func(s *Server) *time.Duration { return &s.TokenExpiry }),
	field(Key{
		Name: "bgp.restart_time", Default: "120",
		Doc:    "How long peers keep our routes while the daemon is away.",
		Detail: "From 1 to 4095 (RFC 4724 section 3).",
	}, seconds(1, 4095), func(s *Server) *time.Duration { return &s.RestartTime }),
	field(Key{
		Name: "bgp.firewall", Default: "true",
		Doc:    "Let only configured peers reach the port of the BGP speaker.",
		Detail: "This guards the speaker from everybody who can send packets to the host. Other firewalls of the host are not touched and still apply.",
	}, boolean, func(s *Server) *bool { return &s.BGPFirewall }),
	field(Key{
		Name: "volatile.bgp.routerid", Scope: Member, Internal: true,
		Doc: "Router id that was chosen while core.bgp_routerid is not set, kept so that a restart does not change it.",
	}, routerID, func(s *Server) *addr { return &s.ChosenRouterID }),
)
