package sqlite

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"netctl/db"
	"netctl/db/dbtest"
)

func TestConformance(t *testing.T) {
	dbtest.Run(t, func(t *testing.T) dbtest.Open {
		t.Helper()
		path := filepath.Join(t.TempDir(), "a?b#c%20d.db") // a path is a path, not a URI
		return func(t *testing.T, check db.Check) db.Store {
			t.Helper()
			return openAt(t, path, check)
		}
	})
}

// openAt opens the store at path and closes it when the test ends.
func openAt(t *testing.T, path string, check db.Check) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, check, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func set(t *testing.T, s *Store, key string, value any) db.Revision {
	t.Helper()
	rev, err := s.Update(context.WithoutCancel(t.Context()), func(tx *db.Tx) error { return tx.Put(key, 1, value) })
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// discard is the log of tests that do not look at it.
var discard = slog.New(slog.DiscardHandler)
