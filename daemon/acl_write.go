package daemon

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"netctl/api"
	"netctl/config"
	"netctl/db"
)

// postACLs is POST /1.0/network-acls.
func (d *Daemon) postACLs(r *http.Request) (reply, error) {
	var req api.NetworkACLsPost
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	if err := config.ValidateACLName(req.Name); err != nil {
		return reply{}, api.Errorf(api.Invalid, "%w", err)
	}
	create := func(tx *db.Tx) error {
		if tx.Get(aclKey(req.Name)) != nil {
			return api.Errorf(api.Conflict, "the network ACL already exists: %q", req.Name)
		}
		return putACL(tx, req.Name, storedACL{req.Description, req.Config, req.Ingress, req.Egress})
	}
	return d.write(r, create, api.EventLifecycleBody{Action: "network-acl-created", Source: aclURL(req.Name)},
		reply{status: http.StatusCreated, location: aclURL(req.Name)})
}

// putACL checks and stores an ACL.
func putACL(tx *db.Tx, name string, a storedACL) error {
	a.Config = maps.Clone(a.Config)
	maps.DeleteFunc(a.Config, func(_, v string) bool { return v == "" })
	if a.Config == nil {
		a.Config = map[string]string{}
	}
	a.Ingress, a.Egress = normaliseRules(a.Ingress), normaliseRules(a.Egress)
	if _, err := a.spec().Decode(); err != nil {
		return aclError(name, err)
	}
	return tx.Put(aclKey(name), schemaVersion, a)
}

// normaliseRules makes what is equal look equal, as far as it makes sense.
func normaliseRules(rules []api.NetworkACLRule) []api.NetworkACLRule {
	rules = slices.Clone(rules)
	if rules == nil {
		rules = []api.NetworkACLRule{}
	}
	for i := range rules {
		r := &rules[i]
		for _, list := range []*string{&r.Source, &r.Destination, &r.SourcePort, &r.DestinationPort} {
			*list = withoutSpaces(*list)
		}
		for _, word := range []*string{&r.Action, &r.Protocol, &r.ICMPType, &r.ICMPCode, &r.Description, &r.State} {
			*word = strings.TrimSpace(*word)
		}
	}
	return rules
}

// putACLConfig is PUT /1.0/network-acls/{name}.
func (d *Daemon) putACLConfig(r *http.Request) (reply, error) {
	var req api.NetworkACLPut
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	return d.updateACL(r, func(a *storedACL) {
		*a = storedACL{req.Description, req.Config, req.Ingress, req.Egress}
	})
}

// patchACLConfig is PATCH /1.0/network-acls/{name}.
func (d *Daemon) patchACLConfig(r *http.Request) (reply, error) {
	var req api.NetworkACLPatch
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	return d.updateACL(r, func(a *storedACL) {
		if req.Description != nil {
			a.Description = *req.Description
		}
		if a.Config == nil {
			a.Config = map[string]string{}
		}
		maps.Copy(a.Config, req.Config)
		if req.Ingress != nil {
			a.Ingress = req.Ingress
		}
		if req.Egress != nil {
			a.Egress = req.Egress
		}
	})
}

func (d *Daemon) updateACL(r *http.Request, edit func(*storedACL)) (reply, error) {
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	update := func(tx *db.Tx) error {
		a, err := findACL(tx, r, name)
		if err != nil {
			return err
		}
		edit(&a)
		return putACL(tx, name, a)
	}
	return d.write(r, update, api.EventLifecycleBody{Action: "network-acl-updated", Source: aclURL(name)}, reply{})
}

// postACL is POST /1.0/network-acls/{name}: a change of name, of an ACL that
// is not in use.
func (d *Daemon) postACL(r *http.Request) (reply, error) {
	var req api.NetworkACLPost
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	if err := config.ValidateACLName(req.Name); err != nil {
		return reply{}, api.Errorf(api.Invalid, "%w", err)
	}
	rename := func(tx *db.Tx) error {
		a, err := findACL(tx, r, name)
		if err != nil {
			return err
		}
		if tx.Get(aclKey(req.Name)) != nil {
			return api.Errorf(api.Conflict, "an ACL by that name exists already: %q", req.Name)
		}
		if err := d.aclUnused(tx, "rename", name); err != nil {
			return err
		}
		tx.Delete(aclKey(name))
		return putACL(tx, req.Name, a)
	}
	return d.write(r, rename,
		api.EventLifecycleBody{Action: "network-acl-renamed", Source: aclURL(req.Name), Context: map[string]any{"old_name": name}},
		reply{status: http.StatusCreated, location: aclURL(req.Name)})
}

// deleteACL is DELETE /1.0/network-acls/{name}.
func (d *Daemon) deleteACL(r *http.Request) (reply, error) {
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	remove := func(tx *db.Tx) error {
		if _, err := findACL(tx, r, name); err != nil {
			return err
		}
		if err := d.aclUnused(tx, "delete", name); err != nil {
			return err
		}
		tx.Delete(aclKey(name))
		return nil
	}
	return d.write(r, remove, api.EventLifecycleBody{Action: "network-acl-deleted", Source: aclURL(name)}, reply{})
}

// findACL returns a stored ACL for a request that changes it, if it is still
// the one that the request means.
func findACL(tx *db.Tx, r *http.Request, name string) (storedACL, error) {
	o := tx.Get(aclKey(name))
	if o == nil {
		return storedACL{}, aclNotFound(name)
	}
	shown, err := showACL(name, o, nil)
	if err != nil {
		return storedACL{}, err
	}
	return storedACL{shown.Description, shown.Config, shown.Ingress, shown.Egress}, ifMatch(r, aclTag(shown))
}

// aclUnused refuses to do something to an ACL that networks use.
func (d *Daemon) aclUnused(tx *db.Tx, do, name string) error {
	networks, err := d.decoder.networks(tx)
	if err != nil {
		return err
	}
	var users []string
	for _, n := range networks {
		if slices.Contains(n.Config[member].ACLs, name) {
			users = append(users, fmt.Sprintf("%q", n.Name))
		}
	}
	if len(users) == 0 {
		return nil
	}
	return api.Errorf(api.Conflict, "cannot %s an ACL that is in use: %q by security.acls of network %s", do, name, strings.Join(users, ", "))
}

// aclsExist refuses a configuration of a network that names an ACL which does
// not exist.
func aclsExist(tx *db.Tx, network string, cfg map[string]string) error {
	if cfg["security.acls"] == "" {
		return nil
	}
	b, err := config.BridgeSchema.Decode(cfg)
	if err != nil {
		return configError(fmt.Sprintf("network %q", network), err)
	}
	for _, name := range b.ACLs {
		if tx.Get(aclKey(name)) == nil {
			return api.Errorf(api.Invalid, "network %q: invalid value %q for key \"security.acls\": network ACL %q does not exist", network, cfg["security.acls"], name)
		}
	}
	return nil
}
