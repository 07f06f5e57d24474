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

	"netctl/db"
)

func (t suite) empty() {
	o := t.snapshot(t.open(t.T, nil))
	t.want("revision", o.Revision(), db.Revision(0))
	t.want("objects", o.Len(), 0)
	t.want("list", len(o.List("")), 0)
	if o.Get("/server") != nil {
		t.Fatal("an empty store has an object")
	}
}

func (t suite) putGetListDelete() {
	s := t.open(t.T, nil)
	t.want("first revision", t.put(s, "/network/br0", map[string]string{"b": "2", "a": "<1>"}), db.Revision(1))
	t.put(s, "/network/br0/member/a", 1)
	t.put(s, "/network/br0-x", 2)
	t.put(s, "/network/br00", 3)
	t.put(s, "/server", "ü\n")
	o := t.snapshot(s)
	t.want("all", contents(o.List("")), []string{
		`/network/br0={"a":"\u003c1\u003e","b":"2"}@1`, `/network/br0-x=2@3`,
		`/network/br0/member/a=1@2`, `/network/br00=3@4`, `/server="ü\n"@5`,
	})
	t.want("under br0", contents(o.List("/network/br0/")), []string{`/network/br0/member/a=1@2`})
	t.want("under nothing", len(o.List("/network/zz")), 0)
	t.want("get", o.Get("/network/br00"), &db.Object{Key: "/network/br00", Value: json.RawMessage("3"), Schema: 1, Revision: 4})

	t.want("revision of a delete", t.update(s, func(tx *db.Tx) error {
		tx.Delete("/network/br0")
		tx.Delete("/network/br0/member/a")
		return tx.Put("/server", 2, nil)
	}), db.Revision(6))
	o = t.snapshot(s)
	t.want("what is left", contents(o.List("")), []string{`/network/br0-x=2@3`, `/network/br00=3@4`, `/server=null@6`})
	t.want("schema", o.Get("/server").Schema, 2)
}

func (t suite) txSeesItself() {
	s := t.open(t.T, nil)
	t.put(s, "/a", 1)
	t.put(s, "/b/1", 1)
	t.put(s, "/b/3", 3)
	t.update(s, func(tx *db.Tx) error {
		err := errors.Join(tx.Put("/b/2", 1, 2), tx.Put("/b/1", 1, "one"), tx.Put("/c", 1, 1))
		tx.Delete("/b/3")
		tx.Delete("/nothing")
		t.want("list", contents(tx.List("/b/")), []string{`/b/1="one"@0`, `/b/2=2@0`})
		t.want("all", len(tx.List("")), 4)
		if tx.Get("/b/3") != nil {
			t.Error("a deleted object is still there")
		}
		t.want("untouched", contents([]*db.Object{tx.Get("/a")}), []string{`/a=1@1`})
		tx.Delete("/c")
		if tx.Get("/c") != nil {
			t.Error("an object that was put and deleted is there")
		}
		return err
	})
	t.want("committed", contents(t.snapshot(s).List("")), []string{`/a=1@1`, `/b/1="one"@4`, `/b/2=2@4`})
}

func (t suite) nothingToCommit() {
	checks := 0
	s := t.open(t.T, func(context.Context, *db.Objects) error { checks++; return nil })
	t.put(s, "/a", map[string]int{"x": 1})
	before := t.snapshot(s)
	for name, fn := range map[string]func(*db.Tx) error{
		"nothing":        func(*db.Tx) error { return nil },
		"the same value": func(tx *db.Tx) error { return tx.Put("/a", 1, json.RawMessage(`{ "x" : 1 }`)) },
		"there and back": func(tx *db.Tx) error { return errors.Join(tx.Put("/a", 1, 2), tx.Put("/a", 1, map[string]int{"x": 1})) },
		"put and delete": func(tx *db.Tx) error { defer tx.Delete("/b"); return tx.Put("/b", 1, 1) },
		"delete and put": func(tx *db.Tx) error { tx.Delete("/a"); return tx.Put("/a", 1, map[string]int{"x": 1}) },
		"delete nothing": func(tx *db.Tx) error { tx.Delete("/b"); return nil },
	} {
		t.want(name, t.update(s, fn), db.Revision(1))
	}
	if t.snapshot(s) != before {
		t.Error("the snapshot changed without a change")
	}
	t.want("checks", checks, 1)
	t.want("next", t.put(s, "/a", 2), db.Revision(2))
}

