package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"netctl/db"
)

// watchPage bounds how many revisions a watcher reads at once.
const watchPage = 256

// Watch implements db.Store. The changes are read from the file, so a watcher
// costs no memory however slow it is.
func (s *Store) Watch(ctx context.Context, rev db.Revision) (<-chan db.Change, error) {
	if rev > s.latest.Load().Revision() {
		return nil, db.ErrCompacted
	}
	if _, err := s.changes(ctx, rev); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return nil, db.ErrClosed
	default:
	}
	ch := make(chan db.Change)
	s.done.Go(func() {
		defer close(ch)
		if err := s.follow(ctx, rev, ch); err != nil {
			s.send(ctx, ch, db.Change{Err: err})
		}
	})
	return ch, nil
}

// follow sends the changes after rev to ch until ctx is done, the store is
// closed, or they cannot be read.
func (s *Store) follow(ctx context.Context, rev db.Revision, ch chan<- db.Change) error {
	for {
		s.mu.Lock()
		moved := s.moved
		s.mu.Unlock()
		for rev < s.latest.Load().Revision() {
			page, err := s.changes(ctx, rev)
			if err != nil {
				return err
			}
			for _, c := range page {
				if !s.send(ctx, ch, c) {
					return nil
				}
				rev = c.Revision
			}
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil
		case <-s.closed:
			return nil
		}
	}
}

// send delivers c, or returns false when the watch ends first.
func (s *Store) send(ctx context.Context, ch chan<- db.Change, c db.Change) bool {
	select {
	case ch <- c:
		return true
	case <-ctx.Done():
		return false
	case <-s.closed:
		return false
	}
}

// changes reads a page of what came after rev, up to the latest snapshot: a
// commit reaches the file a moment before it reaches memory. The page is empty
// only when rev is the latest revision.
func (s *Store) changes(ctx context.Context, rev db.Revision) ([]db.Change, error) {
	to := min(s.latest.Load().Revision(), rev+watchPage)
	tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, classify(err))
	}
	defer tx.Rollback()
	var compacted db.Revision
	if err := tx.QueryRowContext(ctx, `SELECT compacted FROM store`).Scan(&compacted); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, classify(err))
	}
	if rev < compacted {
		return nil, db.ErrCompacted
	}
	page, err := readChanges(ctx, tx, rev, to)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, classify(err))
	}
	// Only a file that was changed by hand has gaps.
	if at := rev + db.Revision(len(page)); at != to {
		return nil, db.ErrCompacted
	}
	return page, nil
}

// readChanges returns what the revisions after from up to to changed.
func readChanges(ctx context.Context, tx *sql.Tx, from, to db.Revision) ([]db.Change, error) {
	rows, err := tx.QueryContext(ctx, `SELECT revision, key, op FROM changes
		WHERE revision > ? AND revision <= ? ORDER BY revision, key`, from, to)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var page []db.Change
	for rows.Next() {
		var (
			at      db.Revision
			key, op string
		)
		if err := rows.Scan(&at, &key, &op); err != nil {
			return nil, err
		}
		if len(page) == 0 || page[len(page)-1].Revision != at {
			page = append(page, db.Change{Revision: at})
		}
		c := &page[len(page)-1]
		if op == "put" {
			c.Puts = append(c.Puts, key)
		} else {
			c.Deletes = append(c.Deletes, key)
		}
	}
	return page, rows.Err()
}
