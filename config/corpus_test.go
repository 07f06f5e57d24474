package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// TestCorpus holds the schemas to testdata: KIND-*.good.yml are accepted, and
// KIND-*.bad.yml are refused with the errors in KIND-*.bad.err. With UPDATE
// set in the environment it writes the errors.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yml"), func(t *testing.T) {
			kind, _, _ := strings.Cut(filepath.Base(file), "-")
			got := verdict(t, kind, readConfig(t, file))
			if strings.HasSuffix(file, ".good.yml") {
				if got != "" {
					t.Error(got)
				}
				return
			}
			golden := strings.TrimSuffix(file, ".yml") + ".err"
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, []byte(got+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got+"\n"); d != "" || got == "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func readConfig(tb testing.TB, file string) map[string]string {
	tb.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	m := map[string]string{}
	if err := yaml.Unmarshal(text, &m); err != nil {
		tb.Fatal(err)
	}
	return m
}

// verdict returns what Validate says about m, after making sure that Decode
// agrees.
func verdict(t *testing.T, kind string, m map[string]string) string {
	t.Helper()
	var invalid error
	switch kind {
	case "bridge":
		invalid = agree(t, BridgeSchema, m)
	case "server":
		invalid = agree(t, ServerSchema, m)
	case "instance":
		invalid = agree(t, InstanceSchema, m)
	case "nic":
		invalid = agree(t, NICSchema, m)
	default:
		t.Fatalf("no schema for %q", kind)
	}
	if invalid == nil {
		return ""
	}
	return invalid.Error()
}

// agree checks what must hold for every configuration: Validate and Decode
// find the same errors but for an Auto that remains, the keys set to their defaults mean the same as without
// them, and errors come in the order of the keys and show no secret.
func agree[T any](t interface {
	Helper()
	Fatalf(format string, args ...any)
}, s *Schema[T], m map[string]string,
) error {
	t.Helper()
	invalid := s.Validate(m)
	got, err := s.Decode(m)
	rest := slices.DeleteFunc(KeyErrors(err), func(e *KeyError) bool { return errors.Is(e, ErrUnresolved) })
	if d := cmp.Diff(fmt.Sprint(KeyErrors(invalid)), fmt.Sprint(rest)); d != "" {
		t.Fatalf("Decode does not agree with Validate on %v\n%s", m, d)
	}
	if err == nil {
		full := s.Defaults()
		for key, value := range m {
			if value != "" {
				full[key] = value
			}
		}
		again, err := s.Decode(full)
		if d := cmp.Diff(got, again, compare); d != "" || err != nil {
			t.Fatalf("defaults change the meaning: %v\n%s", err, d)
		}
	}
	errs := KeyErrors(invalid)
	if !slices.IsSortedFunc(errs, func(a, b *KeyError) int { return strings.Compare(a.Key, b.Key) }) {
		t.Fatalf("errors are not in order: %v", invalid)
	}
	for _, e := range errs {
		if s.IsSecret(e.Key) && e.Value != "" && e.Value != Masked {
			t.Fatalf("the error shows a secret: %v", e)
		}
	}
	return invalid
}

// values are what generated configurations consist of: for each type of key
// some that are good, some bad, and some that clash with others.
var values = []string{
	"", "true", "false", "auto", "none", "managed", "before", "0", "1", "9", "100", "179", "1280", "65000", "1h", "infinite", "eth0, eth1",
	"10.0.0.1/24", "10.0.0.1/32", "10.0.0.0/25", "10.0.1.0/24", "10.0.0.10-10.0.0.20", "10.0.0.15-10.0.0.30,10.0.0.40-10.0.0.50",
	"2001:db8::1/64", "2001:db8::1/80", "2001:db8::10-2001:db8::20", "2001:db8:1::/48", "192.0.2.1", "192.0.2.1:1179", "10.0.0.254",
	"2001:db8::1", "[2001:db8::1]:179", "02:00:00:00:00:01", "example.net", "secret words", "\x00", "***",
}

func configs[T any](s *Schema[T]) *rapid.Generator[map[string]string] {
	keys := []string{"unknown", "user.x", "bgp.peers..asn"}
	for _, k := range s.Keys() {
		for _, name := range []string{"a", "b"} {
			keys = append(keys, strings.Replace(k.Name, placeholder, name, 1))
		}
	}
	return rapid.MapOf(rapid.SampledFrom(keys), rapid.SampledFrom(values))
}

// Random values are nearly always wrong, so a second try keeps the good ones:
// what is left after the bad keys are dropped is often valid as a whole.
func TestValidateAgreesWithDecode(t *testing.T) {
	t.Run("server", rapid.MakeCheck(func(t *rapid.T) { agreeTwice(t, ServerSchema) }))
	t.Run("bridge", rapid.MakeCheck(func(t *rapid.T) { agreeTwice(t, BridgeSchema) }))
}

func agreeTwice[T any](t *rapid.T, s *Schema[T]) {
	m := configs(s).Draw(t, "config")
	for _, e := range KeyErrors(agree(t, s, m)) {
		delete(m, e.Key)
	}
	_ = agree(t, s, m)
}

// FuzzDecode takes the lines key=value of its input as a configuration.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		m := map[string]string{}
		if err := yaml.Unmarshal(text, &m); err != nil {
			f.Fatal(err)
		}
		var b strings.Builder
		for key, value := range m {
			fmt.Fprintf(&b, "%s=%s\n", key, value)
		}
		f.Add(b.String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		m := map[string]string{}
		for line := range strings.Lines(text) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			m[key] = value
		}
		_ = agree(t, BridgeSchema, m)
		_ = agree(t, ServerSchema, m)
		BridgeSchema.Names(text)
	})
}
