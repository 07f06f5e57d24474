package daemon

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// A checker is a transport that holds every request and answer of a test to
// the OpenAPI document. An answer must be as it is described. A request that
// is not may be sent, since tests do so on purpose, and must be refused.
type checker struct {
	t      *testing.T
	next   http.RoundTripper
	router routers.Router
}

// newChecker returns a checker in front of next.
func newChecker(t *testing.T, next http.RoundTripper) *checker {
	t.Helper()
	d := loadOpenAPI(t)
	closeSchemas(d)
	r, err := gorillamux.NewRouter(d)
	if err != nil {
		t.Fatal(err)
	}
	return &checker{t, next, r}
}

// closeSchemas makes fields errors that the document does not have. It is
// published without that, so that clients made from it accept later versions.
func closeSchemas(d *openapi3.T) {
	no := false
	for name, s := range d.Components.Schemas {
		if name != "Envelope" && s.Value.Properties != nil {
			s.Value.AdditionalProperties = openapi3.AdditionalProperties{Has: &no}
		}
	}
}

// CloseIdleConnections lets http.Client do so.
func (c *checker) CloseIdleConnections() {
	if t, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (c *checker) RoundTrip(r *http.Request) (*http.Response, error) {
	in, reqErr := c.request(r)
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if reqErr != nil && resp.StatusCode < http.StatusBadRequest {
		c.t.Errorf("%s %s is answered with %d, though: %v", r.Method, r.URL, resp.StatusCode, reqErr)
	}
	if in == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, nil
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	err = openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		c.t.Errorf("answer %d to %s %s: %v", resp.StatusCode, r.Method, r.URL, err)
	}
	return resp, nil
}

// request says what is wrong with a request. Without a route it returns nil
// for the input too.
func (c *checker) request(r *http.Request) (*openapi3filter.RequestValidationInput, error) {
	route, vars, err := c.router.FindRoute(r)
	if err != nil {
		return nil, err
	}
	copied := r.Clone(r.Context())
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body, copied.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
	}
	in := &openapi3filter.RequestValidationInput{
		Request: copied, PathParams: vars, Route: route,
		Options: &openapi3filter.Options{RejectWhenRequestBodyNotSpecified: true},
	}
	if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
		return in, err
	}
	return in, knownQuery(route.Operation, r)
}

// knownQuery refuses parameters that are not described. Those that clients add
// to everything pass.
func knownQuery(op *openapi3.Operation, r *http.Request) error {
	for name := range r.URL.Query() {
		if op.Parameters.GetByInAndName("query", name) == nil && !strings.Contains(" recursion "+scope+" ", " "+name+" ") {
			return fmt.Errorf("parameter %s is not described", name)
		}
	}
	return nil
}

func TestCheckerNoticesEverything(t *testing.T) {
	for _, tt := range []struct {
		name, method, url, body string
		status                  int
		answer                  string
		wrong                   bool
	}{
		{"right", "GET", "/1.0/bgp/peers?recursion=1", "", 200, `[]`, false},
		{"unknown path", "GET", "/1.0/nosuch", "", 200, `[]`, true},
		{"unknown path refused", "GET", "/1.0/nosuch", "", 404, `null`, false},
		{"unknown parameter", "GET", "/1.0/bgp/peers?colour=green", "", 200, `[]`, true},
		{"null for a list", "GET", "/1.0/bgp/peers", "", 200, `null`, true},
		{"unknown field", "GET", "/1.0/status", "", 200, `{"revision":1,"applied":1,"targets":[],"mood":"good"}`, true},
		{"missing field", "GET", "/1.0/status", "", 200, `{"revision":1,"applied":1}`, true},
		{"unknown status", "GET", "/1.0/status", "", 201, `{"revision":1,"applied":1,"targets":[]}`, true},
		{"bad body accepted", "POST", "/1.0/bgp/peers/192.0.2.1", `{"action":1}`, 200, `null`, true},
		{"bad body refused", "POST", "/1.0/bgp/peers/192.0.2.1", `{"action":1}`, 400, `null`, false},
		{"created without a location", "POST", "/1.0/networks", `{"name":"br0"}`, 201, `null`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			probe := &testing.T{}
			c := newChecker(t, answerWith(tt.status, tt.answer))
			c.t = probe
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://netctld"+tt.url, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			if tt.body == "" {
				req.Body = http.NoBody
			}
			resp, err := c.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if probe.Failed() != tt.wrong {
				t.Errorf("noticed: %t", probe.Failed())
			}
		})
	}
}

// answerWith is a transport that answers everything in the same way.
type canned struct {
	status   int
	metadata string
}

func answerWith(status int, metadata string) http.RoundTripper { return canned{status, metadata} }

func (a canned) RoundTrip(*http.Request) (*http.Response, error) {
	rec := newRecorder()
	rec.Header().Set("Content-Type", "application/json")
	rec.WriteHeader(a.status)
	fmt.Fprintf(rec, `{"type":"sync","operation":"","error_code":0,"error":"","metadata":%s}`, a.metadata)
	return rec.Result(), nil
}
