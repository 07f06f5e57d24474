package daemon

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"netctl/api"
	"netctl/config"
	"netctl/db"
	"netctl/network"
)

func forwardURL(network string, listen netip.Addr) string {
	return networkURL(network) + "/forwards/" + url.PathEscape(listen.String())
}

// getForwards is GET /1.0/networks/{name}/forwards.
func (d *Daemon) getForwards(r *http.Request) (reply, error) {
	name, objs, err := d.findNetwork(r)
	if err != nil {
		return reply{}, err
	}
	match, err := parseFilter(r.URL.Query().Get("filter"))
	if err != nil {
		return reply{}, err
	}
	s, err := d.decoder.snapshot(objs)
	if err != nil {
		return reply{}, err
	}
	urls, all := []string{}, []api.NetworkForward{}
	for _, v := range forwardsOf(s, name) {
		f, err := showForward(v.Listen, objs.Get(forwardKey(name, v.Listen)))
		if err != nil {
			return reply{}, err
		}
		if match(f) {
			urls, all = append(urls, forwardURL(name, v.Listen)), append(all, f)
		}
	}
	rev := int64(objs.Revision())
	if recursive(r) {
		return reply{revision: rev, metadata: all}, nil
	}
	return reply{revision: rev, metadata: urls}, nil
}

// forwardsOf returns the forwards of a network, sorted by their listen
// addresses.
func forwardsOf(s *network.Snapshot, name string) []*network.Forward {
	from, _ := slices.BinarySearchFunc(s.Forwards, name, func(f *network.Forward, name string) int { return strings.Compare(f.Network, name) })
	all := s.Forwards[from:]
	if n := slices.IndexFunc(all, func(f *network.Forward) bool { return f.Network != name }); n >= 0 {
		all = all[:n]
	}
	return all
}

// getForward is GET /1.0/networks/{name}/forwards/{listen}.
func (d *Daemon) getForward(r *http.Request) (reply, error) {
	name, objs, err := d.findNetwork(r)
	if err != nil {
		return reply{}, err
	}
	listen, err := listenVar(r)
	if err != nil {
		return reply{}, err
	}
	o := objs.Get(forwardKey(name, listen))
	if o == nil {
		return reply{}, forwardNotFound(name, listen)
	}
	f, err := showForward(listen, o)
	return reply{revision: int64(objs.Revision()), etag: f, metadata: f}, err
}

// showForward returns a stored forward as the API shows it, which is also what
// its ETag is computed from.
func showForward(listen netip.Addr, o *db.Object) (api.NetworkForward, error) {
	var s storedForward
	err := decode(o, &s)
	return api.NetworkForward{
		Description: s.Description, Config: s.Config, Ports: s.Ports, ListenAddress: listen.String(), Location: member,
	}, err
}

// listenVar returns the listen address in a path.
func listenVar(r *http.Request) (netip.Addr, error) {
	s, err := pathVar(r, "listen")
	if err != nil {
		return netip.Addr{}, err
	}
	listen, err := config.ParseListenAddress(s)
	if err != nil {
		return netip.Addr{}, api.Errorf(api.Invalid, "%w", err)
	}
	return listen, nil
}

func forwardNotFound(network string, listen netip.Addr) error {
	return api.Errorf(api.NotFound, "network forward not found: network %q has none for the listen address %s", network, listen)
}
