package daemon

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netctl/api"
	"netctl/client"
)

var listen7 = netip.MustParseAddr("198.51.100.7")

// webForward is a forward with everything, not yet in its stored form.
func webForward() api.NetworkForwardsPost {
	return api.NetworkForwardsPost{
		ListenAddress: "198.51.100.7", Description: "web", Config: map[string]string{"target_address": " 10.1.0.9", "user.x": "y", "user.z": ""},
		Ports: []api.NetworkForwardPort{
			{Protocol: "tcp", ListenPort: "80, 8000-8001", TargetAddress: "10.1.0.10"},
			{Protocol: "udp", ListenPort: "53", TargetPort: "5353", TargetAddress: "10.1.0.11"},
		},
	}
}

// TestForward takes a forward through its life.
func TestForward(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.enable()
	ctx := t.Context()
	b.applied(b.CreateNetworkForward(ctx, "br0", webForward()))
	f, tag, err := b.NetworkForward(ctx, "br0", listen7)
	if err != nil {
		t.Fatal(err)
	}
	want := api.NetworkForward{
		ListenAddress: "198.51.100.7", Description: "web", Location: "none", Config: map[string]string{"target_address": "10.1.0.9", "user.x": "y"},
		Ports: []api.NetworkForwardPort{
			{Protocol: "tcp", ListenPort: "80,8000-8001", TargetAddress: "10.1.0.10"},
			{Protocol: "udp", ListenPort: "53", TargetPort: "5353", TargetAddress: "10.1.0.11"},
		},
	}
	if d := cmp.Diff(want, f); d != "" {
		t.Errorf("(-want +have)\n%s", d)
	}
	if _, err := b.CreateNetworkForward(ctx, "br0", webForward()); code(err) != api.Conflict || !strings.Contains(err.Error(), "a forward for that listen address already exists") {
		t.Errorf("again: %v", err)
	}
	b.applied(b.CreateNetworkForward(ctx, "br0", api.NetworkForwardsPost{ListenAddress: "2001:DB8::0:7"}))
	all, err := b.NetworkForwards(ctx, "br0")
	if err != nil || len(all) != 2 || all[1].ListenAddress != "2001:db8::7" || all[1].Ports == nil || all[1].Config == nil {
		t.Errorf("list: %+v, %v", all, err)
	}
	if text := b.get("/1.0/networks/br0/forwards?filter=config.user.x+eq+y"); !strings.Contains(text, `["/1.0/networks/br0/forwards/198.51.100.7"]`) {
		t.Errorf("filtered: %s", text)
	}

	text := "new"
	b.applied(b.PatchNetworkForward(ctx, "br0", listen7, api.NetworkForwardPatch{Description: &text, Config: map[string]string{"user.x": ""}}, tag))
	if _, err := b.PatchNetworkForward(ctx, "br0", listen7, api.NetworkForwardPatch{}, tag); code(err) != api.Precondition {
		t.Errorf("the tag of before: %v", err)
	}
	f, tag, err = b.NetworkForward(ctx, "br0", listen7)
	if err != nil || f.Description != "new" || len(f.Ports) != 2 || f.Config["target_address"] != "10.1.0.9" || len(f.Config) != 1 {
		t.Errorf("patched: %+v, %v", f, err)
	}
	b.applied(b.UpdateNetworkForward(ctx, "br0", listen7, api.NetworkForwardPut{}, tag))
	f, _, err = b.NetworkForward(ctx, "br0", listen7)
	if err != nil || f.Description != "" || len(f.Ports) != 0 || len(f.Config) != 0 {
		t.Errorf("replaced: %+v, %v", f, err)
	}
	b.applied(b.DeleteNetworkForward(ctx, "br0", listen7, ""))
	if _, err := b.DeleteNetworkForward(ctx, "br0", listen7, ""); code(err) != api.NotFound {
		t.Errorf("deleted twice: %v", err)
	}
}

