package daemon

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"netctl/api"
	"netctl/config"
	"netctl/db"
)

// postNetwork is POST /1.0/networks/{name}: a change of name. The bridge is
// made anew under the new one, so it is refused while others have ports in it,
// which would be lost.
func (d *Daemon) postNetwork(r *http.Request) (reply, error) {
	var req api.NetworkPost
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	if err := config.ValidateName(req.Name); err != nil {
		return reply{}, api.Errorf(api.Invalid, "%w", err)
	}
	if err := d.nameFree(r, req.Name); err != nil {
		return reply{}, err
	}
	guests, err := d.guests(r, name)
	if err != nil {
		return reply{}, err
	}
	rename := func(tx *db.Tx) error {
		global, local := tx.Get(networkKey(name)), tx.Get(networkMemberKey(name))
		switch {
		case global == nil:
			return notFound(name)
		case tx.Get(networkKey(req.Name)) != nil:
			return api.Errorf(api.Conflict, "network %q already exists", req.Name)
		}
		g, cfg, err := networkConfig(global, local)
		if err != nil {
			return err
		}
		if err := ifMatch(r, tagOf(name, global, local, g, cfg)); err != nil {
			return err
		}
		if err := noGuests(name, guests, cfg); err != nil {
			return err
		}
		if err := d.networkFree(tx, name); err != nil {
			return err
		}
		tx.Delete(networkKey(name))
		tx.Delete(networkMemberKey(name))
		if err := moveForwards(tx, name, req.Name); err != nil {
			return err
		}
		return d.putNetwork(tx, req.Name, g.Type, networkEdit{g.Description, cfg}, nil)
	}
	return d.write(r, rename,
		api.EventLifecycleBody{Action: "network-renamed", Source: networkURL(req.Name), Context: map[string]any{"old_name": name}},
		reply{status: http.StatusCreated, location: networkURL(req.Name)})
}

// guests returns the interfaces that are ports of the bridge of a network, other
// than links of ours.
func (d *Daemon) guests(r *http.Request, name string) ([]string, error) {
	d.view.changed() // whatever has not been noticed yet counts
	o, err := d.view.observed(r.Context())
	if err != nil {
		return nil, err
	}
	var out []string
	for _, i := range slices.Sorted(maps.Keys(o.Links)) {
		if _, ours := o.Links[i].Owner(); !ours && o.Links[i].Master == name {
			out = append(out, i)
		}
	}
	return out, nil
}

// noGuests refuses a new name for a network when its bridge has ports that are
// not its external interfaces.
func noGuests(name string, ports []string, cfg map[string]string) error {
	const most = 10 // that are named
	b, err := config.BridgeSchema.Decode(cfg)
	if err != nil {
		return configError("network \""+name+"\"", err)
	}
	guests := slices.DeleteFunc(slices.Clone(ports), func(p string) bool { return slices.Contains(b.External, p) })
	if len(guests) == 0 {
		return nil
	}
	named := strings.Join(guests[:min(most, len(guests))], ", ")
	if len(guests) > most {
		named += ", …"
	}
	return api.Errorf(api.Conflict, "network %q is currently in use: a new name makes its bridge anew, which has ports that are not netctl's: %s; take them out of it first", name, named)
}
