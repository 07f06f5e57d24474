package daemon

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netctl/api"
	"netctl/network/firewall"
)

// TestACL takes a network ACL through its life.
func TestACL(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.enable()
	ctx := t.Context()
	b.applied(b.CreateNetworkACL(ctx, api.NetworkACLsPost{
		Name: "web", Description: "web servers", Config: map[string]string{"user.x": "y", "user.z": ""},
		Ingress: []api.NetworkACLRule{{Action: "allow", State: "enabled", Protocol: "tcp", DestinationPort: "80, 443 ", Source: " 10.0.0.0/8"}},
	}))
	if _, err := b.CreateNetworkACL(ctx, api.NetworkACLsPost{Name: "web"}); code(err) != api.Conflict || !strings.Contains(err.Error(), "the network ACL already exists") {
		t.Errorf("again: %v", err)
	}
	a, tag, err := b.NetworkACL(ctx, "web")
	if err != nil {
		t.Fatal(err)
	}
	want := api.NetworkACL{
		Name: "web", Description: "web servers", Config: map[string]string{"user.x": "y"}, UsedBy: []string{}, Egress: []api.NetworkACLRule{},
		Ingress: []api.NetworkACLRule{{Action: "allow", State: "enabled", Protocol: "tcp", DestinationPort: "80,443", Source: "10.0.0.0/8"}},
	}
	if d := cmp.Diff(want, a); d != "" {
		t.Errorf("(-want +have)\n%s", d)
	}

	text := "new"
	b.applied(b.PatchNetworkACL(ctx, "web", api.NetworkACLPatch{Description: &text, Egress: []api.NetworkACLRule{{Action: "drop", State: "logged"}}}, tag))
	if _, err := b.UpdateNetworkACL(ctx, "web", api.NetworkACLPut{}, tag); code(err) != api.Precondition {
		t.Errorf("the tag of before: %v", err)
	}
	a, tag, err = b.NetworkACL(ctx, "web")
	if err != nil || a.Description != "new" || len(a.Ingress) != 1 || len(a.Egress) != 1 || a.Config["user.x"] != "y" {
		t.Errorf("patched: %+v, %v", a, err)
	}
	b.applied(b.PatchNetwork(ctx, "br0", api.NetworkPatch{Config: map[string]string{"security.acls": "web"}}, ""))
	b.applied(b.UpdateNetworkACL(ctx, "web", api.NetworkACLPut{}, tag)) // its use changes no tag
	a, _, err = b.NetworkACL(ctx, "web")
	if err != nil || a.Description != "" || len(a.Ingress)+len(a.Egress)+len(a.Config) != 0 || !slices.Equal(a.UsedBy, []string{"/1.0/networks/br0"}) {
		t.Errorf("replaced: %+v, %v", a, err)
	}
	b.applied(b.PatchNetwork(ctx, "br0", api.NetworkPatch{Config: map[string]string{"security.acls": ""}}, ""))
	b.applied(b.RenameNetworkACL(ctx, "web", "www"))
	if text := b.get("/1.0/network-acls?filter=name+eq+www"); !strings.Contains(text, `["/1.0/network-acls/www"]`) {
		t.Errorf("filtered: %s", text)
	}
	b.applied(b.DeleteNetworkACL(ctx, "www", ""))
	if all, err := b.NetworkACLs(ctx); err != nil || len(all) != 0 {
		t.Errorf("left: %+v, %v", all, err)
	}
	for what, err := range map[string]error{
		"show":   second(b.NetworkACL(ctx, "www")),
		"delete": last(b.DeleteNetworkACL(ctx, "www", "")),
		"rename": last(b.RenameNetworkACL(ctx, "www", "web")),
		"change": last(b.PatchNetworkACL(ctx, "www", api.NetworkACLPatch{}, "")),
	} {
		if code(err) != api.NotFound || !strings.Contains(err.Error(), `network ACL not found: "www"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[A, B any](_ A, _ B, err error) error { return err }

func last[A any](_ A, err error) error { return err }

// TestACLInUse keeps what a network needs.
func TestACLInUse(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.enable()
	ctx := t.Context()
	_, err := b.PatchNetwork(ctx, "br0", api.NetworkPatch{Config: map[string]string{"security.acls": "web,db"}}, "")
	if code(err) != api.Invalid || !strings.Contains(err.Error(), `network ACL "web" does not exist`) {
		t.Errorf("without any: %v", err)
	}
	b.applied(b.CreateNetworkACL(ctx, api.NetworkACLsPost{Name: "web"}))
	b.applied(b.CreateNetworkACL(ctx, api.NetworkACLsPost{Name: "other"}))
	_, err = b.PatchNetwork(ctx, "br0", api.NetworkPatch{Config: map[string]string{"security.acls": "web,db"}}, "")
	if code(err) != api.Invalid || !strings.Contains(err.Error(), `network ACL "db" does not exist`) {
		t.Errorf("without one: %v", err)
	}
	b.applied(b.PatchNetwork(ctx, "br0", api.NetworkPatch{Config: map[string]string{
		"security.acls": "web", "security.acls.default.egress.action": "allow", "security.acls.default.ingress.logged": "true",
	}}, ""))
	b.host.mu.Lock()
	n := b.host.filter.Networks[0]
	b.host.mu.Unlock()
	if !slices.Equal(n.ACLs, []string{"web"}) || n.Egress != (firewall.Default{Action: firewall.Allow}) || n.Ingress != (firewall.Default{Action: firewall.Reject, Logged: true}) {
		t.Errorf("the packet filter has %+v", n)
	}
	for what, err := range map[string]error{
		"cannot delete": last(b.DeleteNetworkACL(ctx, "web", "")),
		"cannot rename": last(b.RenameNetworkACL(ctx, "web", "www")),
	} {
		if code(err) != api.Conflict || !strings.Contains(err.Error(), what+` an ACL that is in use: "web" by security.acls of network "br0"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := b.RenameNetworkACL(ctx, "other", "web"); code(err) != api.Conflict || !strings.Contains(err.Error(), "an ACL by that name exists already") {
		t.Errorf("to a name that is taken: %v", err)
	}
	if _, err := b.RenameNetworkACL(ctx, "other", "@x"); code(err) != api.Invalid {
		t.Errorf("to a bad name: %v", err)
	}
	b.applied(b.DeleteNetwork(ctx, "br0", ""))
	b.applied(b.DeleteNetworkACL(ctx, "web", ""))
}
