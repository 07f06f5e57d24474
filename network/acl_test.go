package network_test

import (
	"errors"
	"strings"
	"testing"

	"netctl/config"
	"netctl/network"
)

// TestACLs hands the ACLs that networks use to the packet filter, and refuses
// a state in which one is missing.
func TestACLs(t *testing.T) {
	t.Parallel()
	bridge := func(acls string) map[string]config.Bridge {
		b, err := config.BridgeSchema.Decode(map[string]string{"security.acls": acls})
		if err != nil {
			t.Fatal(err)
		}
		return map[string]config.Bridge{"m": b}
	}
	acl := func(name string) *network.ACL { return network.NewACL(name, config.ACL{}) }
	servers := map[string]config.Server{"m": {}}
	br0, br1 := &network.Network{Name: "br0", Config: bridge("web,db")}, &network.Network{Name: "br1", Config: bridge("web")}
	all := []*network.ACL{acl("db"), acl("other"), acl("web")}
	var s *network.Snapshot
	use := func(acls []*network.ACL, networks ...*network.Network) (string, error) {
		s = s.Next(1, servers, network.Objects{Networks: networks, ACLs: acls})
		h, err := network.Derive(s, &network.Observed{}, "m")
		if err != nil {
			return "", err
		}
		var names []string
		for _, a := range h.Firewall.ACLs {
			names = append(names, a.Name)
		}
		return strings.Join(names, " "), nil
	}
	for i, step := range []struct {
		acls     []*network.ACL
		networks []*network.Network
		want     string
		missing  int
	}{
		{nil, []*network.Network{{Name: "br0", Config: bridge("")}}, "", 0},
		{all, []*network.Network{br0, br1}, "db web", 0},
		{all, []*network.Network{br0, br1}, "db web", 0},
		{all, []*network.Network{br1}, "web", 0},
		{all[:2], []*network.Network{br1}, "", 1},
		{all[1:2], []*network.Network{br0, br1}, "", 3},
		{all, []*network.Network{br0}, "db web", 0},
		{all[1:], nil, "", 0},
	} {
		have, err := use(step.acls, step.networks...)
		if step.missing == 0 {
			if err != nil || have != step.want {
				t.Errorf("step %d: %q, %v, want %q", i, have, err, step.want)
			}
			continue
		}
		var invalid *network.InvalidError
		if !errors.As(err, &invalid) || strings.Count(err.Error(), "does not exist") != step.missing ||
			!strings.Contains(err.Error(), `network "br1": security.acls=web: network ACL "web" does not exist`) {
			t.Errorf("step %d: %v, want %d missing", i, err, step.missing)
		}
	}
}
