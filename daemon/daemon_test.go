package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"netctl/api"
	"netctl/bgp"
	"netctl/network/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func code(err error) api.Code {
	if err == nil {
		return ""
	}
	return api.ErrorCode(err)
}

// enable configures the speaker and a network with a peer, and waits until the
// network is announced.
func (b *bench) enable() {
	b.t.Helper()
	b.applied(b.PatchServer(b.t.Context(), api.ServerPut{Config: map[string]string{"core.bgp_asn": "65001", "core.bgp_address": "192.0.2.9:179"}}, ""))
	b.applied(b.CreateNetwork(b.t.Context(), api.NetworksPost{Name: "br0", Config: map[string]string{
		"ipv4.address": "10.1.0.1/24", "ipv6.address": "none",
		"bgp.peers.tor.address": "192.0.2.1", "bgp.peers.tor.asn": "65000", "bgp.peers.tor.password": "hunter2",
	}}))
}

func TestWriteReachesEverything(t *testing.T) {
	b := newBench(t)
	b.enable()
	c := b.speaker.last()
	if c.ASN != 65001 || len(c.Paths) != 1 || c.Paths[0].Prefix != netip.MustParsePrefix("10.1.0.0/24") || len(c.Peers) != 1 || c.Peers[0].Password != "hunter2" {
		t.Errorf("speaker has %+v", c)
	}
	if len(b.host.links.Links) != 1 || len(b.host.filter.Networks) != 1 || len(b.host.services) != 1 {
		t.Errorf("host has %+v %+v %+v", b.host.links, b.host.filter, b.host.services)
	}
	routes, err := b.BGPRoutes(t.Context())
	if err != nil || len(routes) != 1 || routes[0].State != api.RouteAnnounced || !routes[0].Peers[0].Sent || routes[0].Owners[0].Network != "br0" {
		t.Errorf("routes %+v, %v", routes, err)
	}
	n, _, err := b.Network(t.Context(), "br0")
	if err != nil || n.Status != api.NetworkCreated {
		t.Errorf("network %+v, %v", n, err)
	}
}

func TestWithdrawBeforeDelete(t *testing.T) {
	b := newBench(t)
	b.enable()
	before := b.host.before
	var paths []int
	b.host.before = func(ctx context.Context) {
		before(ctx)
		paths = append(paths, len(b.speaker.last().Paths))
	}
	b.applied(b.DeleteNetwork(t.Context(), "br0", ""))
	if !slices.Equal(b.speaker.flushed, []int{0}) {
		t.Errorf("flushed with %v paths, want once, without any", b.speaker.flushed)
	}
	if len(paths) != 1 || paths[0] != 0 || !slices.Equal(b.host.deleted, []string{"br0"}) {
		t.Errorf("when %v went, the speaker had %v paths", b.host.deleted, paths)
	}
}

