package dbtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"netctl/db"
)

// model runs random updates against the store and against a map.
func (t suite) model() {
	s := t.open(t.T, nil)
	model := map[string]string{}
	rev := db.Revision(0)
	boom := errors.New("boom")
	rapid.Check(t.T, func(rt *rapid.T) {
		next := maps.Clone(model)
		fail := rapid.IntRange(0, 9).Draw(rt, "fail") == 0
		have, err := s.Update(t.Context(), func(tx *db.Tx) error {
			scribble(rt, tx, next)
			if fail {
				return boom
			}
			return nil
		})
		if fail {
			if !errors.Is(err, boom) {
				rt.Fatalf("error %v, want boom", err)
			}
			next = model
		} else if err != nil {
			rt.Fatal(err)
		}
		if !maps.Equal(model, next) {
			rev++
		}
		if !fail && have != rev {
			rt.Fatalf("revision %d, want %d", have, rev)
		}
		model = next
		o, err := s.Snapshot(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		compare(rt, o, model)
	})
}

// scribble makes some changes to tx and to its model.
func scribble(t *rapid.T, tx *db.Tx, model map[string]string) {
	keys := rapid.SampledFrom([]string{"/a", "/a-b", "/a/b", "/a/b/c", "/ab", "/b", "/z"})
	for range rapid.IntRange(0, 6).Draw(t, "ops") {
		key := keys.Draw(t, "key")
		if rapid.Bool().Draw(t, "delete") {
			tx.Delete(key)
			delete(model, key)
		} else {
			v := rapid.IntRange(0, 3).Draw(t, "value")
			if err := tx.Put(key, 1, v); err != nil {
				t.Fatal(err)
			}
			model[key] = fmt.Sprint(v)
		}
		same(t, tx.List(""), model)
	}
}

// compare holds everything that o can tell against model.
func compare(t *rapid.T, o *db.Objects, model map[string]string) {
	same(t, o.List(""), model)
	prefix := rapid.SampledFrom([]string{"/a", "/a/", "/a/b", "/b", "/c"}).Draw(t, "prefix")
	part := maps.Clone(model)
	maps.DeleteFunc(part, func(k, _ string) bool { return !strings.HasPrefix(k, prefix) })
	same(t, o.List(prefix), part)
	for key := range part {
		if got := o.Get(key); got == nil || string(got.Value) != part[key] {
			t.Fatalf("get %s: %v, want %s", key, got, part[key])
		}
	}
}

// same compares objects, which must be sorted, with a model of them.
func same(t *rapid.T, objs []*db.Object, model map[string]string) {
	t.Helper()
	var have, want []string
	for _, o := range objs {
		have = append(have, o.Key+"="+string(o.Value))
	}
	for _, key := range slices.Sorted(maps.Keys(model)) {
		want = append(want, key+"="+model[key])
	}
	if !slices.Equal(have, want) {
		t.Fatalf("objects %v, want %v", have, want)
	}
}
