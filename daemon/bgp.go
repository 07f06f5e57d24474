package daemon

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"netctl/api"
	"netctl/bgp"
	"netctl/network"
)

// A start is the time between the start of the daemon and its first sessions.
type start struct {
	at    time.Time
	timer *time.Timer // wakes the loop when waiting has an end
	over  bool        // belongs to the loop

	mu      sync.Mutex
	waiting string
}

func (s *start) set(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = why
}

// why says what the first sessions wait for, or nothing.
func (s *start) why() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

func sessionEvent(e bgp.Event) api.EventLifecycleBody {
	return api.EventLifecycleBody{
		Action: "bgp-session-" + string(e.State), Source: "/1.0/bgp/peers/" + e.Peer.String(),
		Context: map[string]any{"error": e.Error},
	}
}

// getBGP is GET /1.0/bgp.
func (d *Daemon) getBGP(r *http.Request) (reply, error) {
	host, err := d.view.host(r.Context())
	if err != nil {
		return reply{}, err
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	cfg, err := serverConfig(objs.Get)
	if err != nil {
		return reply{}, err
	}
	st := d.parts.Speaker.Status()
	out := api.BGP{
		Running: st.Running, ASN: st.ASN, Address: cfg["core.bgp_address"], Listening: []string{}, ListenError: st.ListenErr,
		Since: st.Since, RestartTime: int(host.BGP.RestartTime / time.Second), Waiting: d.start.why(),
	}
	if st.RouterID.IsValid() {
		out.RouterID = st.RouterID.String()
	}
	switch {
	case host.Silent != "":
		out.Waiting = host.Silent
	case len(host.BGP.Listen) == 0:
		out.Waiting = unset(cfg)
	case !st.Running && len(host.Named) == 0:
		out.Waiting = "a network that names a peer"
	}
	for _, a := range st.Listening {
		out.Listening = append(out.Listening, a.String())
	}
	out.Counters, err = d.bgpCounters(r, host)
	return reply{revision: host.Revision, metadata: out}, err
}

// unset lists the keys that the speaker needs and does not have.
func unset(server map[string]string) string {
	var lacks []string
	for _, k := range []string{"core.bgp_asn", "core.bgp_address"} {
		if server[k] == "" {
			lacks = append(lacks, k)
		}
	}
	return strings.Join(lacks, " and ")
}

func (d *Daemon) bgpCounters(r *http.Request, host *network.Host) (api.BGPCounters, error) {
	c := api.BGPCounters{Peers: len(host.Named), PrefixesDesired: len(host.Exports), PrefixesHeld: len(host.Held)}
	sessions, err := d.parts.Speaker.Sessions(r.Context())
	for _, s := range sessions {
		if s.State == bgp.Established {
			c.PeersEstablished++
		}
	}
	return c, err
}

// getPeers is GET /1.0/bgp/peers.
func (d *Daemon) getPeers(r *http.Request) (reply, error) {
	peers, rev, err := d.peers(r)
	if err != nil {
		return reply{}, err
	}
	if recursive(r) {
		return reply{revision: rev, metadata: peers}, nil
	}
	urls := []string{}
	for _, p := range peers {
		urls = append(urls, "/1.0/bgp/peers/"+p.Address)
	}
	return reply{revision: rev, metadata: urls}, nil
}

// getPeer is GET /1.0/bgp/peers/{address}.
func (d *Daemon) getPeer(r *http.Request) (reply, error) {
	addr, err := peerAddr(r)
	if err != nil {
		return reply{}, err
	}
	// The tag is that of before the peer is looked at, never of after: it must
	// not vouch for what the client has not seen.
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	named, err := d.decoder.naming(objs, addr)
	if err != nil {
		return reply{}, err
	}
	peers, rev, err := d.peers(r)
	if err != nil {
		return reply{}, err
	}
	for _, p := range peers {
		if p.Address == addr.String() {
			return reply{revision: rev, etag: named, metadata: p}, nil
		}
	}
	return reply{}, noPeer(addr)
}

// postPeer is POST /1.0/bgp/peers/{address}: the reset of a session.
func (d *Daemon) postPeer(r *http.Request) (reply, error) {
	addr, err := peerAddr(r)
	if err != nil {
		return reply{}, err
	}
	var req api.BGPPeerPost
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	if req.Action != "reset" {
		return reply{}, api.Errorf(api.Invalid, "peer %s: action %q is not supported: use \"reset\"", addr, req.Action)
	}
	host, err := d.view.host(r.Context())
	if err != nil {
		return reply{}, err
	}
	if !slices.ContainsFunc(host.BGP.Peers, func(p bgp.Peer) bool { return p.Addr == addr }) {
		return reply{}, noPeer(addr)
	}
	return reply{}, d.parts.Speaker.Reset(r.Context(), addr)
}

func peerAddr(r *http.Request) (netip.Addr, error) {
	s, err := pathVar(r, "address")
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, api.Errorf(api.Invalid, "peer %q: not an IP address", s)
	}
	return a, nil
}

func noPeer(a netip.Addr) error {
	return api.Errorf(api.NotFound, "peer %s not found: no network names it, or the speaker does not run", a)
}

// peers joins what is configured with what the speaker says of it.
func (d *Daemon) peers(r *http.Request) ([]api.BGPPeer, int64, error) {
	host, err := d.view.host(r.Context())
	if err != nil {
		return nil, 0, err
	}
	sessions, err := d.parts.Speaker.Sessions(r.Context())
	if err != nil {
		return nil, 0, err
	}
	out := []api.BGPPeer{}
	for _, n := range host.Named {
		p := n.Peer
		s := bgp.Session{Peer: p, State: bgp.Idle, LastError: d.start.why()}
		if host.BGP.ASN == 0 {
			s.LastError = silence(host)
		}
		if j, ok := slices.BinarySearchFunc(sessions, p.Addr, func(s bgp.Session, a netip.Addr) int { return s.Peer.Addr.Compare(a) }); ok {
			s = sessions[j]
		}
		peer := peerOf(p, s, n.Networks)
		if s.Restart.Negotiated {
			peer.Restart.RestartTime = int(host.BGP.RestartTime / time.Second)
		}
		out = append(out, peer)
	}
	return out, host.Revision, nil
}

func peerOf(p bgp.Peer, s bgp.Session, networks []string) api.BGPPeer {
	out := api.BGPPeer{
		Address: p.Addr.String(), Port: p.Port, ASN: p.ASN, State: string(s.State), Since: s.Since, LastError: s.LastError,
		LocalAddress: addrText(s.LocalAddr), RemoteID: addrText(s.RemoteID), Password: p.Password.String(),
		HoldTime: int(s.HoldTime / time.Second), Keepalive: int(s.Keepalive / time.Second), Flaps: s.Flaps,
		Updates: api.BGPUpdates{Sent: s.UpdatesSent, Received: s.UpdatesReceived}, Networks: networks, Families: []api.BGPFamily{},
		Restart: api.BGPRestart{
			Negotiated: s.Restart.Negotiated, PeerRestartTime: int(s.Restart.PeerRestartTime / time.Second),
			LocalRestarting: s.Restart.LocalRestarting, PeerRestarting: s.Restart.PeerRestarting,
		},
	}
	for _, f := range s.Families {
		next := p.NextHop4
		if f.Family == bgp.IPv6Unicast {
			next = p.NextHop6
		}
		out.Families = append(out.Families, api.BGPFamily{
			Family: string(f.Family), Negotiated: f.Negotiated, NextHop: addrText(next),
			Desired: f.Desired, Advertised: f.Advertised, Received: f.Received, Held: f.Held,
		})
	}
	return out
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