func TestSecretsAreMaskedAndKept(t *testing.T) {
	b := newBench(t)
	b.enable()
	n, tag, err := b.Network(t.Context(), "br0")
	if err != nil || n.Config["bgp.peers.tor.password"] != api.Mask {
		t.Fatalf("config %v, %v", n.Config, err)
	}
	n.Config["bgp.peers.tor.holdtime"] = "90"
	b.applied(b.UpdateNetwork(t.Context(), "br0", api.NetworkPut{Description: "x", Config: n.Config}, tag))
	if p := b.speaker.last().Peers[0]; p.Password != "hunter2" || p.HoldTime != 90*time.Second {
		t.Errorf("peer %+v with password %q", p, string(p.Password))
	}
	if _, err := b.UpdateNetwork(t.Context(), "br0", api.NetworkPut{Config: n.Config}, tag); code(err) != api.Precondition {
		t.Errorf("a write with an old ETag: %v", err)
	}
	for _, path := range []string{"/1.0/networks?recursion=1", "/1.0/bgp/peers?recursion=1", "/internal/testing/bgp", "/1.0/metrics"} {
		if body := b.get(path); strings.Contains(body, "hunter2") {
			t.Errorf("%s shows the password: %s", path, body)
		}
	}
	if body := b.get("/1.0/networks/br0?secrets=1"); !strings.Contains(body, "hunter2") {
		t.Errorf("secrets=1 does not show the password: %s", body)
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	b.enable()
	b.host.mu.Lock()
	b.host.foreign = map[string]*link.Seen{"eth0": {Name: "eth0", Up: true}, "half0": {Name: "half0", Making: true}}
	b.host.mu.Unlock()
	b.host.changed <- struct{}{}
	post := func(name string, cfg map[string]string) func() error {
		return func() error {
			_, err := b.CreateNetwork(t.Context(), api.NetworksPost{Name: name, Config: cfg})
			return err
		}
	}
	for _, tt := range []struct {
		name string
		do   func() error
		code api.Code
		text string
	}{
		{"twice", post("br0", nil), api.Conflict, `network "br0" already exists`},
		{"bad name", post("../x", nil), api.Invalid, "network name"},
		{"unknown key", post("br1", map[string]string{"ipv4.adress": "x", "ipv4.nat": "perhaps"}), api.Invalid, `did you mean "ipv4.address"`},
		{"overlap", post("br1", map[string]string{"ipv4.address": "10.1.0.129/25", "ipv6.address": "none"}), api.Conflict, `ipv4.address=10.1.0.1/24 of network "br0"`},
		{"peer clash", post("br1", map[string]string{"ipv4.address": "10.2.0.1/24", "bgp.peers.x.address": "192.0.2.1", "bgp.peers.x.asn": "65009"}), api.Conflict, `bgp.peers.tor.asn=65000 of network "br0"`},
		{"half a peer", post("br1", map[string]string{"bgp.peers.x.asn": "65009"}), api.Invalid, "bgp.peers.x"},
		{"foreign interface", post("eth0", nil), api.Conflict, "is not netctl's"},
		{"not there", func() error { _, err := b.DeleteNetwork(t.Context(), "nosuch", ""); return err }, api.NotFound, `network "nosuch" not found`},
		{"rename onto another", func() error { _, err := b.RenameNetwork(t.Context(), "br0", "eth0"); return err }, api.Conflict, "eth0"},
		{"server key", func() error {
			_, err := b.PatchServer(t.Context(), api.ServerPut{Config: map[string]string{"core.bgp_asn": "0"}}, "")
			return err
		}, api.Invalid, "core.bgp_asn"},
		{"no peer", func() error { return b.ResetBGPPeer(t.Context(), netip.MustParseAddr("192.0.2.77")) }, api.NotFound, "192.0.2.77"},
		{"other member", func() error { _, err := b.Target("other").Networks(t.Context()); return err }, api.NotFound, "not clustered"},
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
	if err := post("half0", nil)(); err != nil {
		t.Errorf("the name of an interface that is being made for a network that went meanwhile: %v", err)
	}
	if err := b.ResetBGPPeer(t.Context(), netip.MustParseAddr("192.0.2.1")); err != nil || len(b.speaker.reset) != 1 {
		t.Errorf("reset: %v, %v", err, b.speaker.reset)
	}
}

func TestLagIsNamed(t *testing.T) {
	b := newBench(t)
	b.host.mu.Lock()
	b.host.broken = errors.New("netlink is out to lunch")
	b.host.mu.Unlock()
	rev, err := b.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0"})
	if err != nil {
		t.Fatal(err)
	}
	err = b.WaitApplied(t.Context(), rev, time.Second)
	if err == nil || !strings.Contains(err.Error(), "link") || !strings.Contains(err.Error(), "out to lunch") {
		t.Errorf("got %v", err)
	}
	n, _, _ := b.Network(t.Context(), "br0")
	if n.Status != api.NetworkErrored || !strings.Contains(n.StatusMessage, "out to lunch") {
		t.Errorf("network %+v", n)
	}
	b.host.mu.Lock()
	b.host.broken = nil
	b.host.mu.Unlock()
	b.applied(rev, nil) // it heals by itself
}

// Sessions of a daemon that comes back begin when everything is in place, not
// before.
func TestSessionsWaitForTheDataPlane(t *testing.T) {
	b := newBench(t)
	b.enable()
	b.signals <- syscall.SIGTERM
	if err := <-b.ended; err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.speaker.stopped, []bgp.StopMode{bgp.Restart}) {
		t.Fatalf("stopped %v", b.speaker.stopped)
	}
	b.host.links, b.host.broken, b.speaker.configs = link.State{}, errors.New("busy"), nil
	done := make(chan struct{})
	go func() { // becomes ready when the data plane does
		defer close(done)
		b.eventually("paths", func() bool { return b.speaker.last().ASN != 0 })
		if c := b.speaker.last(); len(c.Peers) != 0 {
			t.Errorf("sessions began with %d paths", len(c.Paths))
		}
		b.host.mu.Lock()
		b.host.broken = nil
		b.host.mu.Unlock()
	}()
	b.begin()
	<-done
	if c := b.speaker.last(); len(c.Peers) != 1 || len(c.Paths) != 1 {
		t.Errorf("after the start: %+v", c)
	}
	b.speaker.mu.Lock()
	defer b.speaker.mu.Unlock()
	for _, c := range b.speaker.configs {
		if len(c.Peers) > 0 && len(c.Paths) == 0 {
			t.Errorf("peers before paths: %+v", b.speaker.configs)
		}
	}
}

func TestShutdown(t *testing.T) {
	b := newBench(t)
	b.enable()
	if err := b.Shutdown(t.Context(), api.Shutdown{Message: strings.Repeat("x", 256)}); code(err) != api.Invalid {
		t.Errorf("a text that is too long: %v", err)
	}
	if err := b.Shutdown(t.Context(), api.Shutdown{Message: "moving house", RemoveBridges: true}); err != nil {
		t.Fatal(err)
	}
	if err := <-b.ended; err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.speaker.stopped, []bgp.StopMode{bgp.Withdraw}) || b.speaker.text != "moving house" || len(b.host.links.Links) != 0 {
		t.Errorf("stopped %v with %q, links %v", b.speaker.stopped, b.speaker.text, b.host.links)
	}
}

