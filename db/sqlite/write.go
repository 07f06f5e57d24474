package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"netctl/db"
)

const (
	// maxBatch bounds how many updates share a transaction, and so how long
	// the first of them waits for the last.
	maxBatch = 64

	// history is how many revisions a watcher may be behind.
	history = 10_000
)

// An update is one call of Update on its way through the writer.
type update struct {
	// try runs the update on base, as db.Apply does.
	try func(base *db.Objects) (*db.Objects, db.Change, error)

	// The outcome, to be read once done is closed.
	revision db.Revision
	err      error
	panic    any
	done     chan struct{}
}

// Update implements db.Store. Once fn has begun to run, it waits for the
// outcome even when ctx ends meanwhile, so that an error always means that
// nothing was written.
func (s *Store) Update(ctx context.Context, fn func(*db.Tx) error) (db.Revision, error) {
	return s.submit(ctx, func(base *db.Objects) (*db.Objects, db.Change, error) {
		return db.Apply(ctx, base, s.check, fn)
	})
}

// Replace makes the objects of the store those of another snapshot, such as
// that of a backup, as one change whatever its size.
func (s *Store) Replace(ctx context.Context, other *db.Objects) (db.Revision, error) {
	return s.submit(ctx, func(base *db.Objects) (*db.Objects, db.Change, error) {
		return db.Replace(ctx, base, s.check, other)
	})
}

// submit hands an update to the writer and waits for the outcome.
func (s *Store) submit(ctx context.Context, try func(*db.Objects) (*db.Objects, db.Change, error)) (db.Revision, error) {
	u := &update{done: make(chan struct{})}
	u.try = func(base *db.Objects) (next *db.Objects, change db.Change, err error) {
		defer func() {
			if p := recover(); p != nil {
				u.panic = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
				err = db.ErrClosed // any error: the caller panics
			}
		}()
		return try(base)
	}
	select {
	case s.queue <- u:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.closed:
		return 0, db.ErrClosed
	}
	<-u.done
	if u.panic != nil {
		panic(u.panic) // where the caller's recover sees it, not in the writer
	}
	return u.revision, u.err
}

// write commits updates until the store is closed. It is the only goroutine
// that writes the file.
func (s *Store) write(ctx context.Context) {
	for {
		select {
		case <-s.closed:
			return
		case u := <-s.queue:
			batch := s.gather(u)
			if err := s.commit(ctx, batch); err != nil {
				err = fmt.Errorf("write %s: %w", s.path, classify(err))
				for _, u := range batch {
					u.revision, u.err = 0, err
				}
			}
			for _, u := range batch {
				close(u.done)
			}
		}
	}
}

// gather returns u and the updates that are waiting behind it.
func (s *Store) gather(u *update) []*update {
	batch := []*update{u}
	for len(batch) < maxBatch {
		select {
		case u := <-s.queue:
			batch = append(batch, u)
		default:
			return batch
		}
	}
	return batch
}

// commit runs the updates of a batch one after the other and commits what they
// changed. An update that fails leaves the others alone; an error of commit
// itself is that of all of them, for some may have seen what others had done.
func (s *Store) commit(ctx context.Context, batch []*update) error {
	if err := s.inPlace(); err != nil {
		return err
	}
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	start, err := s.refresh(ctx, tx)
	if err != nil {
		return err
	}
	base := start
	for _, u := range batch {
		next, change, err := u.try(base)
		if err != nil {
			u.err = err
			continue
		}
		if next != base {
			if err := record(ctx, tx, next, change); err != nil {
				return err
			}
			base = next
		}
		u.revision = base.Revision()
	}
	if base == start {
		return nil
	}
	if err := advance(ctx, tx, base.Revision()); err != nil {
		return err
	}
	s.log.LogAttrs(ctx, slog.LevelDebug, "store op", slog.String("op", fmt.Sprintf("commit revision %d", base.Revision())))
	if err := tx.Commit(); err != nil {
		s.version = -1 // whatever became of it, read the file before the next one
		return err
	}
	s.publish(base)
	return nil
}