// TestForwardEvents tells what happened to which forward and which ACL.
func TestForwardEvents(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.enable()
	ctx := t.Context()
	events, err := b.Events(ctx, api.EventLifecycle)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	b.applied(b.CreateNetworkForward(ctx, "br0", webForward()))
	b.applied(b.UpdateNetworkForward(ctx, "br0", listen7, api.NetworkForwardPut{}, ""))
	b.applied(b.DeleteNetworkForward(ctx, "br0", listen7, ""))
	b.applied(b.CreateNetworkACL(ctx, api.NetworkACLsPost{Name: "web"}))
	b.applied(b.UpdateNetworkACL(ctx, "web", api.NetworkACLPut{Description: "x"}, ""))
	b.applied(b.RenameNetworkACL(ctx, "web", "www"))
	b.applied(b.DeleteNetworkACL(ctx, "www", ""))
	const forward = " /1.0/networks/br0/forwards/198.51.100.7"
	for _, want := range []string{
		"network-forward-created" + forward, "network-forward-updated" + forward, "network-forward-deleted" + forward,
		"network-acl-created /1.0/network-acls/web", "network-acl-updated /1.0/network-acls/web",
		"network-acl-renamed /1.0/network-acls/www", "network-acl-deleted /1.0/network-acls/www",
	} {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		var body api.EventLifecycleBody
		if err := json.Unmarshal(e.Metadata, &body); err != nil {
			t.Fatal(err)
		}
		if have := body.Action + " " + body.Source; have != want {
			t.Errorf("event %s, want %s", have, want)
		}
	}
}

// TestForwardOfNetwork holds forwards to what becomes of their network.
func TestForwardOfNetwork(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.enable()
	ctx := t.Context()
	b.applied(b.CreateNetworkForward(ctx, "br0", webForward()))
	_, err := b.PatchNetwork(ctx, "br0", api.NetworkPatch{Config: map[string]string{"ipv4.address": "10.1.0.1/29"}}, "")
	if code(err) != api.Conflict || strings.Count(err.Error(), "is not in 10.1.0.0/29") != 3 {
		t.Errorf("a subnet without its targets: %v", err)
	}
	_, err = b.PatchNetwork(ctx, "br0", api.NetworkPatch{Config: map[string]string{"ipv4.address": "none"}}, "")
	if code(err) != api.Conflict || !strings.Contains(err.Error(), "the network has no IPv4 address") {
		t.Errorf("no subnet: %v", err)
	}
	b.applied(b.PatchNetwork(ctx, "br0", api.NetworkPatch{Config: map[string]string{"ipv4.address": "10.1.0.1/20"}}, ""))
	b.applied(b.RenameNetwork(ctx, "br0", "br1"))
	if f, _, err := b.NetworkForward(ctx, "br1", listen7); err != nil || f.Description != "web" {
		t.Errorf("after the rename: %+v, %v", f, err)
	}
	b.applied(b.DeleteNetwork(ctx, "br1", ""))
	b.applied(b.CreateNetwork(ctx, api.NetworksPost{Name: "br1", Config: map[string]string{"ipv4.address": "10.1.0.1/24", "ipv6.address": "none"}}))
	if all, err := b.NetworkForwards(ctx, "br1"); err != nil || len(all) != 0 {
		t.Errorf("of a network before: %+v, %v", all, err)
	}
	for what, call := range map[string]func(*client.Client) error{
		"list":   func(c *client.Client) error { _, err := c.NetworkForwards(ctx, "br9"); return err },
		"create": func(c *client.Client) error { _, err := c.CreateNetworkForward(ctx, "br9", webForward()); return err },
		"delete": func(c *client.Client) error { _, err := c.DeleteNetworkForward(ctx, "br9", listen7, ""); return err },
	} {
		if err := call(b.Client); code(err) != api.NotFound || !strings.Contains(err.Error(), `network "br9"`) {
			t.Errorf("%s without a network: %v", what, err)
		}
	}
}

// TestForwardRehearsed changes nothing.
func TestForwardRehearsed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.enable()
	plans := 0
	dry := b.DryRun(func(api.Plan) error { plans++; return nil })
	if _, err := dry.CreateNetworkForward(t.Context(), "br0", webForward()); err != nil || plans != 1 {
		t.Errorf("%d plans, %v", plans, err)
	}
	if _, _, err := b.NetworkForward(t.Context(), "br0", listen7); code(err) != api.NotFound {
		t.Errorf("it was made: %v", err)
	}
}
