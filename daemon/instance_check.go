package daemon

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"netctl/api"
	"netctl/config"
	"netctl/db"
	"netctl/network"
	"netctl/network/link"
)

// putInstance completes, checks and stores an instance; old is what it was
// before the write.
func (d *Daemon) putInstance(tx *db.Tx, name string, v, old storedInstance) error {
	maps.DeleteFunc(v.Config, func(_, value string) bool { return value == "" })
	for _, device := range v.Devices {
		maps.DeleteFunc(device, func(_, value string) bool { return value == "" })
		if device != nil && device["type"] == "" {
			device["type"] = "nic"
		}
	}
	d.choose(&v)
	if err := checkInstance(tx, v); err != nil {
		return configError(fmt.Sprintf("instance %q", name), err)
	}
	if err := d.hostNamesFree(name, v, old); err != nil {
		return err
	}
	for _, device := range slices.Sorted(maps.Keys(v.Devices)) {
		err := d.hostKeeps(fmt.Sprintf("instance %q: device %q", name, device), v.Devices[device], old.Devices[device],
			"ipv4.routes", "ipv4.routes.external", "ipv6.routes", "ipv6.routes.external")
		if err != nil {
			return err
		}
	}
	if err := tx.Put(bootKey, schemaVersion, storedBoot{d.opts.BootID}); err != nil {
		return err
	}
	return tx.Put(instanceKey(name), schemaVersion, v)
}

// checkInstance reports everything that is wrong with the configuration of an
// instance and of its devices by themselves.
func checkInstance(tx *db.Tx, v storedInstance) error {
	errs := []error{config.InstanceSchema.Validate(v.Config)}
	inside := map[string]string{} // devices by the name of their interface
	for _, device := range slices.Sorted(maps.Keys(v.Devices)) {
		cfg := v.Devices[device]
		if err := config.ValidateDeviceName(device); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, err := range config.KeyErrors(config.NICSchema.Validate(cfg)) {
			errs = append(errs, deviceError(device, err))
		}
		if n := cfg["network"]; config.ValidateName(n) == nil && tx.Get(networkKey(n)) == nil {
			errs = append(errs, deviceError(device, &config.KeyError{Key: "network", Value: n, Err: errors.New("there is no such network")}))
		}
		if v.Type == api.VirtualMachine {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(cfg)) {
			if strings.HasPrefix(key, "tap.") {
				errs = append(errs, deviceError(device, &config.KeyError{Key: key, Value: cfg[key], Err: errors.New("only the NIC of a virtual machine is a tap")}))
			}
		}
		ifname := cfg["name"]
		if ifname == "" {
			ifname = device
			if err := config.ValidateInterfaceName(ifname); err != nil {
				errs = append(errs, deviceError(device, &config.KeyError{Key: "name", Value: ifname, Err: fmt.Errorf("not set, and the name of the device does not do: %w", err)}))
			}
		}
		if other, taken := inside[ifname]; taken {
			errs = append(errs, deviceError(device, &config.KeyError{Key: "name", Value: ifname, Err: fmt.Errorf("device %q has the interface of that name", other)}))
		}
		inside[ifname] = device
	}
	return errors.Join(errs...)
}

func deviceError(device string, err error) error { return fmt.Errorf("device %q: %w", device, err) }

// lookForNames looks at the host, so that what is known of it is the latest,
// when devices name its interfaces.
func (d *Daemon) lookForNames(r *http.Request, devices map[string]map[string]string) error {
	for _, device := range devices {
		if device["host_name"] != "" {
			_, err := d.view.observed(r.Context())
			return err
		}
	}
	return nil
}

// hostNamesFree refuses the name of an interface that exists on the host and
// is not ours, for NICs that get it or start to need it.
func (d *Daemon) hostNamesFree(name string, v, old storedInstance) error {
	o := d.view.lastObserved()
	for _, device := range slices.Sorted(maps.Keys(v.Devices)) {
		host := v.Devices[device]["host_name"]
		starts := v.Running && !old.Running
		if host == "" || host == old.Devices[device]["host_name"] && !starts {
			continue
		}
		if seen := o.Links[host]; seen != nil {
			if _, ours := seen.Owner(); !ours && !seen.Making {
				return api.Errorf(api.Conflict, "instance %q: device %q: host_name=%s: an interface of that name exists on this host and is not netctl's", name, device, host)
			}
		}
	}
	return nil
}

// isVolatile reports whether key is one that the daemon chooses the value of.
func isVolatile(key string) bool { return strings.HasPrefix(key, "volatile.") }

// choose gives each NIC a MAC address and the name of an interface on the host
// unless it has or says them, and forgets those that are not needed any more.
func (d *Daemon) choose(v *storedInstance) {
	const hwaddr, hostName = "hwaddr", "host_name"
	wanted := map[string]bool{}
	var taken *takenNames
	for _, device := range slices.Sorted(maps.Keys(v.Devices)) {
		for _, what := range []string{hwaddr, hostName} {
			if v.Devices[device][what] != "" || config.ValidateDeviceName(device) != nil {
				continue
			}
			key := "volatile." + device + "." + what
			wanted[key] = true
			if v.Config[key] != "" {
				continue
			}
			if taken == nil {
				taken = d.takenNames()
			}
			if v.Config == nil {
				v.Config = map[string]string{}
			}
			if what == hwaddr {
				v.Config[key] = taken.mac()
			} else {
				v.Config[key] = taken.link(v.Type)
			}
		}
	}
	maps.DeleteFunc(v.Config, func(key, _ string) bool {
		return isVolatile(key) && !wanted[key]
	})
}

// takenNames are the MAC addresses and the names of interfaces that are not to
// be chosen.
type takenNames struct {
	seen      map[string]*link.Seen
	instances []*network.Instance
	chosen    map[string]bool
}

func (d *Daemon) takenNames() *takenNames {
	return &takenNames{d.view.lastObserved().Links, d.decoder.latest().Instances, map[string]bool{}}
}

// mac returns a MAC address with the prefix that LXD gives to its instances,
// which nobody has.
func (t *takenNames) mac() string {
	return t.draw(func(b [4]byte) string { return fmt.Sprintf("00:16:3e:%02x:%02x:%02x", b[0], b[1], b[2]) })
}

// link returns the name of an interface that does not exist, in LXD's way.
func (t *takenNames) link(typ string) string {
	prefix := "veth"
	if typ == api.VirtualMachine {
		prefix = "tap"
	}
	return t.draw(func(b [4]byte) string { return fmt.Sprintf("%s%x", prefix, b) })
}

// draw makes names of random bytes until one is free.
func (t *takenNames) draw(form func([4]byte) string) string {
	for {
		var b [4]byte
		_, _ = rand.Read(b[:]) // it never fails, crypto/rand says
		name := form(b)
		if t.chosen[name] || t.seen[name] != nil || slices.ContainsFunc(t.instances, func(i *network.Instance) bool {
			return slices.ContainsFunc(i.NICs, func(n network.NIC) bool { return n.HWAddr == name || n.HostName == name })
		}) {
			continue
		}
		t.chosen[name] = true
		return name
	}
}
