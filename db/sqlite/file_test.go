package sqlite

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netctl/db"
)

// shell runs a statement in the sqlite3 shell, as an operator would.
func shell(t *testing.T, path, statement string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sqlite3", "-batch", "-bail", path, statement).CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3 %s %q: %v\n%s", path, statement, err, out)
	}
	return string(out)
}

// fill puts what a small host has.
func fill(t *testing.T, s *Store) {
	t.Helper()
	type config = map[string]map[string]string
	set(t, s, "/server", config{"config": {"core.bgp_asn": "65001"}})
	set(t, s, "/server/member/host1", config{"config": {"core.bgp_address": ":179"}})
	set(t, s, "/network/br0", map[string]any{
		"type": "bridge", "description": "customers", "config": map[string]string{"ipv4.address": "192.0.2.1/24", "ipv4.nat": "false"},
	})
	set(t, s, "/network/br0/member/host1", config{"config": {"bridge.external_interfaces": "eth1"}})
	set(t, s, "/network/br1", map[string]any{"type": "bridge", "description": "", "config": map[string]string{}})
}

func TestViews(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "views.db")
	s := openAt(t, path, nil)
	fill(t, s)
	set(t, s, "/forward/br0/2001:db8::7", map[string]any{"description": "web", "config": map[string]string{"target_address": "fd42::9"}, "ports": []string{}})
	set(t, s, "/acl/web", map[string]any{"description": "web", "config": map[string]string{}, "ingress": []string{}, "egress": []string{}})
	set(t, s, "/instance/db", map[string]any{"type": "container"})
	set(t, s, "/instance/web", map[string]any{
		"type": "container", "running": true, "config": map[string]string{"user.x": "1"},
		"devices": map[string]map[string]string{"eth0": {"network": "br0", "mtu": "1400"}},
	})
	for statement, want := range map[string]string{ // with the store open, as on a running host
		`SELECT * FROM networks`: `br0|bridge|customers|{"ipv4.address":"192.0.2.1/24","ipv4.nat":"false"}|3` + "\n" +
			`br1|bridge||{}|5` + "\n",
		`SELECT * FROM network_members`: `br0|host1|{"bridge.external_interfaces":"eth1"}|4` + "\n",
		`SELECT * FROM network_config ORDER BY key`: "br0|host1|bridge.external_interfaces|eth1\n" +
			"br0||ipv4.address|192.0.2.1/24\nbr0||ipv4.nat|false\n",
		`SELECT * FROM forwards`: `br0|2001:db8::7|web|fd42::9|[]|{"target_address":"fd42::9"}|6` + "\n",
		`SELECT * FROM acls`:     `web|web|[]|[]|{}|7` + "\n",
		`SELECT * FROM instances`: "db|container||0|||8\n" +
			`web|container||1|{"user.x":"1"}|{"eth0":{"mtu":"1400","network":"br0"}}|9` + "\n",
		`SELECT * FROM instance_devices ORDER BY key`: "web|eth0|mtu|1400\nweb|eth0|network|br0\n",
		`SELECT * FROM server ORDER BY member`: `|{"core.bgp_asn":"65001"}|1` + "\n" +
			`host1|{"core.bgp_address":":179"}|2` + "\n",
		`SELECT * FROM server_config ORDER BY key`: "host1|core.bgp_address|:179\n|core.bgp_asn|65001\n",
	} {
		if diff := cmp.Diff(want, shell(t, path, statement)); diff != "" {
			t.Errorf("%s (-want +have):\n%s", statement, diff)
		}
	}
}

func TestFileMode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mode.db")
	fill(t, openAt(t, path, nil))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600: passwords are inside", info.Name(), info.Mode().Perm())
		}
	}
	left, err := filepath.Glob(path + ".new*")
	if err != nil || len(left) > 0 {
		t.Errorf("files left behind: %v %v", left, err)
	}
}

func TestPragmas(t *testing.T) {
	t.Parallel()
	s := openAt(t, filepath.Join(t.TempDir(), "pragmas.db"), nil)
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000",
	} {
		var have string
		if err := s.conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&have); err != nil || have != want {
			t.Errorf("%s is %s (%v), want %s", pragma, have, err, want)
		}
	}
	if _, err := s.reader.ExecContext(t.Context(), "DELETE FROM objects"); err == nil {
		t.Error("a reader can write")
	}
}

// TestChangedByHand has an operator change the file below a running daemon.
func TestChangedByHand(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hand.db")
	s := openAt(t, path, nil)
	fill(t, s)
	before, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shell(t, path, `UPDATE objects SET value = json_set(value, '$.description', 'by hand') WHERE key = '/network/br1'`)
	set(t, s, "/network/br2", 1)
	after, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(after.Get("/network/br1").Value), "by hand") {
		t.Error("the change by hand was not noticed")
	}
	if before.Get("/network/br0") != after.Get("/network/br0") {
		t.Error("what was not changed lost its identity")
	}
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	s := openAt(t, path, nil)
	set(t, s, "/a", 1)
	slow, err := s.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.conn.ExecContext(t.Context(), `UPDATE store SET revision = ?`, history); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, open := <-slow; open {
		<-slow // the first change was on its way
	}

	s = openAt(t, path, nil)
	for i := range 3 {
		set(t, s, "/a", i+2)
	}
	if rev := shell(t, path, `SELECT min(revision), count(*) FROM changes`); rev != "10001|3\n" {
		t.Errorf("changes that are kept: %s", rev)
	}
	if _, err := s.Watch(t.Context(), 2); !errors.Is(err, db.ErrCompacted) {
		t.Errorf("watch from before the history: %v", err)
	}
}

