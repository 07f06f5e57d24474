package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"netctl/config"
	"netctl/db"
)

// A storedBoot is the value of /boot/<member>: the boot of the host that the
// instances were stored as running in.
type storedBoot struct {
	ID string `json:"id"`
}

const bootKey = "/boot/" + member

// ofThisBoot returns what is in a backup of another boot, or of another host,
// as it is to be restored: an instance runs if it does so now.
func (d *Daemon) ofThisBoot(ctx context.Context, backup *db.Objects) (*db.Objects, error) {
	now, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	next, _, err := db.Apply(ctx, backup, nil, func(tx *db.Tx) error {
		var last storedBoot
		if err := load(tx.Get, bootKey, &last); err != nil || last.ID == d.opts.BootID {
			return err
		}
		for _, o := range tx.List(instancesPrefix) {
			name := db.Parts(o.Key)[1]
			var v, is storedInstance
			if err := errors.Join(decode(o, &v), load(now.Get, o.Key, &is)); err != nil {
				return err
			}
			v.Running, v.Netns, v.Again = is.Running, is.Netns, is.Again
			if err := tx.Put(instanceKey(name), schemaVersion, v); err != nil {
				return err
			}
		}
		return tx.Put(bootKey, schemaVersion, storedBoot{d.opts.BootID})
	})
	return next, err
}

// autostart makes what is stored of instances true after the host was booted:
// those with boot.autostart run, and the others do not, for nothing of them is
// left. A restart of the daemon alone changes nothing, but that a restart of an
// instance goes on that it has interrupted. When the store cannot be
// written the daemon goes on, for there are routes to announce, with what ran
// before the boot.
func (d *Daemon) autostart(ctx context.Context) {
	_, err := d.store.Update(ctx, func(tx *db.Tx) error {
		var last storedBoot
		if err := load(tx.Get, bootKey, &last); err != nil {
			return err
		}
		instances := tx.List(instancesPrefix)
		if last.ID == d.opts.BootID {
			return restartAgain(tx, instances)
		}
		if len(instances) == 0 {
			return nil
		}
		for _, o := range instances {
			name := db.Parts(o.Key)[1]
			var v storedInstance
			if err := decode(o, &v); err != nil {
				return err
			}
			c, err := config.InstanceSchema.Decode(v.Config)
			if err != nil {
				return configError(fmt.Sprintf("instance %q", name), err)
			}
			// A process has not survived, and its number may be another's.
			v.Running = c.Autostart && v.Netns.PID == 0
			v.Again = nil
			if !v.Running {
				v.Netns = storedNetns{}
			}
			if err := tx.Put(instanceKey(name), schemaVersion, v); err != nil {
				return err
			}
		}
		return tx.Put(bootKey, schemaVersion, storedBoot{d.opts.BootID})
	})
	if err != nil {
		d.log.Error("instances were not started and stopped as after a boot", "err", err)
	}
}

// restartAgain stores that those instances run that were stopped for a restart.
func restartAgain(tx *db.Tx, instances []*db.Object) error {
	for _, o := range instances {
		var v storedInstance
		if err := decode(o, &v); err != nil {
			return err
		}
		if v.Again == nil {
			continue
		}
		v.Running, v.Netns, v.LastUsedAt, v.Again = true, *v.Again, time.Now().UTC(), nil
		if err := tx.Put(o.Key, schemaVersion, v); err != nil {
			return err
		}
	}
	return nil
}
