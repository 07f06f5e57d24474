package sqlite

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netctl/db"
)

// fixture makes a file of schema 1 from the dump in testdata.
func fixture(t *testing.T) string {
	t.Helper()
	dump, err := os.ReadFile("testdata/v1.sql")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "v1.db")
	shell(t, path, string(dump))
	return path
}

func objects(t *testing.T, s db.Store) string {
	t.Helper()
	o, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, o := range o.List("") {
		b.WriteString(o.Key + "=" + string(o.Value) + "\n")
	}
	return b.String()
}

const fixtureObjects = `/network/br0={"type":"bridge","description":"customers","config":{"ipv4.address":"192.0.2.1/24"}}
/server={"config":{"core.bgp_asn":"65001"}}
`

// TestFixture opens what an earlier version wrote.
func TestFixture(t *testing.T) {
	t.Parallel()
	s := openAt(t, fixture(t), nil)
	if have := objects(t, s); have != fixtureObjects {
		t.Errorf("objects:\n%swant:\n%s", have, fixtureObjects)
	}
	ch, err := s.Watch(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if c := <-ch; c.Revision != 2 || len(c.Puts) != 1 {
		t.Errorf("history: %+v", c)
	}
	if rev := set(t, s, "/network/br1", 1); rev != 3 {
		t.Errorf("next revision %d, want 3", rev)
	}
}

// next is a step of some later version.
const nextStep = `ALTER TABLE objects ADD COLUMN owner TEXT;
	UPDATE objects SET value = json_set(value, '$.migrated', json('true'))`

func TestMigrate(t *testing.T) {
	t.Parallel()
	path := fixture(t)
	var log bytes.Buffer
	steps := append(migrations(), nextStep)
	s, err := open(t.Context(), path, nil, slog.New(slog.NewTextHandler(&log, nil)), steps)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if have := objects(t, s); strings.Count(have, `"migrated":true`) != 2 {
		t.Errorf("objects:\n%s", have)
	}
	if have := shell(t, path, "PRAGMA user_version"); have != "3\n" {
		t.Errorf("user_version is %s", have)
	}
	if have := shell(t, path, "SELECT name FROM networks"); have != "br0\n" {
		t.Errorf("view: %s", have)
	}
	if !strings.Contains(log.String(), "store migrated") || !strings.Contains(log.String(), path+".v1") {
		t.Errorf("log: %s", &log)
	}
	info, err := os.Stat(path + ".v1")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("copy: %v %v", info, err)
	}
	if have := objects(t, openAt(t, path+".v1", nil)); have != fixtureObjects {
		t.Errorf("the copy has:\n%s", have)
	}
}

// TestMigrationFails has the last of two steps fail: the file stays as it was.
func TestMigrationFails(t *testing.T) {
	t.Parallel()
	path := fixture(t)
	steps := append(migrations(), nextStep, "UPDATE nothing SET x = 1")
	if s, err := open(t.Context(), path, nil, discard, steps); err == nil {
		s.Close()
		t.Fatal("a failed migration was not noticed")
	} else if !strings.Contains(err.Error(), fmt.Sprintf("step %d", len(steps))) {
		t.Errorf("error %v does not name the step", err)
	}
	s := openAt(t, path, nil)
	if have := objects(t, s); have != fixtureObjects {
		t.Errorf("objects:\n%s", have)
	}
}
