package daemon

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"netctl/api"
	"netctl/config"
	"netctl/db"
)

// postForwards is POST /1.0/networks/{name}/forwards.
func (d *Daemon) postForwards(r *http.Request) (reply, error) {
	var req api.NetworkForwardsPost
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	if a, err := netip.ParseAddr(req.ListenAddress); err == nil && a.IsUnspecified() {
		return reply{}, api.Errorf(api.NotImplemented, "automatic listen address allocation not supported for drivers of type \"bridge\"")
	}
	listen, err := config.ParseListenAddress(req.ListenAddress)
	if err != nil {
		return reply{}, api.Errorf(api.Invalid, "network %q: %w", name, err)
	}
	create := func(tx *db.Tx) error {
		if tx.Get(forwardKey(name, listen)) != nil {
			return api.Errorf(api.Conflict, "network %q: a forward for that listen address already exists: %s", name, listen)
		}
		return d.putForward(tx, name, listen, storedForward{req.Description, req.Config, req.Ports})
	}
	return d.write(r, create, api.EventLifecycleBody{Action: "network-forward-created", Source: forwardURL(name, listen)},
		reply{status: http.StatusCreated, location: forwardURL(name, listen)})
}

// putForward checks and stores a forward.
func (d *Daemon) putForward(tx *db.Tx, name string, listen netip.Addr, f storedForward) error {
	global := tx.Get(networkKey(name))
	if global == nil {
		return notFound(name)
	}
	_, cfg, err := networkConfig(global, tx.Get(networkMemberKey(name)))
	if err != nil {
		return err
	}
	f.normalise()
	spec := f.spec(listen)
	_, err = spec.Decode()
	if err := errors.Join(err, spec.CheckTargets(subnetOf(cfg, listen))); err != nil {
		return forwardError(name, listen, err)
	}
	if err := d.hostKeepsListening(fmt.Sprintf("forward %s of network %q", listen, name), listen, f.Config["target_address"]); err != nil {
		return err
	}
	return tx.Put(forwardKey(name, listen), schemaVersion, f)
}

// normalise makes what is equal look equal, as far as it makes sense.
func (s *storedForward) normalise() {
	s.Config = maps.Clone(s.Config)
	maps.DeleteFunc(s.Config, func(_, v string) bool { return v == "" })
	if s.Config == nil {
		s.Config = map[string]string{}
	}
	if target, ok := s.Config["target_address"]; ok {
		s.Config["target_address"] = canonical(target)
	}
	s.Ports = slices.Clone(s.Ports)
	if s.Ports == nil {
		s.Ports = []api.NetworkForwardPort{}
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		p.Protocol = strings.TrimSpace(p.Protocol)
		p.ListenPort, p.TargetPort = withoutSpaces(p.ListenPort), withoutSpaces(p.TargetPort)
		p.TargetAddress = canonical(p.TargetAddress)
	}
}

// canonical returns an address as it is usually written, and anything else as
// it is.
func canonical(addr string) string {
	addr = strings.TrimSpace(addr)
	if a, err := netip.ParseAddr(addr); err == nil {
		return a.String()
	}
	return addr
}

// withoutSpaces returns a list without spaces around its elements.
func withoutSpaces(list string) string {
	parts := strings.Split(list, ",")
	for i, p := range parts {
		parts[i] = strings.TrimSpace(p)
	}
	return strings.Join(parts, ",")
}

// subnetOf returns the subnet that a network has of an address's family, with
// the address of the bridge; zero when it has none.
func subnetOf(cfg map[string]string, a netip.Addr) netip.Prefix {
	key := "ipv6.address"
	if a.Is4() {
		key = "ipv4.address"
	}
	p, err := netip.ParsePrefix(cfg[key])
	if err != nil {
		return netip.Prefix{} // none
	}
	return p
}

// putForwardConfig is PUT /1.0/networks/{name}/forwards/{listen}.
func (d *Daemon) putForwardConfig(r *http.Request) (reply, error) {
	var req api.NetworkForwardPut
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	return d.updateForward(r, func(f *storedForward) {
		*f = storedForward{req.Description, req.Config, req.Ports}
	})
}

