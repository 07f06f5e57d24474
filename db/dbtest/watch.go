package dbtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"netctl/db"
)

// watch starts a watch that ends with the test.
func (t suite) watch(s db.Store, rev db.Revision) <-chan db.Change {
	t.Helper()
	ch, err := s.Watch(t.Context(), rev)
	if err != nil {
		t.Fatalf("watch from %d: %v", rev, err)
	}
	return ch
}

// next waits for the next change.
func (t suite) next(ch <-chan db.Change) db.Change {
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
func (t suite) ended(ch <-chan db.Change) {
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

func (t suite) watches() {
	s := t.open(t.T, nil)
	t.put(s, "/a", 1)
	ctx, cancel := context.WithCancel(t.Context())
	ch, err := s.Watch(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	other := t.watch(s, 1)
	t.update(s, func(tx *db.Tx) error {
		tx.Delete("/a")
		return errors.Join(tx.Put("/c", 1, 1), tx.Put("/b", 1, 1))
	})
	t.want("change", t.next(ch), db.Change{Revision: 2, Puts: []string{"/b", "/c"}, Deletes: []string{"/a"}})
	t.update(s, func(*db.Tx) error { return nil })
	t.put(s, "/b", 2)
	t.want("change", t.next(ch), db.Change{Revision: 3, Puts: []string{"/b"}})
	cancel()
	t.ended(ch)
	t.want("the other's first", t.next(other).Revision, db.Revision(2))
	t.want("the other's second", t.next(other).Revision, db.Revision(3))
}

func (t suite) watchFromThePast() {
	const n = 600
	s := t.open(t.T, nil)
	for i := range n {
		t.put(s, fmt.Sprintf("/k/%d", i%7), i)
	}
	ch := t.watch(s, 0)
	for i := range n {
		t.want("change", t.next(ch), db.Change{Revision: db.Revision(i + 1), Puts: []string{fmt.Sprintf("/k/%d", i%7)}})
	}
	t.put(s, "/k/0", "last")
	t.want("live", t.next(ch).Revision, db.Revision(n+1))
}

// watchSlow has a watcher that reads nothing: updates go on, and it gets
// everything or is told that it is too late.
func (t suite) watchSlow() {
	const n = 300
	s := t.open(t.T, nil)
	ch := t.watch(s, 0)
	for i := range n {
		t.put(s, "/a", i)
	}
	for i := range n {
		c := t.next(ch)
		if c.Err != nil {
			if !errors.Is(c.Err, db.ErrCompacted) {
				t.Fatalf("the watch ended with %v", c.Err)
			}
			t.ended(ch)
			return
		}
		t.want("revision", c.Revision, db.Revision(i+1))
	}
}

func (t suite) watchTheFuture() {
	s := t.open(t.T, nil)
	t.put(s, "/a", 1)
	if _, err := s.Watch(t.Context(), 2); !errors.Is(err, db.ErrCompacted) {
		t.Errorf("watching what comes after a revision of the future: %v", err)
	}
}

func (t suite) watchAndSnapshot() {
	const n = 100
	s := t.open(t.T, nil)
	ch := t.watch(s, 0)
	go func() {
		for i := range n {
			if _, err := s.Update(t.Context(), func(tx *db.Tx) error { return tx.Put("/a", 1, i) }); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range n {
		c := t.next(ch)
		if have := t.snapshot(s).Revision(); have < c.Revision {
			t.Fatalf("snapshot %d is older than the change %d that was delivered", have, c.Revision)
		}
	}
}
