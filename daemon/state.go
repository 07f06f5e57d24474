package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"netctl/config"
	"netctl/db"
	"netctl/network"
)

// member is the name of this machine among the members of a cluster. A machine
// that is not in a cluster has the name that LXD gives to "no location".
const member = "none"

// schemaVersion is the version of the shapes of the stored values.
const schemaVersion = 1

// A storedServer is the value of /server and of /server/member/<member>.
type storedServer struct {
	Config map[string]string `json:"config"`
}

// A storedNetwork is the value of /network/<name>; what belongs to one member
// is a storedServer-like value below /network/<name>/member/<member>.
type storedNetwork struct {
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Config      map[string]string `json:"config"`
}

// A storedMember is the value of /network/<name>/member/<member>.
type storedMember struct {
	Config map[string]string `json:"config"`
}

const (
	serverKey       = "/server"
	serverMemberKey = "/server/member/" + member
	networksPrefix  = "/network/"
)

func networkKey(name string) string       { return db.Key("network", name) }
func networkMemberKey(name string) string { return db.Key("network", name, "member", member) }

// A decoder turns the objects of the store into snapshots. A snapshot costs
// what differs from the one that was decoded before it.
type decoder struct {
	mu     sync.Mutex
	recent [recentSnapshots]decoded // the latest first
}

// recentSnapshots is how many snapshots a decoder knows by heart: the loops ask
// for one while writers are some revisions ahead.
const recentSnapshots = 8

// A decoded snapshot, and the objects that it was made of.
type decoded struct {
	objs     *db.Objects
	snapshot *network.Snapshot
}

// snapshot decodes objs. Errors of all objects are joined; each names its
// network and keys.
func (d *decoder) snapshot(objs *db.Objects) (*network.Snapshot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.recent[:], func(r decoded) bool { return r.objs == objs }); i >= 0 {
		return d.recent[i].snapshot, nil
	}
	s, err := decodeAfter(d.recent[0], objs)
	if err != nil {
		return nil, err
	}
	copy(d.recent[1:], d.recent[:])
	d.recent[0] = decoded{objs, s}
	return s, nil
}

// latest returns the snapshot that was decoded last.
func (d *decoder) latest() *network.Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.recent[0].snapshot; s != nil {
		return s
	}
	return &network.Snapshot{}
}

// decodeAfter decodes objs, and takes over from before what is the same there.
func decodeAfter(before decoded, objs *db.Objects) (*network.Snapshot, error) {
	var t touched
	objs.Changes(before.objs, func(was, is *db.Object) {
		if is == nil {
			is = was
		}
		t.add(is.Key)
	})
	var servers map[string]config.Server
	var next network.Objects
	if before.snapshot != nil {
		servers, next = before.snapshot.Servers, before.snapshot.Objects
	}
	errs := make([]error, 0, 5)
	if t.server || before.objs == nil {
		server, err := decodeServer(objs)
		servers, errs = map[string]config.Server{member: server}, append(errs, err)
	}
	var err error
	next.Networks, err = networkKind.next(next.Networks, t.networks, objs)
	errs = append(errs, err)
	next.Instances, err = instanceKind.next(next.Instances, t.instances, objs)
	errs = append(errs, err)
	next.Forwards, err = forwardKind.next(next.Forwards, t.forwards, objs)
	errs = append(errs, err)
	next.ACLs, err = aclKind.next(next.ACLs, t.acls, objs)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return before.snapshot.Next(int64(objs.Revision()), servers, next), nil
}

// A touched says which objects of a snapshot are to be decoded anew, each
// perhaps several times.
type touched struct {
	server    bool
	networks  []string
	instances []string
	forwards  []forwardName
	acls      []string
}

// add notes the object that has something stored under key.
func (t *touched) add(key string) {
	parts := db.Parts(key)
	switch {
	case key == serverKey, key == serverMemberKey:
		t.server = true
	case len(parts) < 2:
	case parts[0] == "network":
		t.networks = append(t.networks, parts[1])
	case parts[0] == "instance":
		t.instances = append(t.instances, parts[1])
	case parts[0] == "forward" && len(parts) == 3:
		t.forwards = append(t.forwards, newForwardName(key, parts))
	case parts[0] == "acl":
		t.acls = append(t.acls, parts[1])
	}
}

// An objectKind is one kind of objects of a snapshot, each of which has a name.
type objectKind[T, N any] struct {
	name    func(*T) N
	compare func(a, b N) int
	key     func(N) string // that it is stored under; more may be below it
	decode  func(objs *db.Objects, name N) (*T, error)
}

