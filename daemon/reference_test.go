package daemon

import (
	"bytes"
	"os"
	"testing"
)

// The reference page is what the table of routes says. UPDATE=1 rewrites it.
func TestReference(t *testing.T) {
	const name = "../doc/reference/api.md"
	var b bytes.Buffer
	if err := writeReference(&b, (&Daemon{}).routes()); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s is not up to date: run UPDATE=1 go test ./daemon", name)
	}
}
