package daemon

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"netctl/api"
)

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// scrape asks for metrics as Prometheus does, and returns the status and the
// body; without an answer, the status is 0.
func scrape(t *testing.T, method, url string, keys ...tls.Certificate) (status int, body string) {
	t.Helper()
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, Certificates: keys}, //nolint:gosec // the server's key is not what is tested
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(raw)
}

func (b *bench) configure(cfg map[string]string) {
	b.t.Helper()
	b.applied(b.PatchServer(b.t.Context(), api.ServerPut{Config: cfg}, ""))
}

func TestMetricsInTheClear(t *testing.T) {
	b := newBench(t)
	addr := freeAddress(t)
	b.configure(map[string]string{"core.metrics_address": addr, "core.metrics_authentication": "false"})
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/1.0/metrics", 200},
		{"POST", "/1.0/metrics", 405},
		{"GET", "/1.0", 404},
		{"GET", "/1.0/networks", 404},
		{"PUT", "/internal/shutdown", 404},
	} {
		if status, body := scrape(t, tt.method, "http://"+addr+tt.path); status != tt.status || (status == 200) != strings.Contains(body, "netctl_build_info") {
			t.Errorf("%s %s: %d %.200s", tt.method, tt.path, status, body)
		}
	}

	moved := freeAddress(t)
	b.configure(map[string]string{"core.metrics_address": moved})
	if status, _ := scrape(t, "GET", "http://"+addr+"/1.0/metrics"); status != 0 {
		t.Errorf("the old address answers with %d", status)
	}
	if status, _ := scrape(t, "GET", "http://"+moved+"/1.0/metrics"); status != 200 {
		t.Errorf("the new address answers with %d", status)
	}
	b.configure(map[string]string{"core.metrics_address": ""})
	if status, _ := scrape(t, "GET", "http://"+moved+"/1.0/metrics"); status != 0 {
		t.Errorf("an address that is not set any more answers with %d", status)
	}
}

func TestMetricsForTrustedClients(t *testing.T) {
	s := newSite(t)
	addr := freeAddress(t)
	s.configure(map[string]string{"core.metrics_address": addr})
	stranger, friend := s.key("stranger"), s.key("prometheus")
	if _, err := s.CreateCertificate(t.Context(), trusting("prometheus", friend, true)); err != nil {
		t.Fatal(err)
	}
	url := "https://" + addr + "/1.0/metrics"
	if status, body := scrape(t, "GET", url, friend); status != 200 || !strings.Contains(body, "netctl_build_info") {
		t.Errorf("a trusted client: %d %.200s", status, body)
	}
	for who, keys := range map[string][]tls.Certificate{"nobody": nil, "a stranger": {stranger}} {
		if status, body := scrape(t, "GET", url, keys...); status != 403 || strings.Contains(body, "netctl_build_info") {
			t.Errorf("%s: %d %.200s", who, status, body)
		}
	}
	if status, _ := scrape(t, "GET", "https://"+addr+"/1.0/networks", friend); status != 404 {
		t.Errorf("the rest of the API: %d", status)
	}
	if status, _ := scrape(t, "GET", "http://"+addr+"/1.0/metrics"); status == 200 {
		t.Error("metrics are served without TLS")
	}

	// A change of the authentication alone takes effect too.
	s.configure(map[string]string{"core.metrics_authentication": "false"})
	if status, body := scrape(t, "GET", "http://"+addr+"/1.0/metrics"); status != 200 {
		t.Errorf("without authentication: %d %.200s", status, body)
	}
	s.configure(map[string]string{"core.metrics_authentication": ""})
	if status, _ := scrape(t, "GET", "http://"+addr+"/1.0/metrics"); status == 200 {
		t.Error("metrics are served to everybody, after authentication was asked for again")
	}
}

// The write that asks for a port in use is told so; the rest goes on, and the
// port is taken once it is free.
func TestMetricsPortInUse(t *testing.T) {
	b := newBench(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	rev, err := b.PatchServer(t.Context(), api.ServerPut{Config: map[string]string{"core.metrics_address": addr, "core.metrics_authentication": "false"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.WaitApplied(t.Context(), rev, time.Second); err == nil || !strings.Contains(err.Error(), "metrics") || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
	b.applied(b.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0"}))
	l.Close()
	b.eventually("metrics", func() bool {
		status, _ := scrape(t, "GET", "http://"+addr+"/1.0/metrics")
		return status == 200
	})
}
