package daemon

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"netctl/api"
	"netctl/config"
	"netctl/db"
	"netctl/network"
)

// A networkEdit is what a write may change of a network.
type networkEdit struct {
	description string
	config      map[string]string // of all scopes
}

// postNetworks is POST /1.0/networks.
func (d *Daemon) postNetworks(r *http.Request) (reply, error) {
	var req api.NetworksPost
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	if req.Type == "" {
		req.Type = "bridge"
	}
	if req.Type != "bridge" {
		return reply{}, api.Errorf(api.Invalid, "network %q: type %q is not supported: use \"bridge\"", req.Name, req.Type)
	}
	if err := config.ValidateName(req.Name); err != nil {
		return reply{}, api.Errorf(api.Invalid, "%w", err)
	}
	if err := d.nameFree(r, req.Name); err != nil {
		return reply{}, err
	}
	create := func(tx *db.Tx) error {
		if tx.Get(networkKey(req.Name)) != nil {
			return api.Errorf(api.Conflict, "network %q already exists", req.Name)
		}
		e := networkEdit{req.Description, maps.Clone(req.Config)}
		if e.config == nil {
			e.config = map[string]string{}
		}
		for family, choice := range map[string]string{"ipv4": config.Auto, "ipv6": autoIPv6()} {
			if _, ok := e.config[family+".address"]; !ok {
				e.config[family+".address"] = choice
			}
		}
		return d.putNetwork(tx, req.Name, req.Type, e, nil)
	}
	return d.write(r, create, api.EventLifecycleBody{Action: "network-created", Source: networkURL(req.Name)},
		reply{status: http.StatusCreated, location: networkURL(req.Name)})
}

// autoIPv6 is ipv6.address of a network whose creator has not said: none on a
// host without IPv6.
func autoIPv6() string {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return config.None
	}
	return config.Auto
}

// nameFree refuses the name of an interface that exists and is not ours.
func (d *Daemon) nameFree(r *http.Request, name string) error {
	o, err := d.view.observed(r.Context())
	if err != nil {
		return err
	}
	seen, ok := o.Links[name]
	if !ok {
		return nil
	}
	if n, ours := seen.Owner(); ours && n == name || seen.Making {
		return nil
	}
	return api.Errorf(api.Conflict, "network %q: interface %s exists on this host and is not netctl's", name, name)
}

// putNetwork completes, checks and stores a network; old is its configuration
// before the write.
func (d *Daemon) putNetwork(tx *db.Tx, name, typ string, e networkEdit, old map[string]string) error {
	cfg := config.BridgeSchema.Unmask(e.config, old)
	maps.DeleteFunc(cfg, func(_, v string) bool { return v == "" })
	if err := d.resolveAuto(tx, name, cfg); err != nil {
		return err
	}
	if err := config.BridgeSchema.Validate(cfg); err != nil {
		return configError("network \""+name+"\"", err)
	}
	if err := d.hostKeeps(fmt.Sprintf("network %q", name), cfg, old, "ipv4.address", "ipv4.routes", "ipv6.address", "ipv6.routes"); err != nil {
		return err
	}
	if err := forwardsInside(tx, name, cfg, old); err != nil {
		return err
	}
	if err := aclsExist(tx, name, cfg); err != nil {
		return err
	}
	global, local := config.BridgeSchema.Split(cfg)
	if err := tx.Put(networkKey(name), schemaVersion, storedNetwork{typ, e.description, global}); err != nil {
		return err
	}
	if len(local) == 0 {
		tx.Delete(networkMemberKey(name))
		return nil
	}
	return tx.Put(networkMemberKey(name), schemaVersion, storedMember{local})
}

