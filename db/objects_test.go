package db_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"netctl/db"
)

// TestChanges holds that the changes between two snapshots lead from one to
// the other, and name nothing that is the same object in both.
func TestChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := map[string][]*db.Object{}
		for _, k := range []string{"/a", "/a-b", "/a/b", "/b", "/c"} {
			pool[k] = []*db.Object{{Key: k}, {Key: k}, nil}
		}
		draw := func(name string) (*db.Objects, map[string]*db.Object) {
			have := map[string]*db.Object{}
			for _, k := range slices.Sorted(maps.Keys(pool)) {
				if o := rapid.SampledFrom(pool[k]).Draw(t, name+k); o != nil {
					have[k] = o
				}
			}
			return db.NewObjects(1, slices.Collect(maps.Values(have))), have
		}
		old, before := draw("old")
		objs, after := draw("new")
		if rapid.Bool().Draw(t, "from nothing") {
			old, before = nil, map[string]*db.Object{}
		}
		var keys []string
		objs.Changes(old, func(was, is *db.Object) {
			key := ""
			for _, o := range []*db.Object{was, is} {
				if o != nil {
					key = o.Key
				}
			}
			if was == is || was != before[key] || is != after[key] {
				t.Fatalf("%s changed from %p to %p, not from %p to %p", key, before[key], after[key], was, is)
			}
			keys = append(keys, key)
			before[key] = is
			if is == nil {
				delete(before, key)
			}
		})
		if !slices.IsSorted(keys) || !maps.Equal(before, after) {
			t.Fatalf("changes of %v lead to %v, want %v", keys, fmt.Sprint(before), after)
		}
	})
}
