package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"netctl/db"
)

// applicationID marks a file as ours (PRAGMA application_id): "nctl".
const applicationID = 0x6e63746c

//go:embed schema/*.sql
var schema embed.FS

// migrations returns the steps that lead from an empty file to the schema of
// this version. PRAGMA user_version counts those that a file has taken.
func migrations() []string {
	var steps []string
	for {
		step, err := schema.ReadFile("schema/" + strconv.Itoa(len(steps)+1) + ".sql")
		if err != nil {
			return steps
		}
		steps = append(steps, string(step))
	}
}

// create makes the file at path unless there is one. It appears complete or
// not at all, so that an empty file is known to be damaged and never taken for
// a store without networks.
func create(ctx context.Context, path string, steps []string) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(path + "-wal"); err == nil {
		return fmt.Errorf("%w: %s-wal is there without its file", db.ErrCorrupt, path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := f.Close(); err != nil {
		return err
	}
	if err := initialize(ctx, f.Name(), steps); err != nil {
		return err
	}
	// Unlike a rename, a link does not replace the file of whoever was first.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// initialize turns the empty file at path into an empty store.
func initialize(ctx context.Context, path string, steps []string) error {
	pool, err := sql.Open("sqlite3", dsn(path, "rw"))
	if err != nil {
		return err
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return errors.Join(err, pool.Close())
	}
	if _, err = conn.ExecContext(ctx, fmt.Sprintf("%s; PRAGMA application_id = %d", walMode, applicationID)); err == nil {
		err = apply(ctx, conn, 0, steps)
	}
	return errors.Join(err, conn.Close(), pool.Close()) // with the last connection goes the WAL
}

// verify makes sure that the file is ours, not too new and, as far as
// quick_check or integrity_check finds, not damaged.
func verify(ctx context.Context, conn *sql.Conn, newest int, check string) error {
	id, err := pragma(ctx, conn, "application_id")
	if err != nil {
		return err
	}
	if id != applicationID {
		return fmt.Errorf("%w: it is not a file of netctl", db.ErrCorrupt)
	}
	version, err := pragma(ctx, conn, "user_version")
	if err != nil {
		return err
	}
	if version > newest {
		return fmt.Errorf("%w: its schema is %d, the newest known here %d", db.ErrNewer, version, newest)
	}
	var report string
	if err := conn.QueryRowContext(ctx, "PRAGMA "+check+"(1)").Scan(&report); err != nil {
		return err
	}
	if report != "ok" {
		return fmt.Errorf("%w: %s", db.ErrCorrupt, report)
	}
	return nil
}

// migrate brings an older file to the schema of this version, after copying it
// to <path>.v<version>, and makes sure that nobody else can read it.
func migrate(ctx context.Context, conn *sql.Conn, path string, steps []string, log *slog.Logger) error {
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	from, err := pragma(ctx, conn, "user_version")
	if err != nil || from == len(steps) {
		return err
	}
	backup := fmt.Sprintf("%s.v%d", path, from)
	if err := copyTo(ctx, conn, backup); err != nil {
		return fmt.Errorf("copy to %s: %w", backup, err)
	}
	if err := apply(ctx, conn, from, steps); err != nil {
		return fmt.Errorf("migrate from schema %d: %w", from, err)
	}
	log.Info("store migrated", "path", path, "from", from, "to", len(steps), "copy", backup)
	return nil
}

// copyTo writes a copy of the database to the file at path, replacing it.
func copyTo(ctx context.Context, conn *sql.Conn, path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := f.Close(); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "VACUUM INTO ?", f.Name()); err != nil {
		return err
	}
	if err := syncFile(f.Name()); err != nil { // SQLite does not
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncFile makes what was written to a file survive a loss of power.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}

// apply takes the steps after the first from, and makes the views, in one
// transaction.
func apply(ctx context.Context, conn *sql.Conn, from int, steps []string) error {
	views, err := schema.ReadFile("schema/views.sql")
	if err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for i, step := range steps[from:] {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return fmt.Errorf("step %d: %w", from+i+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, string(views)); err != nil {
		return fmt.Errorf("views: %w", err)
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(steps))); err != nil {
		return err
	}
	return tx.Commit()
}

// pragma reads a pragma that is a number.
func pragma(ctx context.Context, q querier, name string) (int, error) {
	var v int
	err := q.QueryRowContext(ctx, "PRAGMA "+name).Scan(&v)
	return v, err
}
