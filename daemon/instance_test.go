package daemon

import (
	"errors"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"netctl/api"
	"netctl/client"
	"netctl/db"
	"netctl/db/sqlite"
	"netctl/network/link"
)

// done waits until a task has ended well.
func (b *bench) done(task *client.Task, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := task.Wait(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// bridge makes a network br0.
func (b *bench) bridge() {
	b.t.Helper()
	b.applied(b.CreateNetwork(b.t.Context(), api.NetworksPost{Name: "br0", Config: map[string]string{"ipv4.address": "10.1.0.1/24", "ipv6.address": "none"}}))
}

func nics(devices map[string]string) map[string]map[string]string {
	out := map[string]map[string]string{}
	for name, network := range devices {
		out[name] = map[string]string{"network": network}
	}
	return out
}

func (b *bench) instance(name string) api.Instance {
	b.t.Helper()
	i, _, err := b.Instance(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return i
}

func (b *bench) action(name, action string) (*client.Task, error) {
	return b.SetInstanceState(b.t.Context(), name, api.InstanceStatePut{Action: action})
}

func TestInstanceLife(t *testing.T) {
	b := newBench(t)
	b.bridge()
	b.done(b.CreateInstance(t.Context(), api.InstancesPost{Name: "web", Devices: nics(map[string]string{"eth0": "br0"})}))
	i := b.instance("web")
	if i.Status != "Stopped" || i.StatusCode != 102 || i.Type != "container" || i.Devices["eth0"]["type"] != "nic" || i.CreatedAt.IsZero() || !i.LastUsedAt.IsZero() {
		t.Errorf("created %+v", i)
	}
	mac, host := i.Config["volatile.eth0.hwaddr"], i.Config["volatile.eth0.host_name"]
	if !regexp.MustCompile(`^00:16:3e(:[0-9a-f]{2}){3}$`).MatchString(mac) || !regexp.MustCompile(`^veth[0-9a-f]{8}$`).MatchString(host) {
		t.Errorf("chosen %q and %q", mac, host)
	}
	if n, _, err := b.Network(t.Context(), "br0"); err != nil || !slices.Equal(n.UsedBy, []string{"/1.0/instances/web"}) {
		t.Errorf("network used by %v, %v", n.UsedBy, err)
	}

	b.done(b.action("web", "start"))
	if i := b.instance("web"); i.Status != "Running" || i.StatusCode != 103 || i.LastUsedAt.IsZero() || i.Config["volatile.eth0.hwaddr"] != mac {
		t.Errorf("started %+v", i)
	}
	s, err := b.InstanceState(t.Context(), "web")
	if err != nil || s.Status != "Running" || s.Netns != "/run/netns/web" || s.Network["eth0"].Hwaddr != mac || s.Network["eth0"].HostName != host {
		t.Errorf("state %+v, %v", s, err)
	}
	b.done(b.action("web", "restart"))
	b.done(b.action("web", "stop"))
	b.done(b.RenameInstance(t.Context(), "web", "www"))
	if i := b.instance("www"); i.Status != "Stopped" || i.Config["volatile.eth0.hwaddr"] != mac || i.Config["volatile.eth0.host_name"] != host {
		t.Errorf("renamed %+v", i)
	}
	b.done(b.action("www", "start"))
	b.done(b.DeleteInstance(t.Context(), "www", "", true))
	if all, err := b.Instances(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("left %+v, %v", all, err)
	}
	b.applied(b.DeleteNetwork(t.Context(), "br0", ""))
}

func TestInstanceChanges(t *testing.T) {
	b := newBench(t)
	b.bridge()
	b.done(b.CreateInstance(t.Context(), api.InstancesPost{
		Name: "vm", Type: "virtual-machine", Start: true, Config: map[string]string{"user.x": "1"}, Devices: nics(map[string]string{"eth0": "br0", "eth1": "br0"}),
	}))
	i, etag, err := b.Instance(t.Context(), "vm")
	if err != nil || !strings.HasPrefix(i.Config["volatile.eth0.host_name"], "tap") || i.Status != "Running" {
		t.Fatalf("created %+v, %v", i, err)
	}
	// What a client writes of all does not take away what was chosen.
	i.Devices["eth0"]["hwaddr"] = "00:16:3E:01:02:03"
	b.done(b.UpdateInstance(t.Context(), "vm", api.InstancePut{Description: "d", Config: map[string]string{"boot.autostart": "true"}, Devices: i.Devices}, etag))
	j := b.instance("vm")
	want := maps.Clone(i.Config)
	delete(want, "user.x")
	delete(want, "volatile.eth0.hwaddr") // it says so itself
	want["boot.autostart"] = "true"
	if !maps.Equal(j.Config, want) || j.Description != "d" {
		t.Errorf("config %v, want %v", j.Config, want)
	}
	if _, err := b.UpdateInstance(t.Context(), "vm", api.InstancePut{}, etag); code(err) != api.Precondition {
		t.Errorf("a write with an old ETag: %v", err)
	}
	// A stop changes nothing that a client edits.
	_, etag, _ = b.Instance(t.Context(), "vm")
	b.done(b.action("vm", "stop"))
	b.done(b.PatchInstance(t.Context(), "vm", api.InstancePatch{
		Config:  map[string]string{"user.y": "2", "boot.autostart": ""},
		Devices: map[string]map[string]string{"eth1": nil, "eth2": {"network": "br0", "ipv4.address": "10.1.0.9", "tap.uid": "7"}},
	}, etag))
	j = b.instance("vm")
	if _, ok := j.Devices["eth1"]; ok || j.Devices["eth2"]["ipv4.address"] != "10.1.0.9" || len(j.Devices) != 2 {
		t.Errorf("devices %v", j.Devices)
	}
	keys := slices.Sorted(maps.Keys(j.Config))
	if want := []string{"user.y", "volatile.eth0.host_name", "volatile.eth2.host_name", "volatile.eth2.hwaddr"}; !slices.Equal(keys, want) {
		t.Errorf("keys %v, want %v", keys, want)
	}
}

func TestInstanceRefusals(t *testing.T) {
	b := newBench(t)
	b.bridge()
	b.host.mu.Lock()
	b.host.foreign = map[string]*link.Seen{"tap9": {Name: "tap9", Up: true}}
	b.host.mu.Unlock()
	b.host.changed <- struct{}{}
	b.done(b.CreateInstance(t.Context(), api.InstancesPost{Name: "web", Devices: nics(map[string]string{"eth0": "br0"}), Start: true}))
	b.done(b.CreateInstance(t.Context(), api.InstancesPost{Name: "idle"}))
	create := func(i api.InstancesPost) func() error {
		return func() error { _, err := b.CreateInstance(t.Context(), i); return err }
	}
	device := func(pairs ...string) func() error {
		cfg := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			cfg[pairs[i]] = pairs[i+1]
		}
		return create(api.InstancesPost{Name: "new", Devices: map[string]map[string]string{"eth0": cfg}})
	}
	state := func(name string, s api.InstanceStatePut) func() error {
		return func() error { _, err := b.SetInstanceState(t.Context(), name, s); return err }
	}
	for _, tt := range []struct {
		name string
		do   func() error
		code api.Code
		text string
	}{
		{"twice", create(api.InstancesPost{Name: "web"}), api.Conflict, `instance "web" already exists`},
		{"name", create(api.InstancesPost{Name: "a_b"}), api.Invalid, `invalid instance name "a_b"`},
		{"type", create(api.InstancesPost{Name: "new", Type: "jail"}), api.Invalid, `type "jail"`},
		{"image", create(api.InstancesPost{Name: "new", Source: api.InstanceSource{Type: "image"}}), api.Invalid, `source type "image"`},
		{"ephemeral", create(api.InstancesPost{Name: "new", Ephemeral: true}), api.Invalid, "ephemeral"},
		{"profile", create(api.InstancesPost{Name: "new", Profiles: []string{"default", "big"}}), api.Invalid, `profile "big"`},
		{"netns without start", create(api.InstancesPost{Name: "new", Netns: "x"}), api.Invalid, "netns"},
		{"key", create(api.InstancesPost{Name: "new", Config: map[string]string{"boot.autostrat": "1"}}), api.Invalid, `did you mean "boot.autostart"`},
		{"device key", device("network", "br0", "ipv4.adress", "x"), api.Invalid, `device "eth0": unknown key "ipv4.adress", did you mean "ipv4.address"`},
		{"all at once", device("ipv4.adress", "x", "mtu", "1"), api.Invalid, "device \"eth0\": unknown key \"ipv4.adress\", did you mean \"ipv4.address\"?\ndevice \"eth0\": invalid value \"1\" for key \"mtu\": not a number from 68 to 65535"},
		{"device type", device("network", "br0", "type", "disk"), api.Invalid, `"type"`},
		{"device name", create(api.InstancesPost{Name: "new", Devices: nics(map[string]string{"a.b": "br0"})}), api.Invalid, `instance "new": invalid device name "a.b"`},
		{"network missing", device("network", "br9"), api.Invalid, `device "eth0": invalid value "br9" for key "network": there is no such network`},
		{"no network", device("name", "eth0"), api.Invalid, `device "eth0": key "network": missing`},
		{"vlan", device("network", "br0", "vlan", "7"), api.Invalid, `device "eth0": invalid value "7" for key "vlan"`},
		{"LXD's other way", device("nictype", "bridged", "parent", "br0"), api.Invalid, `network=`},
		{"tap of a container", device("network", "br0", "tap.uid", "7"), api.Invalid, `only the NIC of a virtual machine is a tap`},
		{"interface twice", create(api.InstancesPost{Name: "new", Devices: map[string]map[string]string{"eth0": {"network": "br0"}, "up": {"network": "br0", "name": "eth0"}}}), api.Invalid, `device "eth0" has the interface`},
		{"foreign interface", device("network", "br0", "host_name", "tap9"), api.Conflict, "host_name=tap9"},
		{"not there", state("nosuch", api.InstanceStatePut{Action: "start"}), api.NotFound, `instance "nosuch" not found`},
		{"started", state("web", api.InstanceStatePut{Action: "start"}), api.Invalid, "already running"},
		{"stopped", state("idle", api.InstanceStatePut{Action: "stop"}), api.Invalid, "already stopped"},
		{"freeze", state("web", api.InstanceStatePut{Action: "freeze"}), api.Invalid, `action "freeze"`},
		{"stateful", state("web", api.InstanceStatePut{Action: "stop", Stateful: true}), api.Invalid, "stateful"},
		{"namespace", state("idle", api.InstanceStatePut{Action: "start", Netns: "/nosuch"}), api.Invalid, "netns=/nosuch"},
		{"not a namespace", state("idle", api.InstanceStatePut{Action: "start", Netns: "/tmp"}), api.Invalid, "not a network namespace"},
		{"relative", state("idle", api.InstanceStatePut{Action: "start", Netns: "a/b"}), api.Invalid, "absolute path"},
		{"process", state("idle", api.InstanceStatePut{Action: "start", PID: 1 << 30}), api.Invalid, "pid=1073741824"},
		{"both", state("idle", api.InstanceStatePut{Action: "start", PID: 1, Netns: "x"}), api.Invalid, "one of the two"},
		{"delete running", func() error { _, err := b.DeleteInstance(t.Context(), "web", "", false); return err }, api.Invalid, "is running"},
		{"rename running", func() error { _, err := b.RenameInstance(t.Context(), "web", "www"); return err }, api.Invalid, "renaming of running instance not allowed"},
		{"rename onto", func() error { _, err := b.RenameInstance(t.Context(), "idle", "web"); return err }, api.Conflict, "already exists"},
		{"network in use", func() error { _, err := b.DeleteNetwork(t.Context(), "br0", ""); return err }, api.Invalid, "the network is currently in use"},
		{"network renamed", func() error { _, err := b.RenameNetwork(t.Context(), "br0", "br1"); return err }, api.Invalid, "the network is currently in use"},
	} {
		before, _ := b.Status(t.Context())
		err := tt.do()
		if code(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: got %v (%s), want %s and %q", tt.name, err, code(err), tt.code, tt.text)
		}
		if after, _ := b.Status(t.Context()); after.Revision != before.Revision {
			t.Errorf("%s: revision went from %d to %d", tt.name, before.Revision, after.Revision)
		}
	}
}

// restart ends the daemon as a restart does, and begins it again.
func (b *bench) restart() {
	b.t.Helper()
	b.signals <- syscall.SIGTERM
	if err := <-b.ended; err != nil {
		b.t.Fatal(err)
	}
	b.begin()
}

// TestRestartInterrupted has the daemon end between the two halves of the
// restart of an instance.
func TestRestartInterrupted(t *testing.T) {
	b := newBench(t)
	b.bridge()
	for _, name := range []string{"web", "db"} {
		b.done(b.CreateInstance(t.Context(), api.InstancesPost{Name: name, Start: true, Netns: "/proc/self/ns/net"}))
	}
	b.signals <- syscall.SIGTERM
	if err := <-b.ended; err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(t.Context(), filepath.Join(b.dir, databaseName), nil, discard())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Update(t.Context(), func(tx *db.Tx) error {
		again := func(was storedNetns) *storedNetns { return &was }
		return errors.Join(setStopped(tx, "web", again), setStopped(tx, "db", forGood))
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	b.begin()
	for range 2 {
		all, err := b.InstancesWithState(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if all[0].StatusCode == api.StatusRunning || all[1].StatusCode != api.StatusRunning || all[1].State.Netns != "/proc/self/ns/net" {
			t.Errorf("%s is %s, %s is %s in %q", all[0].Name, all[0].Status, all[1].Name, all[1].Status, all[1].State.Netns)
		}
		b.done(b.action("web", "restart"))
		b.restart() // and nothing of it is left
	}
}

func TestAutostart(t *testing.T) {
	b := newBench(t)
	b.bridge()
	auto := map[string]string{"boot.autostart": "true"}
	for name, post := range map[string]api.InstancesPost{
		"plain-on": {Start: true}, "plain-off": {},
		"auto-on": {Start: true, Config: auto}, "auto-off": {Config: auto},
		"auto-path": {Start: true, Config: auto, Netns: "/proc/self/ns/net"},
		"auto-pid":  {Start: true, Config: auto, PID: 1},
	} {
		post.Name = name
		b.done(b.CreateInstance(t.Context(), post))
	}
	running := func() []string {
		var out []string
		all, err := b.InstancesWithState(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range all {
			if i.State.StatusCode == api.StatusRunning {
				out = append(out, i.Name+" "+i.State.Netns)
			}
		}
		return out
	}
	before := running()
	want := []string{"auto-on /run/netns/auto-on", "auto-path /proc/self/ns/net", "auto-pid /proc/1/ns/net", "plain-on /run/netns/plain-on"}
	if !slices.Equal(before, want) {
		t.Fatalf("running %q, want %q", before, want)
	}
	b.restart()
	if after := running(); !slices.Equal(after, before) {
		t.Errorf("a restart of the daemon left %q running, want %q", after, before)
	}
	b.boot = "another"
	b.restart()
	want = []string{"auto-off /run/netns/auto-off", "auto-on /run/netns/auto-on", "auto-path /proc/self/ns/net"}
	if after := running(); !slices.Equal(after, want) {
		t.Errorf("after a boot %q run, want %q", after, want)
	}
	b.done(b.action("auto-on", "stop"))
	b.restart()
	if after := running(); len(after) != 2 {
		t.Errorf("a restart of the daemon started what was stopped: %q", after)
	}
}

func TestInstanceStateAddresses(t *testing.T) {
	b := newBench(t)
	b.bridge()
	b.done(b.CreateInstance(t.Context(), api.InstancesPost{Name: "web", Start: true, Devices: map[string]map[string]string{
		"eth0": {"network": "br0", "ipv4.address": "10.1.0.8", "hwaddr": "02:00:00:00:00:01", "name": "up"},
	}}))
	s, err := b.InstanceState(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, a := range s.Network["up"].Addresses {
		have = append(have, a.Family+" "+a.Address+"/"+a.Netmask+" "+a.Scope)
	}
	if want := []string{"inet 10.1.0.8/24 global", "inet 10.1.0.7/24 global"}; !slices.Equal(have, want) { // the fake's lease
		t.Errorf("addresses %q, want %q", have, want)
	}
}

// TestStartFails has the host refuse what a start needs.
func TestStartFails(t *testing.T) {
	for _, tt := range []struct {
		name, wrong string // what applying links fails with
		fails       bool
	}{
		{"the instance", "instance web: device eth0: network namespace blue is gone", true},
		{"its network", "network br0: no bridge", true},
		{"everything", "netlink is out to lunch", true},
		{"another instance", "instance web2: device eth0: network namespace blue is gone", false},
		{"another network", "network br1: no bridge", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.bridge()
			b.done(b.CreateInstance(t.Context(), api.InstancesPost{Name: "web", Devices: nics(map[string]string{"eth0": "br0"})}))
			b.host.breakLinks(errors.New(tt.wrong))
			task, err := b.action("web", "start")
			if err != nil {
				t.Fatal(err)
			}
			err = task.Wait(t.Context())
			if (err != nil) != tt.fails || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("start: %v", err)
			}
			want := "Running"
			if tt.fails {
				want = "Stopped"
			}
			if i := b.instance("web"); i.Status != want {
				t.Errorf("instance is %s, want %s", i.Status, want)
			}
			b.host.breakLinks(nil)
			if tt.fails {
				b.done(b.action("web", "start"))
			}
		})
	}
}

func (f *fakeHost) breakLinks(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = err
}

// TestErroredInstance has something happen to one that runs.
func TestErroredInstance(t *testing.T) {
	b := newBench(t)
	b.bridge()
	b.done(b.CreateInstance(t.Context(), api.InstancesPost{Name: "web", Start: true, Devices: nics(map[string]string{"eth0": "br0"})}))
	b.host.breakLinks(errors.New("instance web: device eth0: gone"))
	b.host.changed <- struct{}{}
	b.eventually("an error", func() bool {
		i := b.instance("web")
		return i.Status == "Error" && strings.Contains(i.StatusMessage, "device eth0: gone, since ")
	})
	if body := b.get("/1.0/metrics"); !strings.Contains(body, `netctl_instances{status="error"} 1`) {
		t.Errorf("metrics say %s", body)
	}
	b.host.breakLinks(nil)
	b.eventually("healed", func() bool { return b.instance("web").Status == "Running" })
	if body := b.get("/1.0/metrics"); !strings.Contains(body, `netctl_instances{status="running"} 1`) {
		t.Errorf("metrics say %s", body)
	}
}