// resolveAuto replaces ipvN.address=auto by a free subnet. Such a subnet is
// private, so NAT is turned on unless the request says otherwise.
func (d *Daemon) resolveAuto(tx *db.Tx, name string, cfg map[string]string) error {
	source := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for _, f := range []struct {
		family string
		choose func(*rand.Rand, []netip.Prefix) (netip.Prefix, error)
	}{
		{"ipv4", network.FreeSubnet4},
		{"ipv6", network.FreeSubnet6},
	} {
		if cfg[f.family+".address"] != config.Auto {
			continue
		}
		p, err := f.choose(source, d.usedPrefixes(tx, name))
		if err != nil {
			return api.Errorf(api.Conflict, "network %q: %s.address=auto: %w", name, f.family, err)
		}
		cfg[f.family+".address"] = p.String()
		if cfg[f.family+".nat"] == "" {
			cfg[f.family+".nat"] = "true"
		}
	}
	return nil
}

// usedPrefixes returns what a new subnet must not overlap: what is on any
// link or route of this host, and behind any other network.
func (d *Daemon) usedPrefixes(tx *db.Tx, name string) []netip.Prefix {
	used := d.decoder.prefixes(tx.List(networksPrefix), name)
	o := d.view.lastObserved()
	for _, l := range o.Links {
		if l.Name == name {
			continue
		}
		for _, a := range l.Addrs {
			used = append(used, a.Masked())
		}
	}
	return append(used, o.Routes...)
}

// putNetworkConfig is PUT /1.0/networks/{name}.
func (d *Daemon) putNetworkConfig(r *http.Request) (reply, error) {
	var req api.NetworkPut
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	return d.updateNetwork(r, func(e *networkEdit) {
		e.description, e.config = req.Description, req.Config
	})
}

// patchNetworkConfig is PATCH /1.0/networks/{name}.
func (d *Daemon) patchNetworkConfig(r *http.Request) (reply, error) {
	var req api.NetworkPatch
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	return d.updateNetwork(r, func(e *networkEdit) {
		if req.Description != nil {
			e.description = *req.Description
		}
		maps.Copy(e.config, req.Config)
	})
}

func (d *Daemon) updateNetwork(r *http.Request, edit func(*networkEdit)) (reply, error) {
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	update := func(tx *db.Tx) error {
		global := tx.Get(networkKey(name))
		if global == nil {
			return notFound(name)
		}
		local := tx.Get(networkMemberKey(name))
		g, old, err := networkConfig(global, local)
		if err != nil {
			return err
		}
		if err := ifMatch(r, tagOf(name, global, local, g, old)); err != nil {
			return err
		}
		e := networkEdit{g.Description, maps.Clone(old)}
		edit(&e)
		return d.putNetwork(tx, name, g.Type, e, old)
	}
	return d.write(r, update, api.EventLifecycleBody{Action: "network-updated", Source: networkURL(name)}, reply{})
}

// networkFree refuses to take a network away from who uses it.
func (d *Daemon) networkFree(tx *db.Tx, name string) error {
	for _, o := range tx.List(instancesPrefix) {
		i, err := d.decoder.instance(o)
		if err != nil {
			return err
		}
		for _, nic := range i.NICs {
			if nic.Network == name {
				return api.Errorf(api.Invalid, "network %q: the network is currently in use: device %q of instance %q is on it", name, nic.Device, i.Name)
			}
		}
	}
	return nil
}

// deleteNetwork is DELETE /1.0/networks/{name}.
func (d *Daemon) deleteNetwork(r *http.Request) (reply, error) {
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	remove := func(tx *db.Tx) error {
		global := tx.Get(networkKey(name))
		if global == nil {
			return notFound(name)
		}
		local := tx.Get(networkMemberKey(name))
		g, cfg, err := networkConfig(global, local)
		if err != nil {
			return err
		}
		if err := ifMatch(r, tagOf(name, global, local, g, cfg)); err != nil {
			return err
		}
		if err := d.networkFree(tx, name); err != nil {
			return err
		}
		for _, o := range tx.List(networkKey(name)) {
			if o.Key == networkKey(name) || strings.HasPrefix(o.Key, networkKey(name)+"/") {
				tx.Delete(o.Key)
			}
		}
		return moveForwards(tx, name, "")
	}
	return d.write(r, remove, api.EventLifecycleBody{Action: "network-deleted", Source: networkURL(name)}, reply{})
}