func TestOneDaemonForADirectory(t *testing.T) {
	b := newBench(t)
	err := Run(t.Context(), Options{Dir: b.dir})
	if err == nil || !strings.Contains(err.Error(), "in use by another netctld") {
		t.Errorf("got %v", err)
	}
}

func TestEvents(t *testing.T) {
	b := newBench(t)
	events, err := b.Events(t.Context(), api.EventLifecycle)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	b.enable()
	for {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		var body api.EventLifecycleBody
		if err := json.Unmarshal(e.Metadata, &body); err != nil {
			t.Fatal(err)
		}
		if body.Action == "network-created" {
			if body.Source != "/1.0/networks/br0" || body.Requestor == nil || body.Requestor.Protocol != "unix" {
				t.Errorf("event %+v", body)
			}
			return
		}
	}
}

// http returns a client that speaks HTTP to the daemon's socket, and is held
// to the OpenAPI document.
func (b *bench) http() *http.Client {
	return &http.Client{Transport: newChecker(b.t, b.transport())}
}

func (b *bench) transport() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(b.dir, SocketName))
	}}
}

func (b *bench) get(path string) string {
	b.t.Helper()
	r, err := b.http().Get("http://netctl" + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(body)
}

func TestLimitsAndEnvelope(t *testing.T) {
	b := newBench(t)
	long := func(n int) string {
		const begin, end = `{"name":"br0","type":"ovn","description":"`, `"}`
		return begin + strings.Repeat("x", n-len(begin)-len(end)) + end
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"POST", "/1.0/networks", `{"name":"br0"`, 400, "request body"},
		{"POST", "/1.0/networks", `{"name":"br0","description":"` + strings.Repeat("x", maxBody) + `"}`, 413, "too large"},
		{"POST", "/1.0/networks", long(maxBody), 400, "ovn"}, // which is not too long
		{"POST", "/1.0/networks", long(maxBody + 1), 413, "too large"},
		{"POST", "/1.0/networks", `{"name":"br0","type":"ovn"}`, 400, "ovn"},
		{"GET", "/1.0/nosuch", "", 404, "no such path"},
		{"DELETE", "/1.0", "", 501, "not supported"},
		{"GET", "/1.0/networks/..%2f..%2fetc", "", 404, "not found"},
		{"GET", "/1.0/networks?filter=name+is+br0", "", 400, "filter"},
		{"GET", "/1.0/operations/x", "", 404, "operation"},
		{"GET", "/1.0/status?revision=99", "", 400, "revision"},
		{"GET", "/1.0/events?type=gossip", "", 400, "gossip"},
		{"PUT", "/1.0?project=other", `{}`, 404, "project"},
		{"PUT", "/1.0", "", 400, "request body: empty"},
		{"PUT", "/1.0/networks/br0", " ", 400, "request body: empty"},
		{"PUT", "/1.0/networks/br0", "null", 400, "request body: empty"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://netctl"+tt.path, bytes.NewBufferString(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		r, err := b.http().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var e api.Envelope
		err = json.NewDecoder(r.Body).Decode(&e)
		r.Body.Close()
		if err != nil || r.StatusCode != tt.status || e.Type != api.TypeError || e.ErrorCode != tt.status || !strings.Contains(e.Error, tt.text) {
			t.Errorf("%s %s: %d %+v, %v; want %d and %q", tt.method, tt.path, r.StatusCode, e, err, tt.status, tt.text)
		}
	}
	if req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://netctl/1.0", nil); req != nil {
		req.Header.Set("X-Long", strings.Repeat("x", 2*maxHeader))
		r, err := b.transport().RoundTrip(req) // the answer is net/http's own
		if err == nil {
			r.Body.Close()
			if r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("an oversized header: %s", r.Status)
			}
		}
	}
	if r := b.get("/1.0"); !strings.Contains(r, `"server":"netctl"`) {
		t.Errorf("the daemon does not answer any more: %s", r)
	}
}

