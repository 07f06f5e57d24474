// Package sqlite is the db.Store of a single machine: one SQLite file.
//
// The whole store is kept in memory as an immutable snapshot, because it is
// read far more often than written and is small (a network is a kilobyte).
// The file is what makes it survive. It is written by one goroutine, which
// takes all updates that are waiting, runs each on what the one before it
// made, and commits them together: one fsync serves everybody who waited for
// it. Reading the history has connections of its own.
//
// The file is in WAL mode with synchronous=FULL, so a commit that was
// acknowledged survives a loss of power. It belongs to one process at a time.
// Should another one, or a person with the sqlite3 shell, change it all the
// same, the next Update notices and starts from what it finds.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"sync/atomic"

	_ "github.com/mattn/go-sqlite3" // registers the driver

	"netctl/db"
)

// A Store is a db.Store in an SQLite file. Open makes one.
type Store struct {
	path   string
	check  db.Check
	log    *slog.Logger
	writer *sql.DB // its only connection is conn
	conn   *sql.Conn
	reader *sql.DB
	file   os.FileInfo // of what was opened

	latest  atomic.Pointer[db.Objects]
	version int64 // PRAGMA data_version when latest was loaded; of the write goroutine
	queue   chan *update

	mu     sync.Mutex
	moved  chan struct{} // closed and replaced when latest moves
	closed chan struct{}
	once   sync.Once
	done   sync.WaitGroup // the writer and the watchers
}

var _ db.Store = (*Store)(nil)

// Open opens the store in the file at path, or creates it. The file of an
// older version is migrated, after a copy of it was made next to it. Check
// runs before every commit and may be nil. The errors are db.ErrNewer,
// db.ErrCorrupt and db.ErrUnavailable; the file is then as it was.
func Open(ctx context.Context, path string, check db.Check, log *slog.Logger) (*Store, error) {
	return open(ctx, path, check, log, migrations())
}

func open(ctx context.Context, path string, check db.Check, log *slog.Logger, steps []string) (*Store, error) {
	if err := create(ctx, path, steps); err != nil {
		return nil, fmt.Errorf("create %s: %w", path, classify(err))
	}
	s := &Store{
		path: path, check: check, log: log,
		queue: make(chan *update), moved: make(chan struct{}), closed: make(chan struct{}),
	}
	if err := s.connect(ctx, steps); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, classify(errors.Join(err, s.disconnect())))
	}
	s.done.Go(func() { s.write(context.WithoutCancel(ctx)) })
	return s, nil
}

// connect opens the connections, verifies and migrates the file, and loads it.
func (s *Store) connect(ctx context.Context, steps []string) error {
	var err error
	if s.writer, err = sql.Open("sqlite3", dsn(s.path, "rw")); err != nil {
		return err
	}
	if s.reader, err = sql.Open("sqlite3", dsn(s.path, "ro")); err != nil {
		return err
	}
	if s.conn, err = s.writer.Conn(ctx); err != nil {
		return err
	}
	if err := verify(ctx, s.conn, len(steps), "quick_check"); err != nil {
		return err
	}
	if _, err := s.conn.ExecContext(ctx, walMode); err != nil {
		return err
	}
	if err := migrate(ctx, s.conn, s.path, steps, s.log); err != nil {
		return err
	}
	if s.file, err = os.Stat(s.path); err != nil {
		return err
	}
	if s.version, err = dataVersion(ctx, s.conn); err != nil {
		return err
	}
	objects, err := load(ctx, s.conn, db.NewObjects(0, nil))
	if err != nil {
		return err
	}
	s.latest.Store(objects)
	return nil
}

// walMode is a property of the file, not of a connection. It is not part of
// the name, for it would write to a file that was not verified.
const walMode = "PRAGMA journal_mode = WAL"

// dsn names the file at path to the driver. Pragmas that concern one
// connection are part of it, so that none can go without.
func dsn(path, mode string) string {
	q := url.Values{
		"mode": {mode}, "_txlock": {"deferred"},
		"_busy_timeout": {"5000"}, "_foreign_keys": {"on"},
	}
	if mode == "rw" {
		q.Set("_txlock", "immediate")
		q.Set("_synchronous", "FULL")
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String()
}

// Close waits for the updates that have begun, ends the watches and closes the
// file. Updates and watches that come later get db.ErrClosed.
func (s *Store) Close() error {
	err := db.ErrClosed
	s.once.Do(func() {
		s.mu.Lock()
		close(s.closed)
		s.mu.Unlock()
		s.done.Wait()
		err = s.disconnect()
	})
	return err
}

func (s *Store) disconnect() error {
	var errs []error
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	// The writer goes last: the last connection of all folds the WAL into the
	// file, which a read-only one cannot.
	for _, pool := range []*sql.DB{s.reader, s.writer} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	return errors.Join(errs...)
}

// Snapshot returns every object as of the latest revision. It reads memory
// only, and works after Close.
func (s *Store) Snapshot(context.Context) (*db.Objects, error) { return s.latest.Load(), nil }

// publish makes o the latest snapshot and wakes the watchers.
func (s *Store) publish(o *db.Objects) {
	s.latest.Store(o)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.moved)
	s.moved = make(chan struct{})
}
