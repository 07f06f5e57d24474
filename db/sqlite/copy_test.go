package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"netctl/db"
)

// text lists the objects of a snapshot.
func text(o *db.Objects) string {
	var b strings.Builder
	for _, o := range o.List("") {
		fmt.Fprintf(&b, "%s=%s\n", o.Key, o.Value)
	}
	return b.String()
}

// A copy that is made while eight writers are at it is that of one revision,
// with everything that was acknowledged before.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "load.db")
	s := openAt(t, path, nil)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				// Both or none.
				_, _ = s.Update(ctx, func(tx *db.Tx) error {
					return errors.Join(tx.Put(fmt.Sprintf("/a/%d", w), 1, i), tx.Put(fmt.Sprintf("/b/%d", w), 1, i))
				})
			}
		})
	}
	for i := range 10 {
		before, err := s.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, fmt.Sprintf("copy%d.db", i))
		if err := Backup(t.Context(), path, to); err != nil {
			t.Fatal(err)
		}
		o, err := Inspect(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		if o.Revision() < before.Revision() {
			t.Errorf("copy %d is of revision %d, %d was acknowledged", i, o.Revision(), before.Revision())
		}
		for w := range 8 {
			a, b := o.Get(fmt.Sprintf("/a/%d", w)), o.Get(fmt.Sprintf("/b/%d", w))
			if (a == nil) != (b == nil) || a != nil && !bytes.Equal(a.Value, b.Value) {
				t.Errorf("copy %d has half of an update: %v %v", i, a, b)
			}
		}
		info, err := os.Stat(to)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("copy %d: %v %v", i, info.Mode(), err)
		}
	}
	stop()
	writers.Wait()
	if err := Backup(t.Context(), path, filepath.Join(dir, "copy0.db")); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a copy over another: %v", err)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "inspect.db")
	if _, err := Inspect(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	s := openAt(t, path, nil)
	fill(t, s)
	want, _ := s.Snapshot(t.Context())
	for _, state := range []string{"in use", "closed"} {
		o, err := Inspect(t.Context(), path)
		if err != nil || text(o) != text(want) || o.Revision() != want.Revision() {
			t.Errorf("%s: %v\n%s", state, err, text(o))
		}
		s.Close()
	}
	if o, err := Inspect(t.Context(), fixture(t)); err != nil || text(o) != fixtureObjects {
		t.Errorf("an older file: %v", err)
	}
	shell(t, path, "PRAGMA user_version = 99")
	if _, err := Inspect(t.Context(), path); !errors.Is(err, db.ErrNewer) {
		t.Errorf("a newer file: %v", err)
	}
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(t.Context(), path); !errors.Is(err, db.ErrCorrupt) {
		t.Errorf("no store: %v", err)
	}
}

// TestReplace restores below a running store.
func TestReplace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "replace.db")
	refuse := errors.New("refused")
	s := openAt(t, path, func(_ context.Context, o *db.Objects) error {
		if o.Get("/bad") != nil {
			return refuse
		}
		return nil
	})
	fill(t, s)
	old, _ := s.Snapshot(t.Context())
	for half := range 2 { // more than one update could undo
		if _, err := s.Update(t.Context(), func(tx *db.Tx) error {
			var errs []error
			for i := range db.MaxOps {
				errs = append(errs, tx.Put(fmt.Sprintf("/network/n%d-%d", half, i), 1, i))
			}
			return errors.Join(errs...)
		}); err != nil {
			t.Fatal(err)
		}
	}
	set(t, s, "/network/br0", "changed")
	now, _ := s.Snapshot(t.Context())
	changes, err := s.Watch(t.Context(), now.Revision())
	if err != nil {
		t.Fatal(err)
	}
	rev, err := s.Replace(t.Context(), old)
	if err != nil || rev != now.Revision()+1 {
		t.Fatalf("revision %d after %d, %v", rev, now.Revision(), err)
	}
	if c := <-changes; len(c.Puts) != 1 || len(c.Deletes) != 2*db.MaxOps {
		t.Errorf("the change: %d puts, %d deletes", len(c.Puts), len(c.Deletes))
	}
	if again, err := s.Replace(t.Context(), old); err != nil || again != rev {
		t.Errorf("the same once more: revision %d, %v", again, err)
	}
	bad := db.NewObjects(1, []*db.Object{{Key: "/bad", Value: []byte("1"), Schema: 1}})
	if _, err := s.Replace(t.Context(), bad); !errors.Is(err, refuse) {
		t.Errorf("the check was not asked: %v", err)
	}
	s.Close()
	o, err := Inspect(t.Context(), path)
	if err != nil || text(o) != text(old) || o.Revision() != rev {
		t.Errorf("after a reopen: %v\n%s", err, text(o))
	}
}

// TestInstall puts a copy in the place of whatever there is.
func TestInstall(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, path string){
		"sound":   func(*testing.T, string) {},
		"nothing": func(t *testing.T, path string) { t.Helper(); must(t, os.Remove(path)) },
		"damaged": func(t *testing.T, path string) { t.Helper(); must(t, os.WriteFile(path, []byte("hello"), 0o600)) },
		"newer":   func(t *testing.T, path string) { t.Helper(); shell(t, path, "PRAGMA user_version = 99") },
		"killed": func(t *testing.T, path string) { // with a WAL, as a process that was killed leaves it
			t.Helper()
			must(t, os.Remove(path))
			writeAndKill(t, path, 50)
		},
		"lost, but for its WAL": func(t *testing.T, path string) {
			t.Helper()
			must(t, os.Remove(path))
			must(t, os.WriteFile(path+"-wal", []byte("what was acknowledged"), 0o600))
		},
		"WAL of another": func(t *testing.T, path string) {
			t.Helper()
			writeAndKill(t, path+".other", 50)
			must(t, os.Rename(path+".other-wal", path+"-wal"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path, from := filepath.Join(dir, "store.db"), filepath.Join(dir, "from.db")
			fill(t, openAt(t, from, nil)) // in use
			s := openAt(t, path, nil)
			set(t, s, "/network/precious", 1)
			s.Close()
			damage(t, path)
			before, _ := os.ReadFile(path)
			kept, err := Install(t.Context(), from, path)
			if err != nil {
				t.Fatal(err)
			}
			if (kept == "") != (before == nil) {
				t.Errorf("kept as %q", kept)
			}
			if name == "killed" {
				if o, err := Inspect(t.Context(), kept); err != nil || o.Get("/w0/0") == nil {
					t.Errorf("what was acknowledged is not in %s: %v", kept, err)
				}
			}
			s = openAt(t, path, nil)
			o, _ := s.Snapshot(t.Context())
			if o.Get("/network/br0") == nil || o.Len() != 5 {
				t.Errorf("installed:\n%s", text(o))
			}
			set(t, s, "/network/br9", 1)
			if wals, _ := filepath.Glob(path + ".replaced-*-wal"); name == "lost, but for its WAL" && len(wals) != 1 {
				t.Errorf("the WAL is kept as %v", wals)
			}
			left, _ := filepath.Glob(path + ".n*")
			if len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
