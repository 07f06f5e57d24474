package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/mattn/go-sqlite3"

	"netctl/db"
)

// classify wraps an error of SQLite or of the file system with the error of
// package db that says what to do about it. Others are returned as they are.
func classify(err error) error {
	if se := (sqlite3.Error{}); errors.As(err, &se) {
		switch se.Code {
		case sqlite3.ErrCorrupt, sqlite3.ErrNotADB, sqlite3.ErrFormat:
			return fmt.Errorf("%w: %w", db.ErrCorrupt, err)
		case sqlite3.ErrFull, sqlite3.ErrIoErr, sqlite3.ErrCantOpen, sqlite3.ErrReadonly, sqlite3.ErrPerm,
			sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrNomem, sqlite3.ErrProtocol:
			return fmt.Errorf("%w: %w", db.ErrUnavailable, err)
		}
	}
	var (
		path *fs.PathError
		link *os.LinkError
	)
	if errors.As(err, &path) || errors.As(err, &link) {
		return fmt.Errorf("%w: %w", db.ErrUnavailable, err)
	}
	return err
}
