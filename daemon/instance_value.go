package daemon

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"netctl/api"
	"netctl/config"
	"netctl/db"
	"netctl/network"
	"netctl/network/link"
)

// A storedInstance is the value of /instance/<name>.
type storedInstance struct {
	Type        string                       `json:"type"` // container or virtual-machine
	Description string                       `json:"description,omitempty"`
	Config      map[string]string            `json:"config,omitempty"`
	Devices     map[string]map[string]string `json:"devices,omitempty"`
	CreatedAt   time.Time                    `json:"created_at"`
	LastUsedAt  time.Time                    `json:"last_used_at,omitzero"` // when it was started last
	Running     bool                         `json:"running,omitempty"`
	Netns       storedNetns                  `json:"netns,omitzero"`
	// Again is where an instance is to be started that was stopped for a
	// restart; nil for all others. A daemon that finds one starts it.
	Again *storedNetns `json:"again,omitempty"`
}

// A storedNetns is the network namespace that a running container was started
// in, when it is not one of its own. It is link.Netns.
type storedNetns struct {
	Name  string `json:"name,omitempty"`
	Path  string `json:"path,omitempty"`
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"`
}

const instancesPrefix = "/instance/"

func instanceKey(name string) string { return db.Key("instance", name) }

var instanceKind = objectKind[network.Instance, string]{
	name: func(i *network.Instance) string { return i.Name }, compare: strings.Compare, key: instanceKey,
	decode: func(objs *db.Objects, name string) (*network.Instance, error) {
		var v storedInstance
		if err := decode(objs.Get(instanceKey(name)), &v); err != nil {
			return nil, err
		}
		return v.decode(name)
	},
}

// instance returns a stored instance decoded: the one of the latest snapshot
// when that was made of the same object.
func (d *decoder) instance(o *db.Object) (*network.Instance, error) {
	d.mu.Lock()
	known := d.recent[0]
	d.mu.Unlock()
	name := db.Parts(o.Key)[1]
	if known.objs != nil && known.objs.Get(o.Key) == o {
		if i, ok := instanceKind.search(known.snapshot.Instances, name); ok {
			return known.snapshot.Instances[i], nil
		}
	}
	var v storedInstance
	if err := decode(o, &v); err != nil {
		return nil, err
	}
	return v.decode(name)
}

// decode returns the instance as the network is derived from it, or every bad
// key, each with the device that has it.
func (v storedInstance) decode(name string) (*network.Instance, error) {
	c, err := config.InstanceSchema.Decode(v.Config)
	if err != nil {
		err = configError(fmt.Sprintf("instance %q", name), err)
	}
	errs := []error{err}
	out := &network.Instance{Name: name, VM: v.Type == api.VirtualMachine, Running: v.Running, Netns: link.Netns(v.Netns)}
	for _, device := range slices.Sorted(maps.Keys(v.Devices)) {
		nic, err := config.NICSchema.Decode(v.Devices[device])
		if err != nil {
			errs = append(errs, configError(fmt.Sprintf("instance %q: device %q", name, device), err))
			continue
		}
		if nic.Name == "" {
			nic.Name = device
		}
		if chosen := c.Chosen[device]; chosen != nil {
			if nic.HWAddr == "" {
				nic.HWAddr = chosen.HWAddr
			}
			if nic.HostName == "" {
				nic.HostName = chosen.HostName
			}
		}
		out.NICs = append(out.NICs, network.NIC{Device: device, NIC: nic})
	}
	return out, errors.Join(errs...)
}