func TestPanicIsContained(t *testing.T) {
	b := newBench(t)
	b.speaker.mu.Lock()
	b.speaker.broken = nil
	b.speaker.mu.Unlock()
	d := &Daemon{log: discard(), hub: newHub()}
	d.metrics = newMetrics(d)
	h := d.recovered(d.envelope(func(*http.Request) (reply, error) { panic("boom") }, true, maxBody))
	rec := newRecorder()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "/1.0/x", nil)
	h.ServeHTTP(rec, req)
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "boom") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestFilter(t *testing.T) {
	n := api.Network{Name: "br0", Type: "bridge", Managed: true, Description: "two words", Config: map[string]string{"ipv4.nat": "true"}}
	for _, tt := range []struct {
		filter string
		match  bool
	}{
		{"", true},
		{"name eq br0", true},
		{"name eq br1", false},
		{"name ne br1", true},
		{"not name eq br0", false},
		{"name eq br1 or type eq bridge", true},
		{"name eq br0 and type eq ovn", false},
		{"config.ipv4.nat eq true", true},
		{"managed eq true", true},
		{`description eq "two words"`, true},
		{"nosuch eq x", false},
	} {
		match, err := parseFilter(tt.filter)
		if err != nil {
			t.Fatal(err)
		}
		if match(n) != tt.match {
			t.Errorf("%q: %t", tt.filter, !tt.match)
		}
	}
	for _, bad := range []string{"name", "name eq", "name is br0", "name eq br0 xor type eq x", `name eq "br0`, "and"} {
		if _, err := parseFilter(bad); code(err) != api.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
