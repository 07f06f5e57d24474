// Package openapi holds what a real daemon with a real session answers to the
// OpenAPI document that it serves.
package openapi

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"netctl/test/lab"
)

func TestMain(m *testing.M) {
	code := m.Run()
	lab.RemoveBinaries()
	os.Exit(code)
}

func bird(ns *lab.NS, c lab.RouterConfig) lab.Router { return lab.NewBIRD(ns, c) }

// listen is the address of a forward.
const listen = "203.0.113.7"

func TestAnswers(t *testing.T) {
	s := lab.NewSite(t, bird, false)
	s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
	s.WaitRoutes(1, "198.51.100.0/24")
	s.Daemon.CLI("instance", "create", "br0", "--vm", "--nic", "network=br0", "--start")
	s.Daemon.CLI("network", "acl", "create", "br0")
	s.Daemon.CLI("network", "forward", "create", "br0", listen, "target_address=198.51.100.7")

	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(s.Daemon.Dir, "unix.socket"))
	}}}
	t.Cleanup(client.CloseIdleConnections)
	doc, err := openapi3.NewLoader().LoadFromData(fetch(t, client, "/1.0/openapi"))
	if err != nil {
		t.Fatal(err)
	}
	strict(doc)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.NewReplacer("projects/{name}", "projects/default", "profiles/{name}", "profiles/default", "{listen}", listen, "{name}", "br0", "{address}", s.RouterAddr(), "{id}", "nosuch", "{fingerprint}", "nosuch")
	asked := 0
	const query = "?prefix=198.51.100.7&recursion="
	for path, item := range doc.Paths.Map() {
		if item.Get == nil || item.Get.Responses.Value("101") != nil {
			continue
		}
		for _, recursion := range []string{"0", "1"} {
			asked++
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://netctld"+names.Replace(path)+query+recursion, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			check(t, client, router, req)
		}
	}
	if asked < 20 {
		t.Errorf("only %d requests", asked)
	}
}

// strict makes fields errors that the document does not have.
func strict(doc *openapi3.T) {
	no := false
	for name, s := range doc.Components.Schemas {
		if name != "Envelope" && s.Value.Properties != nil {
			s.Value.AdditionalProperties = openapi3.AdditionalProperties{Has: &no}
		}
	}
}

func fetch(t *testing.T, client *http.Client, path string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://netctld"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// check sends a request and holds the answer to the document.
func check(t *testing.T, client *http.Client, router routers.Router, req *http.Request) {
	t.Helper()
	route, vars, err := router.FindRoute(req)
	if err != nil {
		t.Fatalf("%s: %v", req.URL, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	err = openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: vars, Route: route},
		Status:                 resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(raw)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		t.Errorf("answer %d to %s: %v", resp.StatusCode, req.URL, err)
	}
	if resp.StatusCode != http.StatusOK && !strings.Contains(req.URL.Path, "nosuch") {
		t.Errorf("%s is answered with %d: %s", req.URL, resp.StatusCode, raw)
	}
}
