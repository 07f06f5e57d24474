package daemon

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netctl/api"
)

// writes are the requests that have a body.
var writes = []struct{ method, path string }{
	{"PUT", "/1.0"},
	{"PATCH", "/1.0"},
	{"POST", "/1.0/networks"},
	{"PUT", "/1.0/networks/br0"},
	{"PATCH", "/1.0/networks/br0"},
	{"POST", "/1.0/networks/br0?dry-run=1"},
	{"POST", "/1.0/networks/br0/forwards"},
	{"PUT", "/1.0/networks/br0/forwards/198.51.100.7"},
	{"PATCH", "/1.0/networks/br0/forwards/198.51.100.7"},
	{"POST", "/1.0/network-acls"},
	{"PUT", "/1.0/network-acls/web"},
	{"PATCH", "/1.0/network-acls/web"},
	{"POST", "/1.0/network-acls/web?dry-run=1"},
	{"POST", "/1.0/instances"},
	{"PUT", "/1.0/instances/web"},
	{"PATCH", "/1.0/instances/web"},
	{"POST", "/1.0/instances/web"},
	{"PUT", "/1.0/instances/web/state"},
	{"POST", "/1.0/bgp/peers/192.0.2.1"},
	{"POST", "/1.0/certificates"},
	{"PUT", "/internal/database"},
}

// FuzzBodies sends bodies to everything that takes one. Whatever is in them,
// the answer is an envelope and no error of ours, and the daemon goes on.
func FuzzBodies(f *testing.F) {
	dir := f.TempDir()
	host := &fakeHost{changed: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{
			Dir: dir, Log: slog.New(slog.DiscardHandler), StopMode: StopMode,
			Parts: func(_ string, _ *slog.Logger, before func(context.Context)) (Parts, error) {
				host.before = before
				return Parts{Links: host, Firewall: fakeFilter{host}, DHCP: fakeServices{host}, Speaker: &fakeSpeaker{}}, nil
			},
		})
	}()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, SocketName))
	}}
	f.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			f.Error(err)
		}
	})
	send := func(method, path, body string) (int, []byte, error) {
		req, err := http.NewRequestWithContext(context.Background(), method, "http://netctl"+path, strings.NewReader(body))
		if err != nil {
			return 0, nil, err
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, b, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if status, _, _ := send("GET", "/internal/ready", ""); status == http.StatusOK {
			break
		} else if time.Now().After(deadline) {
			f.Fatalf("not ready: %d", status)
		}
	}
	for _, body := range []string{
		``, `{}`, `null`, `[]`, `{"name":"br0","type":"bridge","config":{"ipv4.address":"10.0.0.1/24","bgp.peers.tor.address":"192.0.2.1","bgp.peers.tor.asn":"65000"}}`,
		`{"config":{"core.bgp_asn":"65001","core.bgp_address":":179","user.x":"y"}}`, `{"name":"br1"}`, `{"action":"reset"}`, `{"file":"bm90"}`, `{"description":"\u0000","config":null}`,
		`{"listen_address":"198.51.100.7","config":{"target_address":"10.0.0.9"},"ports":[{"protocol":"tcp","listen_port":"80,8000-8010","target_port":"80","target_address":"10.0.0.8"}]}`,
		`{"name":"web","ingress":[{"action":"allow","state":"enabled","protocol":"tcp","destination_port":"80,8000-8010","source":"10.0.0.0/8,10.9.0.1-10.9.0.9"}],"egress":[{"action":"drop","state":"logged","protocol":"icmp6","icmp_type":"128"}]}`,
		`{"name":"web","devices":{"eth0":{"network":"br0","ipv4.address":"10.0.0.9"},"eth1":null},"start":true}`, `{"action":"start","pid":1}`, `{"action":"stop"}`,
		`{"type":"client","name":"x","token":true}`, `{"certificate":"MIIB"}`, strings.Repeat(`[`, 20000), `{"config":{"ipv6.address":"auto","dns.domain":"a..b"}}`,
	} {
		for i := range writes {
			f.Add(byte(i), body)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, body string) {
		w := writes[int(which)%len(writes)]
		status, b, err := send(w.method, w.path, body)
		if err != nil {
			t.Fatalf("%s %s: %v", w.method, w.path, err)
		}
		var e api.Envelope
		if err := json.Unmarshal(b, &e); err != nil {
			t.Errorf("%s %s: %d %s", w.method, w.path, status, b)
		}
		if status >= 500 && status != http.StatusNotImplemented {
			t.Errorf("%s %s: %d %s", w.method, w.path, status, b)
		}
	})
}
