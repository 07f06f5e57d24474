package daemon

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"netctl/api"
	"netctl/db"
	"netctl/reconcile"
)

// followBound is how long an operation waits for the host.
const followBound = 10 * time.Second

// putInstanceState is PUT /1.0/instances/{name}/state. There is nothing to
// kill here, so force and timeout make no difference.
func (d *Daemon) putInstanceState(r *http.Request) (reply, error) {
	var req api.InstanceStatePut
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	switch {
	case req.Stateful:
		return reply{}, api.Errorf(api.Invalid, "instance %q: stateful=true is not possible: netctl has no state of an instance to keep", name)
	case req.Action == "start":
		return d.startInstance(r, name, req)
	case req.Action == "stop":
		return d.stopInstance(r, name)
	case req.Action == "restart":
		return d.restartInstance(r, name, req)
	}
	return reply{}, api.Errorf(api.Invalid, "instance %q: action %q is not possible: use start, stop or restart", name, req.Action)
}

// startInstance stores that an instance runs, and in which namespace.
func (d *Daemon) startInstance(r *http.Request, name string, req api.InstanceStatePut) (reply, error) {
	_, v, _, err := d.findInstance(r)
	if err != nil {
		return reply{}, err
	}
	netns, err := findNetns(v.Type, req.Netns, req.PID)
	if err != nil {
		return reply{}, err
	}
	return d.runErrand(r, errand{
		doing: "Starting instance", then: "instance-started", name: name,
		write:  func(tx *db.Tx) error { return d.setRunning(tx, name, netns) },
		follow: func(ctx context.Context, rev int64) error { return d.started(ctx, name, rev) },
	})
}

// setRunning stores that an instance that does not run does.
func (d *Daemon) setRunning(tx *db.Tx, name string, netns storedNetns) error {
	_, v, err := loadInstance(tx, name)
	if err != nil {
		return err
	}
	if v.Running {
		return api.Errorf(api.Invalid, "instance %q: the instance is already running", name)
	}
	old := v
	v.Running, v.Netns, v.LastUsedAt, v.Again = true, netns, time.Now().UTC(), nil
	return d.putInstance(tx, name, v, old)
}

// started waits until an instance that was stored as running at a revision
// does run. When it cannot, it is stored as stopped again.
func (d *Daemon) started(ctx context.Context, name string, rev int64) error {
	err := d.followed(ctx, name, rev)
	if err == nil {
		err = d.harmed(name)
	}
	if err == nil {
		err = d.announced(ctx, name)
	}
	if err == nil || ctx.Err() != nil {
		return err // or it goes on with the next daemon
	}
	undone, undoErr := d.store.Update(ctx, func(tx *db.Tx) error {
		o, v, err := loadInstance(tx, name)
		if err != nil || int64(o.Revision) != rev {
			return err // somebody else has gone on with it
		}
		v.Running, v.Netns = false, storedNetns{}
		return tx.Put(instanceKey(name), schemaVersion, v)
	})
	if undoErr != nil && api.ErrorCode(undoErr) != api.NotFound {
		return errors.Join(err, undoErr)
	}
	_ = d.followed(ctx, name, int64(undone)) // as far as it goes
	return err
}

// stopInstance stores that an instance does not run.
func (d *Daemon) stopInstance(r *http.Request, name string) (reply, error) {
	return d.runErrand(r, errand{
		doing: "Stopping instance", then: "instance-stopped", name: name,
		write: func(tx *db.Tx) error {
			return setStopped(tx, name, forGood)
		},
	})
}

// setStopped stores that an instance that runs does not, and where it is to be
// started again, if it is, given the namespace that it was started in.
func setStopped(tx *db.Tx, name string, again func(storedNetns) *storedNetns) error {
	_, v, err := loadInstance(tx, name)
	if err != nil {
		return err
	}
	if !v.Running {
		return api.Errorf(api.Invalid, "instance %q: the instance is already stopped", name)
	}
	v.Again = again(v.Netns)
	v.Running, v.Netns = false, storedNetns{}
	return tx.Put(instanceKey(name), schemaVersion, v)
}

// forGood says that an instance is not to be started again.
func forGood(storedNetns) *storedNetns { return nil }

// restartInstance stops an instance and starts it again, in the namespace that
// it was in unless the request names another.
func (d *Daemon) restartInstance(r *http.Request, name string, req api.InstanceStatePut) (reply, error) {
	_, v, _, err := d.findInstance(r)
	if err != nil {
		return reply{}, err
	}
	netns, err := findNetns(v.Type, req.Netns, req.PID)
	if err != nil {
		return reply{}, err
	}
	return d.runErrand(r, errand{
		doing: "Restarting instance", then: "instance-restarted", name: name,
		write: func(tx *db.Tx) error {
			return setStopped(tx, name, func(was storedNetns) *storedNetns {
				if netns == (storedNetns{}) {
					netns = was
				}
				return &netns
			})
		},
		follow: func(ctx context.Context, rev int64) error {
			trouble := d.followed(ctx, name, rev)
			if ctx.Err() != nil {
				return trouble // it goes on with the next daemon
			}
			rev1, err := d.store.Update(ctx, func(tx *db.Tx) error { return d.setRunning(tx, name, netns) })
			if err == nil {
				err = d.started(ctx, name, int64(rev1))
			}
			if err != nil {
				return errors.Join(trouble, err)
			}
			return nil
		},
	})
}

// followed waits until the host has followed a revision, and returns what of
// that went wrong with an instance. What is wrong with others does not matter.
func (d *Daemon) followed(ctx context.Context, name string, rev int64) error {
	bound, cancel := context.WithTimeout(ctx, followBound)
	defer cancel()
	lags := ""
	err := d.progress.until(bound, func() bool {
		lags = ""
		for _, t := range slices.Concat(d.datapath.Status(), d.speaking.Status()) {
			if t.Tried < rev {
				lags = t.Target
			}
		}
		return lags == ""
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return api.Errorf(api.Timeout, "instance %q: the host has not followed within %s: waiting for %s", name, followBound, lags)
	}
	if t, ok := ofInstance(d.troubles(), name); ok {
		return api.Errorf(api.Unavailable, "%s", t.line)
	}
	return nil
}

// harmed returns what is wrong with the links and the filters of the networks
// that an instance is on, or of all, so that it must not run: its packets might
// go unfiltered. Without DHCP it may.
func (d *Daemon) harmed(name string) error {
	known := d.decoder.latest()
	i, ok := instanceKind.search(known.Instances, name)
	if !ok {
		return nil
	}
	targets := slices.DeleteFunc(d.datapath.Status(), func(t reconcile.Status) bool { return t.Target == "dhcp" })
	for _, t := range troublesOf(targets) {
		ours := !strings.Contains(t.line, "instance ") && !strings.Contains(t.line, "network ")
		for _, nic := range known.Instances[i].NICs {
			ours = ours || strings.Contains(t.line, "network "+nic.Network+":")
		}
		if ours {
			return api.Errorf(api.Unavailable, "instance %q: %s", name, t.line)
		}
	}
	return nil
}
