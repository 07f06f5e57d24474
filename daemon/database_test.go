package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netctl/api"
	"netctl/db"
	"netctl/db/sqlite"
)

// netctld runs the command and returns what it prints.
func netctld(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	cmd := Command(&log)
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// A backup is restored below a running daemon like any other write.
func TestRestoreRunning(t *testing.T) {
	b := newBench(t)
	b.enable()
	file := filepath.Join(t.TempDir(), "backup.db")
	if out, err := netctld(t, "--dir", b.dir, "db", "backup", file); err != nil || !strings.Contains(out, "holds 1 network of revision") {
		t.Fatalf("%s %v", out, err)
	}
	if out, err := netctld(t, "--dir", b.dir, "db", "backup", file); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("over another file: %s %v", out, err)
	}
	b.applied(b.CreateNetwork(t.Context(), api.NetworksPost{Name: "br1"}))
	b.applied(b.PatchNetwork(t.Context(), "br0", api.NetworkPatch{Config: map[string]string{"bgp.peers.tor.password": "changed"}}, ""))
	before, _ := b.Status(t.Context())
	out, err := netctld(t, "--dir", b.dir, "db", "restore", file)
	if err != nil || !strings.Contains(out, "restored 1 network") {
		t.Fatalf("%s %v", out, err)
	}
	b.applied(before.Revision+1, nil)
	if c := b.speaker.last(); len(b.host.links.Links) != 1 || c.Peers[0].Password != "hunter2" {
		t.Errorf("links %+v, peers %+v", b.host.links.Links, c.Peers)
	}
	_, kept, _ := strings.Cut(strings.TrimSpace(out), "kept as ")
	if out, err := netctld(t, "db", "check", kept); err != nil || !strings.Contains(out, "2 networks") {
		t.Errorf("what was replaced: %s %v", out, err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "restore-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What no daemon could start with is refused, by the command and by the
// daemon, and nothing has changed.
func TestRestoreRefused(t *testing.T) {
	b := newBench(t)
	b.enable()
	dir := t.TempDir()
	bad, junk := filepath.Join(dir, "bad.db"), filepath.Join(dir, "junk.db")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(t.Context(), bad, nil, discard())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Update(t.Context(), func(tx *db.Tx) error {
		return tx.Put(networkKey("br0"), schemaVersion, storedNetwork{"bridge", "", map[string]string{"ipv4.address": "nonsense"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, _ := b.Status(t.Context())
	for file, text := range map[string]string{bad: "ipv4.address", junk: "damaged or not a store", filepath.Join(dir, "none.db"): "no such file"} {
		if out, err := netctld(t, "--dir", b.dir, "db", "restore", file); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %s %v", file, out, err)
		}
		data, _ := os.ReadFile(file)
		if _, err := b.Restore(t.Context(), data); code(err) != api.Invalid {
			t.Errorf("%s through the API: %v", file, err)
		}
	}
	if after, _ := b.Status(t.Context()); after.Revision != before.Revision {
		t.Errorf("revision went from %d to %d", before.Revision, after.Revision)
	}
	if kept, _ := filepath.Glob(filepath.Join(b.dir, "*.replaced*")); len(kept) > 0 {
		t.Errorf("left behind: %v", kept)
	}
}

// Without a daemon, the file is put into place.
func TestRestoreStopped(t *testing.T) {
	b := newBench(t)
	b.enable()
	file := filepath.Join(t.TempDir(), "backup.db")
	if out, err := netctld(t, "--dir", b.dir, "db", "backup", file); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	empty := t.TempDir()
	if out, err := netctld(t, "--dir", empty, "db", "restore", file); err != nil || strings.Contains(out, "kept") {
		t.Fatalf("%s %v", out, err)
	}
	path := filepath.Join(empty, databaseName)
	if out, err := netctld(t, "--dir", empty, "db", "check"); err != nil || !strings.Contains(out, path+" is sound: 1 network") {
		t.Errorf("%s %v", out, err)
	}
	if err := os.Truncate(path, 5000); err != nil {
		t.Fatal(err)
	}
	if out, err := netctld(t, "--dir", empty, "db", "check"); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("%s %v", out, err)
	}
	if out, err := netctld(t, "--dir", empty, "db", "restore", file); err != nil || !strings.Contains(out, "kept as "+path) {
		t.Errorf("%s %v", out, err)
	}
	if out, err := netctld(t, "--dir", empty, "db", "check"); err != nil {
		t.Errorf("%s %v", out, err)
	}
}