// inPlace makes sure that the file is still the one that was opened. SQLite
// would go on to write into one that has been deleted or replaced, and what
// it acknowledged would be gone at the next start.
func (s *Store) inPlace() error {
	now, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if !os.SameFile(now, s.file) {
		return fmt.Errorf("%w: the file was replaced while it was in use", db.ErrUnavailable)
	}
	return nil
}

// refresh returns the latest snapshot, read again when somebody else has
// written the file.
func (s *Store) refresh(ctx context.Context, tx *sql.Tx) (*db.Objects, error) {
	version, err := dataVersion(ctx, tx)
	if err != nil {
		return nil, err
	}
	latest := s.latest.Load()
	if version == s.version {
		return latest, nil
	}
	objects, err := load(ctx, tx, latest)
	if err != nil {
		return nil, err
	}
	s.version = version
	if objects != latest {
		s.log.Warn("store was changed by another process", "path", s.path, "revision", objects.Revision())
		s.publish(objects)
	}
	return objects, nil
}

// record writes what change does to next.
func record(ctx context.Context, tx *sql.Tx, next *db.Objects, change db.Change) error {
	const (
		put = `INSERT INTO objects (key, value, schema, revision) VALUES (?, ?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value, schema = excluded.schema, revision = excluded.revision`
		del = `DELETE FROM objects WHERE key = ?`
		log = `INSERT INTO changes (revision, key, op) VALUES (?, ?, ?)`
	)
	for _, key := range change.Puts {
		o := next.Get(key)
		if _, err := tx.ExecContext(ctx, put, o.Key, string(o.Value), o.Schema, o.Revision); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, log, change.Revision, key, "put"); err != nil {
			return err
		}
	}
	for _, key := range change.Deletes {
		if _, err := tx.ExecContext(ctx, del, key); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, log, change.Revision, key, "delete"); err != nil {
			return err
		}
	}
	return nil
}

// advance sets the revision and forgets the history before the last ones.
func advance(ctx context.Context, tx *sql.Tx, rev db.Revision) error {
	compacted := max(0, rev-history)
	if _, err := tx.ExecContext(ctx, `DELETE FROM changes WHERE revision <= ?`, compacted); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE store SET revision = ?, compacted = ?`, rev, compacted)
	return err
}

// A querier is a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// load reads the latest snapshot. Objects that are as they were in old keep
// their identity; when all are, old itself is returned.
func load(ctx context.Context, q querier, old *db.Objects) (*db.Objects, error) {
	var rev db.Revision
	if err := q.QueryRowContext(ctx, `SELECT revision FROM store`).Scan(&rev); err != nil {
		return nil, fmt.Errorf("read revision: %w", err)
	}
	rows, err := q.QueryContext(ctx, `SELECT key, value, schema, revision FROM objects ORDER BY key`)
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var list []*db.Object
	same := 0
	for rows.Next() {
		o := &db.Object{}
		if err := rows.Scan(&o.Key, (*[]byte)(&o.Value), &o.Schema, &o.Revision); err != nil {
			return nil, fmt.Errorf("read object %s: %w", o.Key, err)
		}
		if was := old.Get(o.Key); was != nil && was.Revision == o.Revision && was.Schema == o.Schema && bytes.Equal(was.Value, o.Value) {
			o = was
			same++
		}
		list = append(list, o)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	if rev == old.Revision() && same == len(list) && same == old.Len() {
		return old, nil
	}
	return db.NewObjects(rev, list), nil
}

// dataVersion returns a number that differs from the last one when another
// connection has written the file since.
func dataVersion(ctx context.Context, q querier) (int64, error) {
	var v int64
	err := q.QueryRowContext(ctx, `PRAGMA data_version`).Scan(&v)
	return v, err
}
