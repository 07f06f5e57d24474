package daemon

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"netctl/api"
	"netctl/config"
	"netctl/db"
)

// An errand is a change of an instance: a write, and what the host makes of
// it, which an operation waits for.
type errand struct {
	doing string // as in "Creating instance"
	did   string // the event of the write, as in "instance-created"; empty for none
	name  string // of the instance
	write func(*db.Tx) error
	about map[string]any // more about the event

	// follow waits until the host has followed the write; nil for what does so
	// for most. When it went well, the event in then is told, if there is one.
	follow func(ctx context.Context, rev int64) error
	then   string
}

// runErrand writes, and answers with an operation that goes on. With ?dry-run=1 it
// answers with what the write would lead to, and changes nothing.
func (d *Daemon) runErrand(r *http.Request, e errand) (reply, error) {
	if dryRun(r) {
		return d.rehearse(r.Context(), e.write)
	}
	rev, err := d.store.Update(r.Context(), e.write)
	if err != nil {
		return reply{}, err
	}
	tell := func(action string) {
		if action != "" {
			d.hub.send(api.EventLifecycle, api.EventLifecycleBody{Action: action, Source: instanceURL(e.name), Context: e.about, Requestor: requestor(r)})
		}
	}
	tell(e.did)
	if e.follow == nil {
		e.follow = func(ctx context.Context, rev int64) error { return d.followed(ctx, e.name, rev) }
	}
	op := d.operations.begin(r.Context(), api.Operation{
		Description: e.doing, Resources: map[string][]string{"instances": {instanceURL(e.name)}},
	}, func(ctx context.Context) error {
		err := e.follow(ctx, int64(rev))
		if err == nil {
			tell(e.then)
		}
		return err
	})
	return reply{revision: int64(rev), operation: &op}, nil
}

// postInstances is POST /1.0/instances.
func (d *Daemon) postInstances(r *http.Request) (reply, error) {
	var req api.InstancesPost
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	if req.Type == "" {
		req.Type = api.Container
	}
	if err := checkInstancesPost(req); err != nil {
		return reply{}, err
	}
	v := storedInstance{Type: req.Type, Description: req.Description, Config: req.Config, Devices: req.Devices, CreatedAt: time.Now().UTC()}
	e := errand{doing: "Creating instance", did: "instance-created", name: req.Name}
	if req.Start {
		netns, err := findNetns(req.Type, req.Netns, req.PID)
		if err != nil {
			return reply{}, err
		}
		v.Running, v.Netns, v.LastUsedAt = true, netns, v.CreatedAt
		e.follow, e.then = func(ctx context.Context, rev int64) error { return d.started(ctx, req.Name, rev) }, "instance-started"
	}
	if err := d.lookForNames(r, req.Devices); err != nil {
		return reply{}, err
	}
	e.write = func(tx *db.Tx) error {
		if tx.Get(instanceKey(req.Name)) != nil {
			return api.Errorf(api.Conflict, "instance %q already exists", req.Name)
		}
		return d.putInstance(tx, req.Name, v, storedInstance{})
	}
	return d.runErrand(r, e)
}

// checkInstancesPost refuses what an instance cannot be made of.
func checkInstancesPost(req api.InstancesPost) error {
	if err := config.ValidateInstanceName(req.Name); err != nil {
		return api.Errorf(api.Invalid, "%w", err)
	}
	switch {
	case req.Type != api.Container && req.Type != api.VirtualMachine:
		return api.Errorf(api.Invalid, "instance %q: type %q is neither %q nor %q", req.Name, req.Type, api.Container, api.VirtualMachine)
	case req.Source.Type != "" && req.Source.Type != "none":
		return api.Errorf(api.Invalid, "instance %q: source type %q is not possible: netctl has the network of instances and nothing else of them, use \"none\"", req.Name, req.Source.Type)
	case (req.Netns != "" || req.PID != 0) && !req.Start:
		return api.Errorf(api.Invalid, "instance %q: netns, pid: a network namespace is named when the instance is started", req.Name)
	}
	return checkExtras(req.Name, req.Ephemeral, req.Profiles)
}

// checkExtras refuses what LXD has of instances and we do not.
func checkExtras(name string, ephemeral bool, profiles []string) error {
	if ephemeral {
		return api.Errorf(api.Invalid, "instance %q: ephemeral instances are not possible", name)
	}
	if i := slices.IndexFunc(profiles, func(p string) bool { return p != "default" }); i >= 0 {
		return api.Errorf(api.Invalid, "instance %q: profile %q not found: there is only \"default\", which is empty", name, profiles[i])
	}
	return nil
}

