package daemon

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"netctl/api"
)

// TestNamesAreNotPaths names the part of a network that belongs to this member,
// which is stored under a key below that of the network.
func TestNamesAreNotPaths(t *testing.T) {
	b := newBench(t)
	b.applied(b.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0", Config: map[string]string{
		"ipv4.address": "10.1.0.1/24", "ipv6.address": "none", "bgp.ipv4.nexthop": "192.0.2.44",
	}}))
	const name = "br0/member/none"
	_, _, err := b.Network(t.Context(), name)
	if code(err) != api.NotFound {
		t.Errorf("read: %v", err)
	}
	if _, err := b.DeleteNetwork(t.Context(), name, ""); code(err) != api.NotFound {
		t.Errorf("delete: %v", err)
	}
	if _, err := b.PatchNetwork(t.Context(), name, api.NetworkPatch{Config: map[string]string{"user.x": "y"}}, ""); code(err) != api.NotFound {
		t.Errorf("patch: %v", err)
	}
	if _, err := b.RenameNetwork(t.Context(), name, "br1"); code(err) != api.NotFound {
		t.Errorf("rename: %v", err)
	}
	if _, err := b.NetworkLeases(t.Context(), name); code(err) != api.NotFound {
		t.Errorf("leases: %v", err)
	}
	n, _, err := b.Network(t.Context(), "br0")
	if err != nil || n.Config["bgp.ipv4.nexthop"] != "192.0.2.44" {
		t.Errorf("%v, %v", n.Config, err)
	}
}

// TestTagTellsNothing checks that a password cannot be guessed with an ETag: who
// may not read secrets would try one after the other, and nobody would notice.
func TestTagTellsNothing(t *testing.T) {
	tags := map[string]bool{}
	for _, password := range []string{"hunter2", "tr0ub4dor"} {
		b := newBench(t)
		b.applied(b.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0", Config: map[string]string{
			"ipv4.address": "10.1.0.1/24", "ipv6.address": "none",
			"bgp.peers.x.address": "192.0.2.1", "bgp.peers.x.asn": "65000", "bgp.peers.x.password": password,
		}}))
		_, tag, err := b.Network(t.Context(), "br0")
		if err != nil {
			t.Fatal(err)
		}
		tags[tag] = true
		if password != "hunter2" {
			continue
		}
		// It tells a changed password all the same.
		b.applied(b.PatchNetwork(t.Context(), "br0", api.NetworkPatch{Config: map[string]string{"bgp.peers.x.password": "other"}}, tag))
		if _, err := b.PatchNetwork(t.Context(), "br0", api.NetworkPatch{Config: map[string]string{"user.x": "y"}}, tag); code(err) != api.Precondition {
			t.Errorf("a tag of before the change: %v", err)
		}
	}
	if len(tags) != 1 {
		t.Errorf("the ETag differs with the password: %v", tags)
	}
}

// TestIfMatch sends every write of an object with the ETag of another version of
// it: none is carried out.
func TestIfMatch(t *testing.T) {
	s := newSite(t)
	s.applied(s.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0", Config: map[string]string{
		"ipv4.address": "10.1.0.1/24", "ipv6.address": "none",
		"bgp.peers.x.address": "192.0.2.1", "bgp.peers.x.asn": "65000",
	}}))
	_, fingerprint := s.trusts("laptop", false)
	before, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	network, certificate := "/1.0/networks/br0", "/1.0/certificates/"+fingerprint
	for _, tt := range []struct{ method, path, body string }{
		{"PUT", "/1.0", `{"config":{}}`},
		{"PATCH", "/1.0", `{"config":{"user.x":"y"}}`},
		{"PUT", network, `{"config":{"ipv4.address":"10.2.0.1/24","ipv6.address":"none"}}`},
		{"PATCH", network, `{"config":{"user.x":"y"}}`},
		{"POST", network, `{"name":"br1"}`},
		{"DELETE", network, ""},
		{"PATCH", "/1.0/bgp/peers/192.0.2.1", `{"config":{"password":"new"}}`},
		{"PUT", certificate, `{"name":"x","type":"client"}`},
		{"PATCH", certificate, `{"name":"x"}`},
		{"DELETE", certificate, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://netctl"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-Match", strings.Repeat("0", 64))
		resp, err := s.transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("%s %s: %s", tt.method, tt.path, resp.Status)
		}
	}
	if after, err := s.Status(t.Context()); err != nil || after.Revision != before.Revision {
		t.Errorf("revision %d, was %d; %v", after.Revision, before.Revision, err)
	}
}

// TestLookFails has a host that cannot be looked at: who waits for a revision
// learns why nothing follows it.
func TestLookFails(t *testing.T) {
	b := newBench(t)
	b.host.mu.Lock()
	b.host.blind = errors.New("no buffer space available")
	b.host.mu.Unlock()
	b.eventually("the status says so", func() bool {
		select {
		case b.host.changed <- struct{}{}: // one of the subsystems hears it
		default:
		}
		s, err := b.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, target := range s.Targets {
			if strings.Contains(target.Error, "no buffer space available") {
				n++
			}
		}
		return n == 4 // link, firewall, dhcp and bgp
	})
	b.host.mu.Lock()
	b.host.blind = nil
	b.host.mu.Unlock()
	b.eventually("it is over", func() bool {
		s, err := b.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range s.Targets {
			if target.Error != "" {
				return false
			}
		}
		return true
	})
}

// TestLongTimeout waits for longer than a duration can be.
func TestLongTimeout(t *testing.T) {
	for secs, want := range map[int64]bool{-1: false, 0: false, 1: true, 10_000_000_000: true, 1 << 62: true} {
		if got := statusWait(secs); (got > 0) != want || got > maxStatusWait {
			t.Errorf("%d seconds: %s", secs, got)
		}
	}
}

// TestChosenRouterIDStays replaces the configuration with one that does not
// name what the daemon has chosen itself: that is kept, as peers know us by it.
func TestChosenRouterIDStays(t *testing.T) {
	b := newBench(t)
	cfg := map[string]string{"core.bgp_asn": "65001", "core.bgp_address": ":179"}
	b.applied(b.UpdateServer(t.Context(), api.ServerPut{Config: cfg}, ""))
	b.applied(b.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0", Config: map[string]string{
		"ipv4.address": "10.1.0.1/24", "ipv6.address": "none", "bgp.peers.x.address": "192.0.2.1", "bgp.peers.x.asn": "65000",
	}}))
	id := func() string {
		t.Helper()
		s, _, err := b.Server(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Config[routerIDKey]
	}
	b.eventually("a router id is chosen", func() bool { return id() == "192.0.2.9" })
	b.host.mu.Lock()
	b.host.source = "192.0.2.10" // it would be chosen today
	b.host.mu.Unlock()
	b.applied(b.PatchNetwork(t.Context(), "br0", api.NetworkPatch{Config: map[string]string{"user.x": "y"}}, "")) // and it is noticed
	b.applied(b.UpdateServer(t.Context(), api.ServerPut{Config: cfg}, ""))
	b.applied(b.UpdateServer(t.Context(), api.ServerPut{Config: map[string]string{"core.bgp_asn": "65001", "core.bgp_address": ":179", "user.x": "y"}}, ""))
	if got := id(); got != "192.0.2.9" {
		t.Errorf("the router id is %q now", got)
	}
}