func (t suite) failedUpdate() {
	s := t.open(t.T, nil)
	t.put(s, "/a", 1)
	before := t.snapshot(s)
	boom := errors.New("boom")
	_, err := s.Update(t.Context(), func(tx *db.Tx) error { return errors.Join(tx.Put("/a", 1, 2), boom) })
	if !errors.Is(err, boom) {
		t.Errorf("error %v, want boom", err)
	}
	if t.snapshot(s) != before {
		t.Error("a failed update changed something")
	}
}

func (t suite) panickingUpdate() {
	s := t.open(t.T, nil)
	func() {
		defer func() {
			if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "boom") {
				t.Errorf("recovered %v, want boom: the caller decides about a panic", p)
			}
		}()
		_, err := s.Update(t.Context(), func(tx *db.Tx) error {
			if err := tx.Put("/a", 1, 1); err != nil {
				return err
			}
			panic("boom")
		})
		t.Errorf("the panic came back as %v", err)
	}()
	t.want("objects", t.snapshot(s).Len(), 0)
	t.want("next", t.put(s, "/a", 1), db.Revision(1))
}

func (t suite) cancelledUpdate() {
	s := t.open(t.T, nil)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Update(ctx, func(tx *db.Tx) error { cancel(); return tx.Put("/a", 1, 1) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled meanwhile: %v", err)
	}
	_, err = s.Update(ctx, func(*db.Tx) error { t.Error("fn ran without anybody waiting for it"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	t.want("objects", t.snapshot(s).Len(), 0)
}

func (t suite) badKey() {
	s := t.open(t.T, nil)
	for _, key := range []string{"", "a", "/", "/a/", "/a//b", "//a", "/a b", "/a\n", "/a\x00", "/\xff"} {
		_, err := s.Update(t.Context(), func(tx *db.Tx) error { return tx.Put(key, 1, 1) })
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", key)) {
			t.Errorf("put %q: %v; want an error that names the key", key, err)
		}
	}
	t.put(s, "/network/ü:1.%", 1)
}

func (t suite) badValue() {
	s := t.open(t.T, nil)
	for _, v := range []any{json.RawMessage(`{"a":`), make(chan int)} {
		_, err := s.Update(t.Context(), func(tx *db.Tx) error { return tx.Put("/a", 1, v) })
		if err == nil || !strings.Contains(err.Error(), "/a") {
			t.Errorf("put of %v: %v; want an error that names the key", v, err)
		}
	}
}

func (t suite) limits() {
	s := t.open(t.T, nil)
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
	t.want("most operations", t.update(s, ops(db.MaxOps)), db.Revision(1))
	t.want("most bytes", t.update(s, size(db.MaxBytes)), db.Revision(2))
	before := t.snapshot(s)
	t.update(s, func(tx *db.Tx) error { tx.Delete("/a"); tx.Delete("/b"); return nil })
	after := t.snapshot(s)
	for name, fn := range map[string]func(*db.Tx) error{
		"operations": func(tx *db.Tx) error { defer tx.Delete("/ops/0"); return rewrite(tx, before.List("/ops/")) },
		"bytes":      size(db.MaxBytes + 1),
	} {
		if _, err := s.Update(t.Context(), fn); !errors.Is(err, db.ErrTooLarge) {
			t.Errorf("too many %s: %v", name, err)
		}
	}
	if t.snapshot(s) != after {
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

func (t suite) check() {
	bad := errors.New("two networks are one too many")
	s := t.open(t.T, func(_ context.Context, o *db.Objects) error {
		if len(o.List("/network/")) > 1 {
			return bad
		}
		return nil
	})
	t.put(s, "/network/a", 1)
	before := t.snapshot(s)
	if _, err := s.Update(t.Context(), func(tx *db.Tx) error { return tx.Put("/network/b", 1, 1) }); !errors.Is(err, bad) {
		t.Errorf("error %v, want that of the check", err)
	}
	if t.snapshot(s) != before {
		t.Error("a refused update changed something")
	}
	t.want("a swap", t.update(s, func(tx *db.Tx) error { tx.Delete("/network/a"); return tx.Put("/network/b", 1, 1) }), db.Revision(2))
}

func (t suite) checkSeesWhatIsCommitted() {
	type key struct{}
	var seen *db.Objects
	s := t.open(t.T, func(ctx context.Context, o *db.Objects) error {
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
	t.want("revision", seen.Revision(), rev)
	if t.snapshot(s).Get("/a") != seen.Get("/a") {
		t.Error("the object that was checked is another than the one in the snapshot: what was decoded from it is lost")
	}
}

func (t suite) identity() {
	s := t.open(t.T, nil)
	t.put(s, "/a", 1)
	t.put(s, "/b", 1)
	before := t.snapshot(s)
	if t.snapshot(s) != before {
		t.Error("two snapshots of one revision differ")
	}
	t.put(s, "/b", 2)
	after := t.snapshot(s)
	if before.Get("/a") != after.Get("/a") {
		t.Error("an object that did not change is another one")
	}
	if before.Get("/b") == after.Get("/b") {
		t.Error("an object that changed is the same one")
	}
}

func (t suite) snapshotIsImmutable() {
	s := t.open(t.T, nil)
	for i := range 10 {
		t.put(s, fmt.Sprintf("/k/%d", i), i)
	}
	t.put(s, "/z", 1)
	o := t.snapshot(s)
	before := contents(o.List(""))
	_ = append(o.List("/k/"), &db.Object{Key: "/mine"})
	t.put(s, "/k/3", "new")
	t.put(s, "/a", "new")
	t.update(s, func(tx *db.Tx) error { tx.Delete("/k/7"); return nil })
	t.want("the old snapshot", contents(o.List("")), before)
	t.want("its revision", o.Revision(), db.Revision(11))
}

func (t suite) serializable() {
	const writers, each = 8, 25
	s := t.open(t.T, nil)
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
	t.want("counter", string(t.snapshot(s).Get("/n").Value), fmt.Sprint(writers*each))
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

func (t suite) twoStores() {
	const writers, each = 3, 20
	stores := []db.Store{t.open(t.T, nil), t.open(t.T, nil)}
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
		t.want(fmt.Sprintf("revision that store %d sees", i), t.update(s, func(*db.Tx) error { return nil }), db.Revision(n))
		t.want(fmt.Sprintf("counter in store %d", i), string(t.snapshot(s).Get("/n").Value), fmt.Sprint(n))
	}
}

func (t suite) reopen() {
	var before []string
	t.Run("write", func(tt *testing.T) {
		t := suite{tt, t.open}
		s := t.open(tt, nil)
		t.put(s, "/a", 1)
		t.put(s, "/b", map[string]string{"x": "y"})
		t.update(s, func(tx *db.Tx) error { tx.Delete("/a"); return nil })
		before = contents(t.snapshot(s).List(""))
	})
	s := t.open(t.T, nil)
	t.want("contents", contents(t.snapshot(s).List("")), before)
	t.want("revision", t.snapshot(s).Revision(), db.Revision(3))
	t.want("next", t.put(s, "/a", 1), db.Revision(4))
	t.want("history", t.next(t.watch(s, 2)), db.Change{Revision: 3, Deletes: []string{"/a"}})
}
