package daemon

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"netctl/api"
	"netctl/db"
	"netctl/network"
	"netctl/network/link"
	"netctl/reconcile"
)

func instanceURL(name string) string { return "/1.0/instances/" + url.PathEscape(name) }

func noInstance(name string) error { return api.Errorf(api.NotFound, "instance %q not found", name) }

// instanceTag is what the ETag of an instance is computed from: what can be
// written, and nothing that a start or a stop changes.
type instanceTag struct {
	Name, Description, Type string
	Config                  map[string]string
	Devices                 map[string]map[string]string
}

func (v storedInstance) tag(name string) instanceTag {
	return instanceTag{name, v.Description, v.Type, v.Config, v.Devices}
}

// getInstances is GET /1.0/instances.
func (d *Daemon) getInstances(r *http.Request) (reply, error) {
	match, err := parseFilter(r.URL.Query().Get("filter"))
	if err != nil {
		return reply{}, err
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	typ := r.URL.Query().Get("instance-type")
	show, err := d.newInstanceView(objs, r.URL.Query().Get("recursion") == "2")
	if err != nil {
		return reply{}, err
	}
	urls, all := []string{}, []api.Instance{}
	for _, o := range objs.List(instancesPrefix) {
		name := db.Parts(o.Key)[1]
		_, v, err := loadInstance(objs, name)
		if err != nil {
			return reply{}, err
		}
		if typ != "" && typ != v.Type {
			continue
		}
		if i := show.instance(name, v); match(i) {
			urls, all = append(urls, instanceURL(name)), append(all, show.complete(i, v))
		}
	}
	rev := int64(objs.Revision())
	if recursive(r) {
		return reply{revision: rev, metadata: all}, nil
	}
	return reply{revision: rev, metadata: urls}, nil
}

// getInstance is GET /1.0/instances/{name}.
func (d *Daemon) getInstance(r *http.Request) (reply, error) {
	name, v, objs, err := d.findInstance(r)
	if err != nil {
		return reply{}, err
	}
	show, err := d.newInstanceView(objs, recursive(r))
	if err != nil {
		return reply{}, err
	}
	return reply{revision: int64(objs.Revision()), etag: v.tag(name), metadata: show.complete(show.instance(name, v), v)}, nil
}

// getInstanceState is GET /1.0/instances/{name}/state.
func (d *Daemon) getInstanceState(r *http.Request) (reply, error) {
	name, v, objs, err := d.findInstance(r)
	if err != nil {
		return reply{}, err
	}
	show, err := d.newInstanceView(objs, true)
	if err != nil {
		return reply{}, err
	}
	return reply{revision: int64(objs.Revision()), etag: v.tag(name), metadata: show.complete(show.instance(name, v), v).State}, nil
}

// findInstance returns the instance that a path names, and the snapshot that
// has it.
func (d *Daemon) findInstance(r *http.Request) (string, storedInstance, *db.Objects, error) {
	name, err := pathVar(r, "name")
	if err != nil {
		return "", storedInstance{}, nil, err
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return "", storedInstance{}, nil, err
	}
	_, v, err := loadInstance(objs, name)
	return name, v, objs, err
}

// loadInstance returns an instance as it is stored.
func loadInstance(objs interface{ Get(key string) *db.Object }, name string) (*db.Object, storedInstance, error) {
	var v storedInstance
	o := objs.Get(instanceKey(name))
	if o == nil {
		return nil, v, noInstance(name)
	}
	return o, v, decode(o, &v)
}

// An instanceView shows instances as they are at one time.
type instanceView struct {
	d        *Daemon
	known    *network.Snapshot
	state    bool // each with its state
	arch     string
	troubles []trouble
	traffic  map[string]link.Stats   // by interface
	leases   map[string][]netip.Addr // by network and MAC address, as far as they were read
	read     map[string]bool         // the networks whose leases were read
}

func (d *Daemon) newInstanceView(objs *db.Objects, state bool) (*instanceView, error) {
	known, err := d.decoder.snapshot(objs)
	if err != nil {
		return nil, err
	}
	w := &instanceView{
		d: d, known: known, state: state, arch: architecture(), troubles: d.troubles(),
		leases: map[string][]netip.Addr{}, read: map[string]bool{},
	}
	if state {
		if w.traffic, err = d.parts.Links.Traffic(); err != nil {
			d.log.Warn("traffic of instances is not known", "err", err) // the rest is worth showing
		}
	}
	return w, nil
}

// A trouble is one line of the error of a target.
type trouble struct {
	line  string
	since time.Time
}

// troubles returns what is wrong on the host now.
func (d *Daemon) troubles() []trouble {
	return troublesOf(slices.Concat(d.datapath.Status(), d.speaking.Status()))
}

func troublesOf(targets []reconcile.Status) []trouble {
	var out []trouble
	for _, t := range targets {
		if t.Err == nil {
			continue
		}
		for line := range strings.Lines(t.Err.Error()) {
			out = append(out, trouble{strings.TrimSpace(line), t.Since})
		}
	}
	return out
}

// ofInstance returns the first trouble that is an instance's; targets name the
// instance, or its NIC, in each line of their errors.
func ofInstance(all []trouble, name string) (trouble, bool) {
	i := slices.IndexFunc(all, func(t trouble) bool {
		return strings.Contains(t.line, "instance "+name+":") || strings.Contains(t.line, "instance "+name+"/")
	})
	if i < 0 {
		return trouble{}, false
	}
	return all[i], true
}

// instance returns an instance as the API shows it, without its state.
func (w *instanceView) instance(name string, v storedInstance) api.Instance {
	i := api.Instance{
		Name: name, Description: v.Description, Type: v.Type, StatusCode: api.StatusStopped,
		Config: v.Config, Devices: v.Devices, ExpandedConfig: v.Config, ExpandedDevices: v.Devices,
		CreatedAt: v.CreatedAt, LastUsedAt: v.LastUsedAt, Location: member, Project: "default",
		Architecture: w.arch, Profiles: []string{"default"},
	}
	if v.Config == nil {
		i.Config, i.ExpandedConfig = map[string]string{}, map[string]string{}
	}
	if v.Devices == nil {
		i.Devices, i.ExpandedDevices = map[string]map[string]string{}, map[string]map[string]string{}
	}
	if v.Running {
		i.StatusCode = api.StatusRunning
		if t, ok := ofInstance(w.troubles, name); ok {
			i.StatusCode, i.StatusMessage = api.StatusErrored, fmt.Sprintf("%s, since %s", t.line, t.since.Format(time.RFC3339))
		}
	}
	i.Status = api.StatusText(i.StatusCode)
	return i
}

// usedBy returns the paths of the instances that have a NIC on each network.
func usedBy(s *network.Snapshot) map[string][]string {
	out := map[string][]string{}
	for _, i := range s.Instances {
		names := map[string]bool{}
		for _, n := range i.NICs {
			names[n.Network] = true
		}
		for _, n := range slices.Sorted(maps.Keys(names)) {
			out[n] = append(out[n], instanceURL(i.Name))
		}
	}
	return out
}
