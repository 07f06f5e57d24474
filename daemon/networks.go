package daemon

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"netctl/api"
	"netctl/config"
	"netctl/db"
	"netctl/network"
)

// unescape decodes a path variable and refuses what no name contains.
func unescape(s string) (string, error) {
	name, err := url.PathUnescape(s)
	if err != nil {
		return "", api.Errorf(api.Invalid, "path: %w", err)
	}
	if strings.Contains(name, "/") { // it would name another key of the store
		return "", api.Errorf(api.NotFound, "%q not found: no name has a slash", name)
	}
	return name, nil
}

func networkURL(name string) string { return "/1.0/networks/" + url.PathEscape(name) }

// networkTag is what the ETag of a network is computed from. Secrets are left
// out, since whoever knew the rest could guess them: that they have changed is
// told by the revisions.
type networkTag struct {
	Name, Description, Type string
	Config                  map[string]string
	Global, Local           db.Revision
}

// tagOf returns the tag of a network, given as stored and as decoded.
func tagOf(name string, global, local *db.Object, g storedNetwork, cfg map[string]string) networkTag {
	t := networkTag{Name: name, Description: g.Description, Type: g.Type, Config: config.BridgeSchema.Mask(cfg), Global: global.Revision}
	if local != nil {
		t.Local = local.Revision
	}
	return t
}

func notFound(name string) error {
	return api.Errorf(api.NotFound, "network %q not found", name)
}

// getNetworks is GET /1.0/networks.
func (d *Daemon) getNetworks(r *http.Request) (reply, error) {
	match, err := parseFilter(r.URL.Query().Get("filter"))
	if err != nil {
		return reply{}, err
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	host, err := d.view.host(r.Context())
	if err != nil {
		return reply{}, err
	}
	s, err := d.decoder.snapshot(objs)
	if err != nil {
		return reply{}, err
	}
	used := usedBy(s)
	urls, all := []string{}, []api.Network{}
	for _, o := range objs.List(networksPrefix) {
		parts := db.Parts(o.Key)
		if len(parts) != 2 {
			continue
		}
		n, _, err := d.network(r, parts[1], o, objs.Get(networkMemberKey(parts[1])), host)
		if err != nil {
			return reply{}, err
		}
		n.UsedBy = append(n.UsedBy, used[n.Name]...)
		if match(n) {
			urls, all = append(urls, networkURL(n.Name)), append(all, n)
		}
	}
	rev := int64(objs.Revision())
	if recursive(r) {
		return reply{revision: rev, metadata: all}, nil
	}
	return reply{revision: rev, metadata: urls}, nil
}

// getNetwork is GET /1.0/networks/{name}.
func (d *Daemon) getNetwork(r *http.Request) (reply, error) {
	name, objs, err := d.findNetwork(r)
	if err != nil {
		return reply{}, err
	}
	host, err := d.view.host(r.Context())
	if err != nil {
		return reply{}, err
	}
	n, tag, err := d.network(r, name, objs.Get(networkKey(name)), objs.Get(networkMemberKey(name)), host)
	if err != nil {
		return reply{}, err
	}
	s, err := d.decoder.snapshot(objs)
	if err != nil {
		return reply{}, err
	}
	n.UsedBy = append(n.UsedBy, usedBy(s)[name]...)
	return reply{revision: int64(objs.Revision()), etag: tag, metadata: n}, nil
}

// findNetwork returns the network that a path names, and the snapshot that
// has it.
func (d *Daemon) findNetwork(r *http.Request) (string, *db.Objects, error) {
	name, err := pathVar(r, "name")
	if err != nil {
		return "", nil, err
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return "", nil, err
	}
	if objs.Get(networkKey(name)) == nil {
		return "", nil, notFound(name)
	}
	return name, objs, nil
}

// network returns a stored network as the API shows it. Secrets are masked,
// unless the query asks for them with secrets=1.
func (d *Daemon) network(r *http.Request, name string, global, local *db.Object, host *network.Host) (api.Network, networkTag, error) {
	g, cfg, err := networkConfig(global, local)
	if err != nil {
		return api.Network{}, networkTag{}, err
	}
	tag := tagOf(name, global, local, g, cfg)
	if r.URL.Query().Get("secrets") != "1" {
		cfg = config.BridgeSchema.Mask(cfg)
	}
	n := api.Network{
		Name: name, Description: g.Description, Type: g.Type, Managed: true, Config: cfg,
		UsedBy: []string{}, Locations: []string{member}, Project: "default",
	}
	n.Status, n.StatusMessage = d.networkStatus(name, host)
	return n, tag, nil
}

// networkStatus says how a network stands on this host. What a target failed
// with on its account is part of the answer; targets name the network in each
// line of their errors.
func (d *Daemon) networkStatus(name string, host *network.Host) (status, message string) {
	why := host.Down[name]
	failed := ""
	for _, t := range d.datapath.Status() {
		if t.Err == nil {
			continue
		}
		failed = t.Err.Error()
		for line := range strings.Lines(t.Err.Error()) {
			if strings.Contains(line, "network "+name+":") {
				return api.NetworkErrored, fmt.Sprintf("%s, since %s", strings.TrimSpace(line), t.Since.Format(time.RFC3339))
			}
		}
	}
	switch {
	case why == "":
		return api.NetworkCreated, ""
	case failed != "":
		return api.NetworkErrored, why + ": " + failed
	default:
		return api.NetworkPending, why
	}
}
