package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"netctl/db"
)

// Inspect returns the objects in the file of a store at path, after it has
// checked every page of it. The file may be in use, or that of an older
// version; it is not changed. The errors are those of Open, and fs.ErrNotExist.
func Inspect(ctx context.Context, path string) (*db.Objects, error) {
	dir, err := os.MkdirTemp("", "netctl-db-") // mode 0700
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	scratch := filepath.Join(dir, "copy.db")
	if err := duplicate(ctx, path, scratch); err != nil {
		return nil, err
	}
	s, err := Open(ctx, scratch, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return s.latest.Load(), s.Close()
}

// Backup writes a copy of the store at path to a new file. The store may be in
// use: the copy is that of one revision, with all that was acknowledged before
// Backup was called.
func Backup(ctx context.Context, path, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s is there already: name another file", to)
	}
	return duplicate(ctx, path, to)
}

// Install puts a copy of the store at from in the place of that at path, which
// nobody may be using. What was at path is kept next to it, under the name
// that is returned; the name is empty when there was nothing. A crash leaves
// either the one or the other at path.
func Install(ctx context.Context, from, path string) (kept string, err error) {
	next := path + ".next"
	if err := duplicate(ctx, from, next); err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(next) }()
	aside := Aside(path)
	if _, err := os.Lstat(path); err == nil {
		kept = aside
		fold(ctx, path)
		if err := os.Link(path, kept); err != nil {
			return "", err
		}
	}
	// What could not be folded into a file that is damaged, or lost, goes with
	// it: it must not get into the new one.
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	if err := os.Rename(next, path); err != nil {
		return "", err
	}
	return kept, syncDir(filepath.Dir(path))
}

// Aside returns the name under which what is at path is kept when something
// takes its place.
func Aside(path string) string {
	return path + ".replaced-" + time.Now().UTC().Format("20060102T150405.000")
}

// fold moves what is in the WAL into the file, if that can be done.
func fold(ctx context.Context, path string) {
	pool, err := sql.Open("sqlite3", dsn(path, "rw"))
	if err != nil {
		return
	}
	_, _ = pool.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	_ = pool.Close() // with the last connection goes the WAL
}

// duplicate checks the store at path and writes a copy of it to the file at
// to, replacing that.
func duplicate(ctx context.Context, path, to string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	err := func() error {
		pool, err := sql.Open("sqlite3", dsn(path, "ro"))
		if err != nil {
			return err
		}
		defer pool.Close()
		conn, err := pool.Conn(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if err := verify(ctx, conn, len(migrations()), "integrity_check"); err != nil {
			return err
		}
		return copyTo(ctx, conn, to)
	}()
	if err != nil {
		return fmt.Errorf("copy %s: %w", path, classify(err))
	}
	return nil
}

// syncDir makes the names in a directory survive a loss of power.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}
