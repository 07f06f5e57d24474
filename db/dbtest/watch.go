package dbtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"netctl/db"
)

// watch starts a watch that ends with the test.
func watch(t *testing.T, s db.Store, rev db.Revision) <-chan db.Change {
	t.Helper()
	ch, err := s.Watch(t.Context(), rev)
	if err != nil {
		t.Fatalf("watch from %d: %v", rev, err)
	}
	return ch
}

// next waits for the next change.
func next(t *testing.T, ch <-chan db.Change) db.Change {
	t.Helper()
	select {
	case c, ok := <-ch:
		if !ok {
			t.Fatal("the watch ended")
		}
		return c
	case <-time.After(deadline):
		t.Fatal("no change arrived")
	}
	return db.Change{}
}

// ended waits for ch to be closed.
func ended(t *testing.T, ch <-chan db.Change) {
	t.Helper()
	select {
	case c, ok := <-ch:
		if ok {
			t.Fatalf("a change after the end: %+v", c)
		}
	case <-time.After(deadline):
		t.Fatal("the channel was not closed")
	}
}

func testWatch(t *testing.T, open Open) {
	s := open(t, nil)
	put(t, s, "/a", 1)
	ctx, cancel := context.WithCancel(t.Context())
	ch, err := s.Watch(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	other := watch(t, s, 1)
	update(t, s, func(tx *db.Tx) error {
		tx.Delete("/a")
		return errors.Join(tx.Put("/c", 1, 1), tx.Put("/b", 1, 1))
	})
	want(t, "change", next(t, ch), db.Change{Revision: 2, Puts: []string{"/b", "/c"}, Deletes: []string{"/a"}})
	update(t, s, func(*db.Tx) error { return nil })
	put(t, s, "/b", 2)
	want(t, "change", next(t, ch), db.Change{Revision: 3, Puts: []string{"/b"}})
	cancel()
	ended(t, ch)
	want(t, "the other's first", next(t, other).Revision, db.Revision(2))
	want(t, "the other's second", next(t, other).Revision, db.Revision(3))
}

func testWatchFromThePast(t *testing.T, open Open) {
	const n = 600
	s := open(t, nil)
	for i := range n {
		put(t, s, fmt.Sprintf("/k/%d", i%7), i)
	}
	ch := watch(t, s, 0)
	for i := range n {
		want(t, "change", next(t, ch), db.Change{Revision: db.Revision(i + 1), Puts: []string{fmt.Sprintf("/k/%d", i%7)}})
	}
	put(t, s, "/k/0", "last")
	want(t, "live", next(t, ch).Revision, db.Revision(n+1))
}

// testWatchSlow has a watcher that reads nothing: updates go on, and it gets
// everything or is told that it is too late.
func testWatchSlow(t *testing.T, open Open) {
	const n = 300
	s := open(t, nil)
	ch := watch(t, s, 0)
	for i := range n {
		put(t, s, "/a", i)
	}
	for i := range n {
		c := next(t, ch)
		if c.Err != nil {
			if !errors.Is(c.Err, db.ErrCompacted) {
				t.Fatalf("the watch ended with %v", c.Err)
			}
			ended(t, ch)
			return
		}
		want(t, "revision", c.Revision, db.Revision(i+1))
	}
}

func testWatchTheFuture(t *testing.T, open Open) {
	s := open(t, nil)
	put(t, s, "/a", 1)
	if _, err := s.Watch(t.Context(), 2); !errors.Is(err, db.ErrCompacted) {
		t.Errorf("watching what comes after a revision of the future: %v", err)
	}
}

func testWatchAndSnapshot(t *testing.T, open Open) {
	const n = 100
	s := open(t, nil)
	ch := watch(t, s, 0)
	go func() {
		for i := range n {
			if _, err := s.Update(t.Context(), func(tx *db.Tx) error { return tx.Put("/a", 1, i) }); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range n {
		c := next(t, ch)
		if have := snapshot(t, s).Revision(); have < c.Revision {
			t.Fatalf("snapshot %d is older than the change %d that was delivered", have, c.Revision)
		}
	}
}
