// Package db keeps the objects that describe the desired state: what networks
// there are, how they and the members are configured.
//
// A [Store] is a sorted map from keys to JSON values that moves from one
// [Revision] to the next. Whoever reads it gets an immutable snapshot of one
// revision, [Objects]; whoever writes passes a function that looks at the
// latest snapshot and says what to put and delete. What the function makes of
// the snapshot is checked as a whole before it is committed, so an invalid
// state is never stored, whichever two writes it would have taken to get there.
//
// The invariants that every engine keeps, and that package dbtest holds it to:
//
//   - Updates are serializable: each one sees every update before it, and its
//     revision is one more than that of the one before.
//   - When Update returns, its change survives a crash of the process, of the
//     kernel and of the machine. When it returns an error, nothing was written.
//   - A snapshot taken after Update returned, or after a Change was received,
//     is of that revision or a later one.
//   - Objects that a revision did not touch are the same pointers as in the
//     revision before, so what was decoded from them can be cached by pointer.
//
// The keys are paths:
//
//	/server                          configuration of all members
//	/server/member/<member>          configuration of one member
//	/network/<name>                  a network
//	/network/<name>/member/<member>  a network's configuration on one member
//	/instance/<name>                 an instance
//	/boot/<member>                   the boot in which instances were stored as running
//	/forward/<network>/<address>     a forward, by its listen address
//	/acl/<name>                      a network ACL
//	/certificate/<fingerprint>       a client that may use the API over HTTPS
package db

import "context"

// The limits of one Update. Every engine has and enforces the same, so that
// what works with one works with all. They leave room for a change of a peer
// that thousands of networks name, and for another name of a network with ten
// thousand forwards.
const (
	MaxOps   = 25_000  // keys put or deleted
	MaxBytes = 8 << 20 // keys and values together
)

// A Revision counts the changes of a Store. The empty store has revision 0;
// every Update that changes something adds one.
type Revision int64

// A Store keeps the objects that describe the desired state. Its methods may
// be called from several goroutines.
type Store interface {
	// Snapshot returns every object as of one revision. It is cheap: while
	// nothing changes it returns the same pointer.
	Snapshot(ctx context.Context) (*Objects, error)

	// Update runs fn on the latest snapshot, checks the result and commits its
	// puts and deletes atomically. It returns the revision of which they are
	// part, or, when fn changed nothing, the latest one without committing. An
	// error of fn or of the Check is returned as it is, and nothing is written.
	//
	// Fn runs again when another writer won, and updates wait for each other,
	// so it must be quick, free of side effects, and not call the Store.
	Update(ctx context.Context, fn func(*Tx) error) (Revision, error)

	// Watch delivers the revisions after rev, in order and without a gap,
	// until ctx is done or the store is closed; then the channel is closed.
	// A watcher that is slow holds nobody up. One that falls too far behind
	// receives a last Change whose Err is ErrCompacted, before the channel is
	// closed; one that was too far behind to begin with, or asks for what
	// comes after a revision that does not exist yet, gets ErrCompacted from
	// Watch itself. Both start again from Snapshot. An engine that cannot read
	// its storage ends the watch in the same way with ErrUnavailable.
	Watch(ctx context.Context, rev Revision) (<-chan Change, error)
}

// A Check decides whether a state may be stored. It is given the whole
// snapshot that an Update would lead to, runs before every commit, and its
// error is what the caller of Update gets. It must not call the Store.
type Check func(ctx context.Context, next *Objects) error

// A Change is what one revision changed. The values are in the snapshot.
type Change struct {
	Revision Revision
	Puts     []string // keys created or replaced, sorted
	Deletes  []string // keys removed, sorted
	Err      error    // why the watch ends; the other fields are then zero
}
