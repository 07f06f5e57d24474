package dbtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"netctl/db"
)

// testModel runs random updates against the store and against a map.
func testModel(t *testing.T, open Open) {
	s := open(t, nil)
	model := map[string]string{}
	rev := db.Revision(0)
	keys := rapid.SampledFrom([]string{"/a", "/a-b", "/a/b", "/a/b/c", "/ab", "/b", "/z"})
	rapid.Check(t, func(rt *rapid.T) {
		next := maps.Clone(model)
		fail := rapid.IntRange(0, 9).Draw(rt, "fail") == 0
		n := rapid.IntRange(0, 6).Draw(rt, "ops")
		boom := errors.New("boom")
		have, err := s.Update(t.Context(), func(tx *db.Tx) error {
			for range n {
				key := keys.Draw(rt, "key")
				if rapid.Bool().Draw(rt, "delete") {
					tx.Delete(key)
					delete(next, key)
				} else {
					v := rapid.IntRange(0, 3).Draw(rt, "value")
					if err := tx.Put(key, 1, v); err != nil {
						return err
					}
					next[key] = fmt.Sprint(v)
				}
				same(rt, tx.List(""), next)
			}
			if fail {
				return boom
			}
			return nil
		})
		switch {
		case fail:
			if !errors.Is(err, boom) {
				rt.Fatalf("error %v, want boom", err)
			}
		case err != nil:
			rt.Fatal(err)
		default:
			if !maps.Equal(model, next) {
				rev++
			}
			if have != rev {
				rt.Fatalf("revision %d, want %d", have, rev)
			}
			model = next
		}
		o, err := s.Snapshot(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		same(rt, o.List(""), model)
		prefix := rapid.SampledFrom([]string{"/a", "/a/", "/a/b", "/b", "/c"}).Draw(rt, "prefix")
		part := maps.Clone(model)
		maps.DeleteFunc(part, func(k, _ string) bool { return !strings.HasPrefix(k, prefix) })
		same(rt, o.List(prefix), part)
		for key := range part {
			if got := o.Get(key); got == nil || string(got.Value) != part[key] {
				rt.Fatalf("get %s: %v, want %s", key, got, part[key])
			}
		}
	})
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