// patchForwardConfig is PATCH /1.0/networks/{name}/forwards/{listen}.
func (d *Daemon) patchForwardConfig(r *http.Request) (reply, error) {
	var req api.NetworkForwardPatch
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	return d.updateForward(r, func(f *storedForward) {
		if req.Description != nil {
			f.Description = *req.Description
		}
		if f.Config == nil {
			f.Config = map[string]string{}
		}
		maps.Copy(f.Config, req.Config)
		if req.Ports != nil {
			f.Ports = req.Ports
		}
	})
}

func (d *Daemon) updateForward(r *http.Request, edit func(*storedForward)) (reply, error) {
	name, listen, err := forwardVars(r)
	if err != nil {
		return reply{}, err
	}
	update := func(tx *db.Tx) error {
		f, err := findForward(tx, r, name, listen)
		if err != nil {
			return err
		}
		edit(&f)
		return d.putForward(tx, name, listen, f)
	}
	return d.write(r, update, api.EventLifecycleBody{Action: "network-forward-updated", Source: forwardURL(name, listen)}, reply{})
}

// deleteForward is DELETE /1.0/networks/{name}/forwards/{listen}.
func (d *Daemon) deleteForward(r *http.Request) (reply, error) {
	name, listen, err := forwardVars(r)
	if err != nil {
		return reply{}, err
	}
	remove := func(tx *db.Tx) error {
		if _, err := findForward(tx, r, name, listen); err != nil {
			return err
		}
		tx.Delete(forwardKey(name, listen))
		return nil
	}
	return d.write(r, remove, api.EventLifecycleBody{Action: "network-forward-deleted", Source: forwardURL(name, listen)}, reply{})
}

// forwardVars returns the network and the listen address in the path of a
// write.
func forwardVars(r *http.Request) (name string, listen netip.Addr, err error) {
	if name, err = pathVar(r, "name"); err != nil {
		return "", netip.Addr{}, err
	}
	listen, err = listenVar(r)
	return name, listen, err
}

// findForward returns a stored forward for a request that changes it, if it is
// still the one that the request means.
func findForward(tx *db.Tx, r *http.Request, name string, listen netip.Addr) (storedForward, error) {
	if tx.Get(networkKey(name)) == nil {
		return storedForward{}, notFound(name)
	}
	o := tx.Get(forwardKey(name, listen))
	if o == nil {
		return storedForward{}, forwardNotFound(name, listen)
	}
	shown, err := showForward(listen, o)
	if err != nil {
		return storedForward{}, err
	}
	return storedForward{shown.Description, shown.Config, shown.Ports}, ifMatch(r, shown)
}

// moveForwards gives the forwards of a network to one with another name, or
// deletes them when there is no other.
func moveForwards(tx *db.Tx, from, to string) error {
	for _, o := range tx.List(forwardsPrefix(from)) {
		if to != "" {
			if err := tx.Put(forwardsPrefix(to)+db.Parts(o.Key)[2], o.Schema, o.Value); err != nil {
				return err
			}
		}
		tx.Delete(o.Key)
	}
	return nil
}

// forwardsInside refuses subnets of a network that do not have what its
// forwards lead to, and names the first of these. Old is its configuration
// before the write.
func forwardsInside(tx *db.Tx, name string, cfg, old map[string]string) error {
	if cfg["ipv4.address"] == old["ipv4.address"] && cfg["ipv6.address"] == old["ipv6.address"] {
		return nil
	}
	var errs []error
	for _, o := range tx.List(forwardsPrefix(name)) {
		var f storedForward
		listen, err := netip.ParseAddr(db.Parts(o.Key)[2])
		if err = errors.Join(err, decode(o, &f)); err != nil {
			return err
		}
		if err := f.spec(listen).CheckTargets(subnetOf(cfg, listen)); err != nil {
			errs = append(errs, fmt.Errorf("network %q: its forward %s stands in the way: %w", name, listen, err))
		}
		if len(errs) == 10 {
			break
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return api.Errorf(api.Conflict, "%w", errors.Join(errs...))
}
