package db

import "errors"

// The errors of a Store, to be compared with errors.Is. Engines wrap them with
// what they know: the path, the size, the cause.
var (
	// ErrCompacted says that the history a watcher asks for is gone. Take a
	// Snapshot and watch from its revision.
	ErrCompacted = errors.New("revision is no longer in the history: read a snapshot and watch from there")

	// ErrTooLarge says that an Update exceeds MaxOps or MaxBytes. Nothing was
	// written; split it into several.
	ErrTooLarge = errors.New("update is too large: split it into several")

	// ErrUnavailable says that the storage cannot be read or written now,
	// most often because the disk is full. Nothing was written; snapshots are
	// still served. Make room or repair the disk and repeat the Update.
	ErrUnavailable = errors.New("storage is unavailable: check that the disk has room and is writable, then try again")

	// ErrNewer says that the data was written by a newer version. Install
	// that version again, or go back to the copy that it made when it
	// migrated the data.
	ErrNewer = errors.New("data was written by a newer version: install that version or restore an older copy")

	// ErrCorrupt says that the data is damaged or is not a store at all. It
	// is left as it is; restore a copy.
	ErrCorrupt = errors.New("data is damaged or not a store: restore a copy of it")

	// ErrClosed says that the Store was closed. Nothing was written.
	ErrClosed = errors.New("store is closed")
)
