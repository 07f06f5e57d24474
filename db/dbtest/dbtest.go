// Package dbtest is the conformance test of the engines of package db: every
// sentence of the contract of db.Store, as a test that an engine passes or not.
package dbtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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
		run  func(*testing.T, Open)
	}{
		{"Empty", testEmpty},
		{"PutGetListDelete", testPutGetListDelete},
		{"TxSeesItself", testTxSeesItself},
		{"NothingToCommit", testNothingToCommit},
		{"FailedUpdate", testFailedUpdate},
		{"PanickingUpdate", testPanickingUpdate},
		{"CancelledUpdate", testCancelledUpdate},
		{"BadKey", testBadKey},
		{"BadValue", testBadValue},
		{"Limits", testLimits},
		{"Check", testCheck},
		{"CheckSeesWhatIsCommitted", testCheckSeesWhatIsCommitted},
		{"Identity", testIdentity},
		{"SnapshotIsImmutable", testSnapshotIsImmutable},
		{"Serializable", testSerializable},
		{"TwoStores", testTwoStores},
		{"Reopen", testReopen},
		{"Watch", testWatch},
		{"WatchFromThePast", testWatchFromThePast},
		{"WatchSlow", testWatchSlow},
		{"WatchTheFuture", testWatchTheFuture},
		{"WatchAndSnapshot", testWatchAndSnapshot},
		{"Model", testModel},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, place(t))
		})
	}
}

// deadline bounds every wait for something that must happen.
const deadline = 30 * time.Second

// put stores value under key, or fails the test.
func put(t *testing.T, s db.Store, key string, value any) db.Revision {
	t.Helper()
	return update(t, s, func(tx *db.Tx) error { return tx.Put(key, 1, value) })
}

// update runs fn, or fails the test.
func update(t *testing.T, s db.Store, fn func(*db.Tx) error) db.Revision {
	t.Helper()
	rev, err := s.Update(t.Context(), fn)
	if err != nil {
		t.Fatalf("update: %v", err)
	}
	return rev
}

