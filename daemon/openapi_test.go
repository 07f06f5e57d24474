package daemon

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"go.yaml.in/yaml/v3"

	"netctl/doc"
)

// The OpenAPI document is what the table of routes and the types of package
// api say. UPDATE=1 rewrites it.
func TestOpenAPI(t *testing.T) {
	want := openAPIPage(t)
	const name = "../doc/reference/openapi.yaml"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s is not up to date: run UPDATE=1 go test ./daemon", name)
	}
	if err := loadOpenAPI(t).Validate(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	b := newBench(t)
	r, err := b.http().Get("http://netctl/1.0/openapi")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	d, err := openapi3.NewLoader().LoadFromIoReader(r.Body)
	if err != nil || d.Paths.Value("/1.0/networks/{name}") == nil || r.Header.Get("Content-Type") != openAPIMedia {
		t.Errorf("served as %s: %v, %+v", r.Header.Get("Content-Type"), err, d)
	}
}

// loadOpenAPI returns the document that is checked in.
func loadOpenAPI(t *testing.T) *openapi3.T {
	t.Helper()
	d, err := openapi3.NewLoader().LoadFromData(doc.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// openAPIPage returns the document as it is checked in: its parts in a fixed
// order, and everything in them sorted.
func openAPIPage(t *testing.T) []byte {
	t.Helper()
	raw, err := json.Marshal(newOpenAPI(t).document())
	if err != nil {
		t.Fatal(err)
	}
	var parts map[string]any
	if err := yaml.Unmarshal(raw, &parts); err != nil { // JSON is YAML; whole numbers stay whole
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("# Generated from daemon/routes.go by UPDATE=1 go test ./daemon. Do not edit.\n")
	for _, part := range []string{"openapi", "info", "paths", "components"} {
		enc := yaml.NewEncoder(&b)
		enc.SetIndent(2)
		if err := enc.Encode(map[string]any{part: parts[part]}); err != nil {
			t.Fatal(err)
		}
		delete(parts, part)
	}
	if len(parts) > 0 {
		t.Fatalf("parts left out: %v", slices.Collect(maps.Keys(parts)))
	}
	return b.Bytes()
}
