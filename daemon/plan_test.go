package daemon

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"netctl/api"
	"netctl/bgp"
	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/network/link"
)

func (f *fakeHost) Plan(_ context.Context, want link.State) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, op := range link.Diff(f.links, want) {
		out = append(out, op.String())
	}
	return out, nil
}

func (f fakeFilter) Plan(_ context.Context, want firewall.Config) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !reflect.DeepEqual(f.filter, want) {
		return []string{"nft change"}, nil
	}
	return nil, nil
}

func (f fakeServices) Plan(_ context.Context, want []*dhcp.Service) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !reflect.DeepEqual(f.services, want) {
		return []string{"dnsmasq change"}, nil
	}
	return nil, nil
}

// plan sends a request and decodes the plan that it is answered with.
func (b *bench) plan(method, path, body string) api.Plan {
	b.t.Helper()
	var e struct {
		Error    string
		Metadata api.Plan
	}
	if err := json.Unmarshal([]byte(b.send(method, path, body)), &e); err != nil || e.Error != "" {
		b.t.Fatalf("%s %s: %v %s", method, path, err, e.Error)
	}
	return e.Metadata
}

func TestPlan(t *testing.T) {
	b := newBench(t)
	if p := b.plan("GET", "/1.0/plan", ""); !p.Empty() {
		t.Errorf("plan of nothing: %+v", p)
	}
	b.enable()
	if p := b.plan("GET", "/1.0/plan", ""); !p.Empty() {
		t.Errorf("plan of what is there: %+v", p)
	}
	before, _ := b.Status(t.Context())

	p := b.plan("POST", "/1.0/networks?dry-run=1", `{"name": "br1", "config": {"ipv4.address": "10.2.0.1/24", "ipv6.address": "none",
		"bgp.peers.tor.address": "192.0.2.1", "bgp.peers.tor.asn": "65000", "bgp.peers.tor.password": "hunter2"}}`)
	text, _ := json.Marshal(p)
	for _, want := range []string{"ip link add br1", "ip addr add 10.2.0.1/24 dev br1", `"action":"announce","prefix":"10.2.0.0/24","nexthop":"192.0.2.9"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("plan lacks %q: %s", want, text)
		}
	}
	if strings.Contains(string(text), "10.1.0") {
		t.Errorf("plan touches br0: %s", text)
	}

	p = b.plan("PATCH", "/1.0/networks/br0?dry-run=1", `{"config": {"bgp.ipv4.nexthop": "192.0.2.77"}}`)
	if len(p.Members[0].Changes) != 0 || len(p.Members[0].Peers) != 1 || p.Members[0].Peers[0].Session != "" ||
		!reflect.DeepEqual(p.Members[0].Peers[0].Prefixes, []api.PlanPrefix{{Action: "change", Prefix: "10.1.0.0/24", NextHop: "192.0.2.77"}}) {
		t.Errorf("plan of a next hop: %+v", p)
	}

	p = b.plan("DELETE", "/1.0/networks/br0?dry-run=1", "")
	if len(p.Members[0].Peers) != 1 || p.Members[0].Peers[0].Session != "remove" || p.Members[0].Peers[0].Prefixes[0].Action != "withdraw" {
		t.Errorf("plan of a delete: %+v", p)
	}
	p = b.plan("PUT", "/1.0?dry-run=1", `{"config": {"core.bgp_asn": "65009", "core.bgp_address": "192.0.2.9:179"}}`)
	if len(p.Members[0].Peers) != 1 || p.Members[0].Peers[0].Session != "restart" {
		t.Errorf("plan of another AS number: %+v", p)
	}
	if r := b.send("POST", "/1.0/networks?dry-run=1", `{"name": "br1", "config": {"ipv4.address": "10.1.0.9/24"}}`); !strings.Contains(r, "conflicts with") {
		t.Errorf("a dry run does not validate: %s", r)
	}
	if after, _ := b.Status(t.Context()); after.Revision != before.Revision || len(b.host.links.Links) != 1 {
		t.Errorf("a dry run has changed something")
	}

	// The plan compares with the host, not with what was done.
	b.host.mu.Lock()
	b.host.links = link.State{}
	b.host.mu.Unlock()
	if p := b.plan("GET", "/1.0/plan", ""); p.Empty() {
		t.Error("a bridge that is gone is not in the plan")
	}
}

func TestExplain(t *testing.T) {
	b := newBench(t)
	b.enable()
	b.applied(b.CreateNetwork(t.Context(), api.NetworksPost{Name: "br1", Config: map[string]string{
		"ipv4.address": "10.2.0.1/24", "ipv4.nat": "true", "ipv6.address": "none", "ipv4.routes": "10.9.0.0/16",
	}}))
	for _, tt := range []struct{ query, summary string }{
		{"10.1.0.77", "10.1.0.0/24 is announced: ipv4.nat is false"},
		{"10.1.0.0/24", "10.1.0.0/24 is announced"},
		{"10.2.0.5", "10.2.0.0/24 of network br1 is not announced: ipv4.nat is true, and ipv4.nat.address is not set"},
		{"10.9.1.0/24", "ipv4.routes are routes of this host and are not exported"},
		{"203.0.113.1", "nothing here has 203.0.113.1"},
	} {
		var e struct{ Metadata api.BGPExplanation }
		if err := json.Unmarshal([]byte(b.get("/1.0/bgp/explain?prefix="+tt.query)), &e); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(e.Metadata.Summary, tt.summary) {
			t.Errorf("%s: %q, want %q", tt.query, e.Metadata.Summary, tt.summary)
		}
	}
	var e struct{ Metadata api.BGPExplanation }
	if err := json.Unmarshal([]byte(b.get("/1.0/bgp/explain?prefix=10.1.0.1")), &e); err != nil {
		t.Fatal(err)
	}
	if x := e.Metadata; len(x.NextHop) != 1 || x.NextHop[0].NextHop != "192.0.2.9" || x.NextHop[0].Why != "our end of the session" || x.Route == nil || !x.Route.Peers[0].Sent {
		t.Errorf("explanation %+v", x)
	}
	if r := b.get("/1.0/bgp/explain?prefix=nonsense"); !strings.Contains(r, "nonsense") {
		t.Errorf("a bad query: %s", r)
	}
}

func TestPlanPeers(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.1")
	c := bgp.Config{ASN: 1, Peers: []bgp.Peer{{Addr: peer, NextHop4: netip.MustParseAddr("192.0.2.9")}}, Paths: []*bgp.Path{
		{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Peers: bgp.NewPeerSet(peer)},
	}}
	if p := planPeers(c, c); len(p) != 0 {
		t.Errorf("plan from a configuration to itself: %+v", p)
	}
}

// send sends a request with a JSON body and returns the answer.
func (b *bench) send(method, path, body string) string {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://netctl"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	r, err := b.http().Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Body.Close()
	out, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(out)
}