// snapshot returns the latest snapshot, or fails the test.
func snapshot(t *testing.T, s db.Store) *db.Objects {
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

func want(t *testing.T, what string, have, want any) {
	t.Helper()
	if diff := cmp.Diff(want, have); diff != "" {
		t.Fatalf("%s (-want +have):\n%s", what, diff)
	}
}

func testEmpty(t *testing.T, open Open) {
	o := snapshot(t, open(t, nil))
	want(t, "revision", o.Revision(), db.Revision(0))
	want(t, "objects", o.Len(), 0)
	want(t, "list", len(o.List("")), 0)
	if o.Get("/server") != nil {
		t.Fatal("an empty store has an object")
	}
}

func testPutGetListDelete(t *testing.T, open Open) {
	s := open(t, nil)
	want(t, "first revision", put(t, s, "/network/br0", map[string]string{"b": "2", "a": "<1>"}), db.Revision(1))
	put(t, s, "/network/br0/member/a", 1)
	put(t, s, "/network/br0-x", 2)
	put(t, s, "/network/br00", 3)
	put(t, s, "/server", "ü\n")
	o := snapshot(t, s)
	want(t, "all", contents(o.List("")), []string{
		`/network/br0={"a":"\u003c1\u003e","b":"2"}@1`, `/network/br0-x=2@3`,
		`/network/br0/member/a=1@2`, `/network/br00=3@4`, `/server="ü\n"@5`,
	})
	want(t, "under br0", contents(o.List("/network/br0/")), []string{`/network/br0/member/a=1@2`})
	want(t, "under nothing", len(o.List("/network/zz")), 0)
	want(t, "get", o.Get("/network/br00"), &db.Object{Key: "/network/br00", Value: json.RawMessage("3"), Schema: 1, Revision: 4})

	want(t, "revision of a delete", update(t, s, func(tx *db.Tx) error {
		tx.Delete("/network/br0")
		tx.Delete("/network/br0/member/a")
		return tx.Put("/server", 2, nil)
	}), db.Revision(6))
	o = snapshot(t, s)
	want(t, "what is left", contents(o.List("")), []string{`/network/br0-x=2@3`, `/network/br00=3@4`, `/server=null@6`})
	want(t, "schema", o.Get("/server").Schema, 2)
}

func testTxSeesItself(t *testing.T, open Open) {
	s := open(t, nil)
	put(t, s, "/a", 1)
	put(t, s, "/b/1", 1)
	put(t, s, "/b/3", 3)
	update(t, s, func(tx *db.Tx) error {
		err := errors.Join(tx.Put("/b/2", 1, 2), tx.Put("/b/1", 1, "one"), tx.Put("/c", 1, 1))
		tx.Delete("/b/3")
		tx.Delete("/nothing")
		want(t, "list", contents(tx.List("/b/")), []string{`/b/1="one"@0`, `/b/2=2@0`})
		want(t, "all", len(tx.List("")), 4)
		if tx.Get("/b/3") != nil {
			t.Error("a deleted object is still there")
		}
		want(t, "untouched", contents([]*db.Object{tx.Get("/a")}), []string{`/a=1@1`})
		tx.Delete("/c")
		if tx.Get("/c") != nil {
			t.Error("an object that was put and deleted is there")
		}
		return err
	})
	want(t, "committed", contents(snapshot(t, s).List("")), []string{`/a=1@1`, `/b/1="one"@4`, `/b/2=2@4`})
}

func testNothingToCommit(t *testing.T, open Open) {
	checks := 0
	s := open(t, func(context.Context, *db.Objects) error { checks++; return nil })
	put(t, s, "/a", map[string]int{"x": 1})
	before := snapshot(t, s)
	for name, fn := range map[string]func(*db.Tx) error{
		"nothing":        func(*db.Tx) error { return nil },
		"the same value": func(tx *db.Tx) error { return tx.Put("/a", 1, json.RawMessage(`{ "x" : 1 }`)) },
		"there and back": func(tx *db.Tx) error { return errors.Join(tx.Put("/a", 1, 2), tx.Put("/a", 1, map[string]int{"x": 1})) },
		"put and delete": func(tx *db.Tx) error { defer tx.Delete("/b"); return tx.Put("/b", 1, 1) },
		"delete and put": func(tx *db.Tx) error { tx.Delete("/a"); return tx.Put("/a", 1, map[string]int{"x": 1}) },
		"delete nothing": func(tx *db.Tx) error { tx.Delete("/b"); return nil },
	} {
		want(t, name, update(t, s, fn), db.Revision(1))
	}
	if snapshot(t, s) != before {
		t.Error("the snapshot changed without a change")
	}
	want(t, "checks", checks, 1)
	want(t, "next", put(t, s, "/a", 2), db.Revision(2))
}

func testFailedUpdate(t *testing.T, open Open) {
	s := open(t, nil)
	put(t, s, "/a", 1)
	before := snapshot(t, s)
	boom := errors.New("boom")
	_, err := s.Update(t.Context(), func(tx *db.Tx) error { return errors.Join(tx.Put("/a", 1, 2), boom) })
	if !errors.Is(err, boom) {
		t.Errorf("error %v, want boom", err)
	}
	if snapshot(t, s) != before {
		t.Error("a failed update changed something")
	}
}

func testPanickingUpdate(t *testing.T, open Open) {
	s := open(t, nil)
	func() {
		defer func() {
			if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "boom") {
				t.Errorf("recovered %v, want boom: the caller decides about a panic", p)
			}
		}()
		s.Update(t.Context(), func(tx *db.Tx) error {
			tx.Put("/a", 1, 1)
			panic("boom")
		})
	}()
	want(t, "objects", snapshot(t, s).Len(), 0)
	want(t, "next", put(t, s, "/a", 1), db.Revision(1))
}