// next returns have with what is called changed decoded anew. Have is sorted by
// name, and so is the result, to which it is not changed.
func (k objectKind[T, N]) next(have []*T, changed []N, objs *db.Objects) ([]*T, error) {
	if len(changed) == 0 {
		return have, nil
	}
	slices.SortFunc(changed, k.compare)
	changed = slices.CompactFunc(changed, func(a, b N) bool { return k.compare(a, b) == 0 })
	var errs []error
	out := make([]*T, 0, len(have)+len(changed))
	for _, name := range changed {
		i, found := k.search(have, name)
		out = append(out, have[:i]...)
		if found {
			i++
		}
		have = have[i:]
		if objs.Get(k.key(name)) == nil {
			continue
		}
		v, err := k.decode(objs, name)
		out, errs = append(out, v), append(errs, err)
	}
	return append(out, have...), errors.Join(errs...)
}

// search returns where what is called name is in have, or belongs.
func (k objectKind[T, N]) search(have []*T, name N) (int, bool) {
	return slices.BinarySearchFunc(have, name, func(v *T, name N) int { return k.compare(k.name(v), name) })
}

var networkKind = objectKind[network.Network, string]{
	name: func(n *network.Network) string { return n.Name }, compare: strings.Compare, key: networkKey,
	decode: func(objs *db.Objects, name string) (*network.Network, error) {
		return decodeNetwork(name, objs.Get(networkKey(name)), objs.Get(networkMemberKey(name)))
	},
}

func decodeServer(objs *db.Objects) (config.Server, error) {
	cfg, err := serverConfig(objs.Get)
	if err != nil {
		return config.Server{}, err
	}
	s, err := config.ServerSchema.Decode(cfg)
	if err != nil {
		return config.Server{}, configError("server configuration", err)
	}
	return s, nil
}

// serverConfig returns the whole configuration of this member's daemon.
func serverConfig(get func(string) *db.Object) (map[string]string, error) {
	out := map[string]string{}
	for _, key := range []string{serverKey, serverMemberKey} {
		var v storedServer
		if err := load(get, key, &v); err != nil {
			return nil, err
		}
		maps.Copy(out, v.Config)
	}
	return out, nil
}

func decodeNetwork(name string, global, local *db.Object) (*network.Network, error) {
	_, cfg, err := networkConfig(global, local)
	if err != nil {
		return nil, err
	}
	b, err := config.BridgeSchema.Decode(cfg)
	if err != nil {
		return nil, configError(fmt.Sprintf("network %q", name), err)
	}
	return &network.Network{Name: name, Config: map[string]config.Bridge{member: b}}, nil
}

// networkConfig returns a network as stored, and its whole configuration on
// this member.
func networkConfig(global, local *db.Object) (storedNetwork, map[string]string, error) {
	var g storedNetwork
	var l storedMember
	if err := decode(global, &g); err != nil {
		return g, nil, err
	}
	if local != nil {
		if err := decode(local, &l); err != nil {
			return g, nil, err
		}
	}
	cfg := make(map[string]string, len(g.Config)+len(l.Config))
	maps.Copy(cfg, g.Config)
	maps.Copy(cfg, l.Config)
	return g, cfg, nil
}

func load(get func(string) *db.Object, key string, v any) error {
	o := get(key)
	if o == nil {
		return nil
	}
	return decode(o, v)
}

func decode(o *db.Object, v any) error {
	if err := json.Unmarshal(o.Value, v); err != nil {
		return fmt.Errorf("object %s: %w", o.Key, err)
	}
	return nil
}

// check is what the store asks before every commit: the whole state must be
// one that a host can be derived from, for every member.
func (d *decoder) check(_ context.Context, next *db.Objects) error {
	s, err := d.snapshot(next)
	if err != nil {
		return err
	}
	for m := range s.Servers {
		if err := network.Validate(s, m); err != nil {
			return err
		}
	}
	return nil
}

// prefixes returns what is behind the networks among objs, except one.
func (d *decoder) prefixes(objs []*db.Object, except string) []netip.Prefix {
	d.mu.Lock()
	known := d.recent[0]
	d.mu.Unlock()
	var out []netip.Prefix
	for _, o := range objs {
		parts := db.Parts(o.Key)
		if len(parts) != 2 || parts[1] == except {
			continue
		}
		if n, err := known.network(parts[1], o, nil); err == nil {
			out = append(out, n.Prefixes(member)...)
		}
	}
	return out
}

// networks returns the networks that a write sees, sorted by name.
func (d *decoder) networks(tx *db.Tx) ([]*network.Network, error) {
	d.mu.Lock()
	known := d.recent[0]
	d.mu.Unlock()
	var out []*network.Network
	for _, o := range tx.List(networksPrefix) {
		parts := db.Parts(o.Key)
		if len(parts) != 2 {
			continue
		}
		n, err := known.network(parts[1], o, tx.Get(networkMemberKey(parts[1])))
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// network returns a network with its configuration decoded: the one of the
// snapshot when it was made of the same object.
func (d decoded) network(name string, global, local *db.Object) (*network.Network, error) {
	if d.objs != nil && d.objs.Get(global.Key) == global {
		if i, ok := networkKind.search(d.snapshot.Networks, name); ok {
			return d.snapshot.Networks[i], nil
		}
	}
	return decodeNetwork(name, global, local)
}