// putInstanceConfig is PUT /1.0/instances/{name}.
func (d *Daemon) putInstanceConfig(r *http.Request) (reply, error) {
	var req api.InstancePut
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	return d.updateInstance(r, req.Devices, func(name string, v *storedInstance) error {
		v.Description, v.Devices = req.Description, req.Devices
		// What the daemon chose itself is not the client's to forget.
		old := v.Config
		v.Config = maps.Clone(req.Config)
		for key, value := range old {
			if _, ok := v.Config[key]; !ok && isVolatile(key) {
				if v.Config == nil {
					v.Config = map[string]string{}
				}
				v.Config[key] = value
			}
		}
		return checkExtras(name, req.Ephemeral, req.Profiles)
	})
}

// patchInstanceConfig is PATCH /1.0/instances/{name}.
func (d *Daemon) patchInstanceConfig(r *http.Request) (reply, error) {
	var req api.InstancePatch
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	return d.updateInstance(r, req.Devices, func(_ string, v *storedInstance) error {
		if req.Description != nil {
			v.Description = *req.Description
		}
		if v.Config == nil {
			v.Config = map[string]string{}
		}
		if v.Devices == nil {
			v.Devices = map[string]map[string]string{}
		}
		maps.Copy(v.Config, req.Config)
		for name, device := range req.Devices {
			if device == nil {
				delete(v.Devices, name)
				continue
			}
			v.Devices[name] = device
		}
		return nil
	})
}

// updateInstance changes what can be changed of an instance, whether it runs
// or not. Devices are those that the request has.
func (d *Daemon) updateInstance(r *http.Request, devices map[string]map[string]string, edit func(string, *storedInstance) error) (reply, error) {
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	if err := d.lookForNames(r, devices); err != nil {
		return reply{}, err
	}
	followed := func(ctx context.Context, rev int64) error {
		if err := d.followed(ctx, name, rev); err != nil {
			return err
		}
		return d.announced(ctx, name)
	}
	return d.runErrand(r, errand{doing: "Updating instance", did: "instance-updated", name: name, follow: followed, write: func(tx *db.Tx) error {
		_, old, err := loadInstance(tx, name)
		if err != nil {
			return err
		}
		if err := ifMatch(r, old.tag(name)); err != nil {
			return err
		}
		_, v, err := loadInstance(tx, name) // one to change
		if err != nil {
			return err
		}
		if err := edit(name, &v); err != nil {
			return err
		}
		return d.putInstance(tx, name, v, old)
	}})
}

// postInstance is POST /1.0/instances/{name}: a change of name.
func (d *Daemon) postInstance(r *http.Request) (reply, error) {
	var req api.InstancePost
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	if req.Migration {
		return reply{}, api.Errorf(api.Invalid, "instance %q: migration is not possible", name)
	}
	if err := config.ValidateInstanceName(req.Name); err != nil {
		return reply{}, api.Errorf(api.Invalid, "%w", err)
	}
	e := errand{doing: "Renaming instance", did: "instance-renamed", name: req.Name, about: map[string]any{"old_name": name}}
	e.write = func(tx *db.Tx) error {
		_, v, err := loadInstance(tx, name)
		switch {
		case err != nil:
			return err
		case v.Running:
			return api.Errorf(api.Invalid, "instance %q: renaming of running instance not allowed: stop it first", name)
		case tx.Get(instanceKey(req.Name)) != nil:
			return api.Errorf(api.Conflict, "instance %q already exists", req.Name)
		}
		if err := ifMatch(r, v.tag(name)); err != nil {
			return err
		}
		tx.Delete(instanceKey(name))
		return d.putInstance(tx, req.Name, v, v)
	}
	return d.runErrand(r, e)
}

// deleteInstance is DELETE /1.0/instances/{name}. One that runs is taken down as
// by a stop: its routes are withdrawn first.
func (d *Daemon) deleteInstance(r *http.Request) (reply, error) {
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	force := r.URL.Query().Get("force") == "1"
	return d.runErrand(r, errand{doing: "Deleting instance", did: "instance-deleted", name: name, write: func(tx *db.Tx) error {
		_, v, err := loadInstance(tx, name)
		if err != nil {
			return err
		}
		if err := ifMatch(r, v.tag(name)); err != nil {
			return err
		}
		if v.Running && !force {
			return api.Errorf(api.Invalid, "instance %q is running: stop it first", name)
		}
		tx.Delete(instanceKey(name))
		return nil
	}})
}
