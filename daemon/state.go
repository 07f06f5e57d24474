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

// A decoder turns the objects of the store into snapshots. It remembers what
// it made of each network, so that a snapshot costs what changed since the
// last one.
type decoder struct {
	mu       sync.Mutex
	networks map[string]decoded
	last     *network.Snapshot
	lastFrom *db.Objects
}

// A decoded network and the objects that it was made of.
type decoded struct {
	global, local *db.Object
	net           *network.Network
}

// snapshot decodes objs. Errors of all objects are joined; each names its
// network and keys.
func (d *decoder) snapshot(objs *db.Objects) (*network.Snapshot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lastFrom == objs && objs != nil {
		return d.last, nil
	}
	s := &network.Snapshot{Revision: int64(objs.Revision())}
	server, err := decodeServer(objs)
	errs := []error{err}
	s.Servers = map[string]config.Server{member: server}

	seen := make(map[string]decoded, len(d.networks))
	for _, o := range objs.List(networksPrefix) {
		parts := db.Parts(o.Key)
		if len(parts) != 2 {
			continue
		}
		name := parts[1]
		n := decoded{global: o, local: objs.Get(networkMemberKey(name))}
		if old, ok := d.networks[name]; ok && old.global == n.global && old.local == n.local {
			n.net = old.net
		} else if n.net, err = decodeNetwork(name, n.global, n.local); err != nil {
			errs = append(errs, err)
			continue
		}
		seen[name] = n
		s.Networks = append(s.Networks, n.net)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	slices.SortFunc(s.Networks, func(a, b *network.Network) int { return strings.Compare(a.Name, b.Name) })
	d.networks, d.last, d.lastFrom = seen, s, objs
	return s, nil
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
		if _, err := network.Derive(s, nil, m); err != nil {
			return err
		}
	}
	return nil
}

// prefixes returns what is behind the networks among objs, except one.
func (d *decoder) prefixes(objs []*db.Object, except string) []netip.Prefix {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []netip.Prefix
	for _, o := range objs {
		parts := db.Parts(o.Key)
		if len(parts) != 2 || parts[1] == except {
			continue
		}
		if known, ok := d.networks[parts[1]]; ok && known.global == o {
			out = append(out, known.net.Prefixes(member)...)
		} else if n, err := decodeNetwork(parts[1], o, nil); err == nil {
			out = append(out, n.Prefixes(member)...)
		}
	}
	return out
}