// TestWatcherFallsBehind compacts the history below a watcher.
func TestWatcherFallsBehind(t *testing.T) {
	t.Parallel()
	s := openAt(t, filepath.Join(t.TempDir(), "behind.db"), nil)
	for i := range watchPage + 2 {
		set(t, s, "/a", i)
	}
	ch, err := s.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if c := <-ch; c.Revision != 1 { // its page is read by now
		t.Fatalf("first change: %+v", c)
	}
	if _, err := s.conn.ExecContext(t.Context(), `UPDATE store SET compacted = revision`); err != nil {
		t.Fatal(err)
	}
	var last db.Change
	for c := range ch {
		last = c
	}
	if !errors.Is(last.Err, db.ErrCompacted) || last.Revision != 0 {
		t.Errorf("the last change is %+v, want ErrCompacted", last)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "close.db")
	s := openAt(t, path, nil)
	set(t, s, "/a", 1)
	unread, err := s.Watch(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range unread {
	}
	if err := s.Close(); !errors.Is(err, db.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	if _, err := s.Update(context.Background(), func(*db.Tx) error { return nil }); !errors.Is(err, db.ErrClosed) {
		t.Errorf("update: %v", err)
	}
	if _, err := s.Watch(context.Background(), 0); err == nil {
		t.Error("watching a closed store")
	}
	if o, err := s.Snapshot(context.Background()); err != nil || o.Len() != 1 {
		t.Errorf("snapshot: %v %v", o, err)
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the WAL was left behind: %v", err)
	}
}

// TestRefused opens files that must not be opened, and finds them untouched.
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(t *testing.T, path string)
		want   error
	}{
		"newer":     {func(t *testing.T, path string) { t.Helper(); shell(t, path, "PRAGMA user_version = 99") }, db.ErrNewer},
		"another's": {func(t *testing.T, path string) { t.Helper(); shell(t, path, "PRAGMA application_id = 1") }, db.ErrCorrupt},
		"empty": {func(t *testing.T, path string) {
			t.Helper()
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		}, db.ErrCorrupt},
		"cut off": {func(t *testing.T, path string) {
			t.Helper()
			if err := os.Truncate(path, 5000); err != nil {
				t.Fatal(err)
			}
		}, db.ErrCorrupt},
		"text": {func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(strings.Repeat("networks: []\n", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, db.ErrCorrupt},
		"overwritten": {func(t *testing.T, path string) {
			t.Helper()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 4096; i < len(data); i += 4096 {
				copy(data[i:], bytes.Repeat([]byte{0xa5}, 512))
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}, db.ErrCorrupt},
		"lost": {func(t *testing.T, path string) {
			t.Helper()
			if err := os.Rename(path, path+"-wal"); err != nil {
				t.Fatal(err)
			}
		}, db.ErrCorrupt},
		"directory": {func(t *testing.T, path string) {
			t.Helper()
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, db.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "refused.db")
			s := openAt(t, path, nil)
			fill(t, s)
			s.Close()
			test.damage(t, path)
			before, _ := os.ReadFile(path)
			s, err := Open(t.Context(), path, nil, discard)
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %v with the path", err, test.want)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestNoDirectory(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), filepath.Join(t.TempDir(), "none", "x.db"), nil, discard)
	if !errors.Is(err, db.ErrUnavailable) {
		t.Errorf("error %v, want db.ErrUnavailable", err)
	}
}

// TestFileTakenAway deletes or replaces the file below a running store: what
// would be lost at the next start is not acknowledged.
func TestFileTakenAway(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(path string) error{
		"deleted":  os.Remove,
		"moved":    func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, []byte("x"), 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "taken.db")
			s := openAt(t, path, nil)
			set(t, s, "/a", 1)
			if err := take(path); err != nil {
				t.Fatal(err)
			}
			_, err := s.Update(t.Context(), func(tx *db.Tx) error { return tx.Put("/a", 1, 2) })
			if !errors.Is(err, db.ErrUnavailable) || !strings.Contains(err.Error(), path) {
				t.Errorf("update: %v", err)
			}
			if o, err := s.Snapshot(t.Context()); err != nil || string(o.Get("/a").Value) != "1" {
				t.Errorf("snapshot: %v %v", o, err)
			}
			if name == "moved" {
				if err := os.Rename(path+".old", path); err != nil {
					t.Fatal(err)
				}
				set(t, s, "/a", 3)
			}
		})
	}
}
