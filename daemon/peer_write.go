package daemon

import (
	"maps"
	"net/http"
	"net/netip"
	"slices"

	"netctl/api"
	"netctl/db"
)

// A naming is one network's name for a peer. What it is changes with Revision,
// so the ETag of a peer is computed from all of them.
type naming struct {
	Network, Name string
	Revision      db.Revision
}

// naming returns who names the peer at an address, sorted by network and name.
func (d *decoder) naming(objs interface {
	Get(key string) *db.Object
	List(prefix string) []*db.Object
}, addr netip.Addr,
) ([]naming, error) {
	d.mu.Lock()
	known := d.recent[0]
	d.mu.Unlock()
	out := []naming{}
	for _, o := range objs.List(networksPrefix) {
		parts := db.Parts(o.Key)
		if len(parts) != 2 {
			continue
		}
		n, err := known.network(parts[1], o, objs.Get(networkMemberKey(parts[1])))
		if err != nil {
			return nil, err
		}
		peers := n.Config[member].Peers
		for _, name := range slices.Sorted(maps.Keys(peers)) {
			if peers[name].Address == addr {
				out = append(out, naming{n.Name, name, o.Revision})
			}
		}
	}
	return out, nil
}

// patchPeer is PATCH /1.0/bgp/peers/{address}. Networks that name one peer must
// agree about it, so none of them can change a setting of it alone: this
// changes it on all of them, in one write.
func (d *Daemon) patchPeer(r *http.Request) (reply, error) {
	addr, err := peerAddr(r)
	if err != nil {
		return reply{}, err
	}
	var req api.BGPPeerPatch
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	if _, ok := req.Config["address"]; ok {
		return reply{}, api.Errorf(api.Invalid, "peer %s: the address is what it is known by: change bgp.peers.NAME.address of each network instead", addr)
	}
	event := api.EventLifecycleBody{Action: "bgp-peer-updated", Source: "/1.0/bgp/peers/" + addr.String(), Context: map[string]any{}}
	update := func(tx *db.Tx) error {
		named, err := d.decoder.naming(tx, addr)
		switch {
		case err != nil:
			return err
		case len(named) == 0:
			return api.Errorf(api.NotFound, "peer %s not found: no network names it", addr)
		}
		if err := ifMatch(r, named); err != nil {
			return err
		}
		event.Context["networks"], err = d.putPeer(tx, named, req.Config)
		return err
	}
	return d.write(r, update, event, reply{})
}

// putPeer changes settings of a peer on every network that names it, and
// returns which these are.
func (d *Daemon) putPeer(tx *db.Tx, named []naming, settings map[string]string) (networks []string, err error) {
	for _, n := range named {
		g, old, err := networkConfig(tx.Get(networkKey(n.Network)), tx.Get(networkMemberKey(n.Network)))
		if err != nil {
			return nil, err
		}
		e := networkEdit{g.Description, maps.Clone(old)}
		for key, value := range settings {
			e.config["bgp.peers."+n.Name+"."+key] = value
		}
		if err := d.putNetwork(tx, n.Network, g.Type, e, old); err != nil {
			return nil, err
		}
		networks = append(networks, n.Network)
	}
	return slices.Compact(networks), nil
}
