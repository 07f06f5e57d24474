// Package dbtest is the conformance test of the engines of package db: every
// sentence of the contract of db.Store, as a test that an engine passes or not.
package dbtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netctl/db"
)

// An Open opens the store of one place, as often as it is called: the stores
// share what they hold. It closes what it opened when the test ends. Check may
// be nil.
type Open func(t *testing.T, check db.Check) db.Store

// Run tests an engine. Place makes a new, empty place for a store.
func Run(t *testing.T, place func(t *testing.T) Open) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(suite)
	}{
		{"Empty", suite.empty},
		{"PutGetListDelete", suite.putGetListDelete},
		{"TxSeesItself", suite.txSeesItself},
		{"NothingToCommit", suite.nothingToCommit},
		{"FailedUpdate", suite.failedUpdate},
		{"PanickingUpdate", suite.panickingUpdate},
		{"CancelledUpdate", suite.cancelledUpdate},
		{"BadKey", suite.badKey},
		{"BadValue", suite.badValue},
		{"Limits", suite.limits},
		{"Check", suite.check},
		{"CheckSeesWhatIsCommitted", suite.checkSeesWhatIsCommitted},
		{"Identity", suite.identity},
		{"SnapshotIsImmutable", suite.snapshotIsImmutable},
		{"Serializable", suite.serializable},
		{"TwoStores", suite.twoStores},
		{"Reopen", suite.reopen},
		{"Watch", suite.watches},
		{"WatchFromThePast", suite.watchFromThePast},
		{"WatchSlow", suite.watchSlow},
		{"WatchTheFuture", suite.watchTheFuture},
		{"WatchAndSnapshot", suite.watchAndSnapshot},
		{"Model", suite.model},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(suite{t, place(t)})
		})
	}
}

// A suite is one test of the conformance test, with the place for its store.
type suite struct {
	*testing.T
	open Open
}

// deadline bounds every wait for something that must happen.
const deadline = 30 * time.Second

// put stores value under key, or fails the test.
func (t suite) put(s db.Store, key string, value any) db.Revision {
	t.Helper()
	return t.update(s, func(tx *db.Tx) error { return tx.Put(key, 1, value) })
}

// update runs fn, or fails the test.
func (t suite) update(s db.Store, fn func(*db.Tx) error) db.Revision {
	t.Helper()
	rev, err := s.Update(t.Context(), fn)
	if err != nil {
		t.Fatalf("update: %v", err)
	}
	return rev
}

// snapshot returns the latest snapshot, or fails the test.
func (t suite) snapshot(s db.Store) *db.Objects {
	t.Helper()
	o, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	return o
}

// contents writes objects as "key=value@revision", in order.
func contents(objs []*db.Object) []string {
	var lines []string
	for _, o := range objs {
		lines = append(lines, fmt.Sprintf("%s=%s@%d", o.Key, o.Value, o.Revision))
	}
	return lines
}

func (t suite) want(what string, have, want any) {
	t.Helper()
	if diff := cmp.Diff(want, have); diff != "" {
		t.Fatalf("%s (-want +have):\n%s", what, diff)
	}
}