func testCancelledUpdate(t *testing.T, open Open) {
	s := open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Update(ctx, func(tx *db.Tx) error { cancel(); return tx.Put("/a", 1, 1) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled meanwhile: %v", err)
	}
	_, err = s.Update(ctx, func(*db.Tx) error { t.Error("fn ran without anybody waiting for it"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	want(t, "objects", snapshot(t, s).Len(), 0)
}

func testBadKey(t *testing.T, open Open) {
	s := open(t, nil)
	for _, key := range []string{"", "a", "/", "/a/", "/a//b", "//a", "/a b", "/a\n", "/a\x00", "/\xff"} {
		_, err := s.Update(t.Context(), func(tx *db.Tx) error { return tx.Put(key, 1, 1) })
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", key)) {
			t.Errorf("put %q: %v; want an error that names the key", key, err)
		}
	}
	put(t, s, "/network/ü:1.%", 1)
}

func testBadValue(t *testing.T, open Open) {
	s := open(t, nil)
	for _, v := range []any{json.RawMessage(`{"a":`), make(chan int)} {
		_, err := s.Update(t.Context(), func(tx *db.Tx) error { return tx.Put("/a", 1, v) })
		if err == nil || !strings.Contains(err.Error(), "/a") {
			t.Errorf("put of %v: %v; want an error that names the key", v, err)
		}
	}
}

func testLimits(t *testing.T, open Open) {
	s := open(t, nil)
	ops := func(n int) func(*db.Tx) error {
		return func(tx *db.Tx) error {
			for i := range n {
				if err := tx.Put(fmt.Sprintf("/ops/%d", i), 1, i); err != nil {
					return err
				}
			}
			for i := range n { // what does not change anything is not counted
				tx.Delete(fmt.Sprintf("/none/%d", i))
			}
			return nil
		}
	}
	size := func(n int) func(*db.Tx) error {
		return func(tx *db.Tx) error {
			half := n / 2
			a, b := strings.Repeat("a", half-len(`/a""`)), strings.Repeat("b", n-half-len(`/b""`))
			return errors.Join(tx.Put("/a", 1, a), tx.Put("/b", 1, b))
		}
	}
	want(t, "most operations", update(t, s, ops(db.MaxOps)), db.Revision(1))
	want(t, "most bytes", update(t, s, size(db.MaxBytes)), db.Revision(2))
	before := snapshot(t, s)
	update(t, s, func(tx *db.Tx) error { tx.Delete("/a"); tx.Delete("/b"); return nil })
	after := snapshot(t, s)
	for name, fn := range map[string]func(*db.Tx) error{
		"operations": func(tx *db.Tx) error { defer tx.Delete("/ops/0"); return rewrite(tx, before.List("/ops/")) },
		"bytes":      size(db.MaxBytes + 1),
	} {
		if _, err := s.Update(t.Context(), fn); !errors.Is(err, db.ErrTooLarge) {
			t.Errorf("too many %s: %v", name, err)
		}
	}
	if snapshot(t, s) != after {
		t.Error("an update that was too large changed something")
	}
}

// rewrite changes every object in objs, and one more.
func rewrite(tx *db.Tx, objs []*db.Object) error {
	for _, o := range objs {
		if err := tx.Put(o.Key, 1, "new"); err != nil {
			return err
		}
	}
	return tx.Put("/more", 1, 1)
}

func testCheck(t *testing.T, open Open) {
	bad := errors.New("two networks are one too many")
	s := open(t, func(_ context.Context, o *db.Objects) error {
		if len(o.List("/network/")) > 1 {
			return bad
		}
		return nil
	})
	put(t, s, "/network/a", 1)
	before := snapshot(t, s)
	if _, err := s.Update(t.Context(), func(tx *db.Tx) error { return tx.Put("/network/b", 1, 1) }); !errors.Is(err, bad) {
		t.Errorf("error %v, want that of the check", err)
	}
	if snapshot(t, s) != before {
		t.Error("a refused update changed something")
	}
	want(t, "a swap", update(t, s, func(tx *db.Tx) error { tx.Delete("/network/a"); return tx.Put("/network/b", 1, 1) }), db.Revision(2))
}

func testCheckSeesWhatIsCommitted(t *testing.T, open Open) {
	type key struct{}
	var seen *db.Objects
	s := open(t, func(ctx context.Context, o *db.Objects) error {
		if ctx.Value(key{}) != "caller" {
			t.Error("the check has another context than the update")
		}
		seen = o
		return nil
	})
	ctx := context.WithValue(t.Context(), key{}, "caller")
	rev, err := s.Update(ctx, func(tx *db.Tx) error { return tx.Put("/a", 1, 1) })
	if err != nil {
		t.Fatal(err)
	}
	want(t, "revision", seen.Revision(), rev)
	if snapshot(t, s).Get("/a") != seen.Get("/a") {
		t.Error("the object that was checked is another than the one in the snapshot: what was decoded from it is lost")
	}
}

func testIdentity(t *testing.T, open Open) {
	s := open(t, nil)
	put(t, s, "/a", 1)
	put(t, s, "/b", 1)
	before := snapshot(t, s)
	if snapshot(t, s) != before {
		t.Error("two snapshots of one revision differ")
	}
	put(t, s, "/b", 2)
	after := snapshot(t, s)
	if before.Get("/a") != after.Get("/a") {
		t.Error("an object that did not change is another one")
	}
	if before.Get("/b") == after.Get("/b") {
		t.Error("an object that changed is the same one")
	}
}

func testSnapshotIsImmutable(t *testing.T, open Open) {
	s := open(t, nil)
	for i := range 10 {
		put(t, s, fmt.Sprintf("/k/%d", i), i)
	}
	put(t, s, "/z", 1)
	o := snapshot(t, s)
	before := contents(o.List(""))
	_ = append(o.List("/k/"), &db.Object{Key: "/mine"})
	put(t, s, "/k/3", "new")
	put(t, s, "/a", "new")
	update(t, s, func(tx *db.Tx) error { tx.Delete("/k/7"); return nil })
	want(t, "the old snapshot", contents(o.List("")), before)
	want(t, "its revision", o.Revision(), db.Revision(11))
}

func testSerializable(t *testing.T, open Open) {
	const writers, each = 8, 25
	s := open(t, nil)
	var wg sync.WaitGroup
	revs := make([][]db.Revision, writers)
	for w := range writers {
		wg.Go(func() {
			for range each {
				rev, err := s.Update(t.Context(), increment)
				if err != nil {
					t.Error(err)
					return
				}
				revs[w] = append(revs[w], rev)
			}
		})
	}
	wg.Wait()
	all := slices.Sorted(slices.Values(slices.Concat(revs...)))
	for i, rev := range all {
		if rev != db.Revision(i+1) {
			t.Fatalf("revisions have a gap or a duplicate at %d: %d", i+1, rev)
		}
	}
	want(t, "counter", string(snapshot(t, s).Get("/n").Value), fmt.Sprint(writers*each))
}

// increment adds one to the number under /n.
func increment(tx *db.Tx) error {
	n := 0
	if o := tx.Get("/n"); o != nil {
		if err := json.Unmarshal(o.Value, &n); err != nil {
			return err
		}
	}
	return tx.Put("/n", 1, n+1)
}

func testTwoStores(t *testing.T, open Open) {
	const writers, each = 3, 20
	stores := []db.Store{open(t, nil), open(t, nil)}
	var wg sync.WaitGroup
	for _, s := range stores {
		for range writers {
			wg.Go(func() {
				for range each {
					if _, err := s.Update(t.Context(), increment); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	n := len(stores) * writers * each
	for i, s := range stores {
		want(t, fmt.Sprintf("revision that store %d sees", i), update(t, s, func(*db.Tx) error { return nil }), db.Revision(n))
		want(t, fmt.Sprintf("counter in store %d", i), string(snapshot(t, s).Get("/n").Value), fmt.Sprint(n))
	}
}

func testReopen(t *testing.T, open Open) {
	var before []string
	t.Run("write", func(t *testing.T) {
		s := open(t, nil)
		put(t, s, "/a", 1)
		put(t, s, "/b", map[string]string{"x": "y"})
		update(t, s, func(tx *db.Tx) error { tx.Delete("/a"); return nil })
		before = contents(snapshot(t, s).List(""))
	})
	s := open(t, nil)
	want(t, "contents", contents(snapshot(t, s).List("")), before)
	want(t, "revision", snapshot(t, s).Revision(), db.Revision(3))
	want(t, "next", put(t, s, "/a", 1), db.Revision(4))
	want(t, "history", next(t, watch(t, s, 2)), db.Change{Revision: 3, Deletes: []string{"/a"}})
}
