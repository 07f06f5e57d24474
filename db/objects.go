package db

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// An Object is one value under its key. It is never modified: a change makes a
// new Object.
type Object struct {
	Key      string
	Value    json.RawMessage // compact; must not be modified
	Schema   int             // version of the value's own shape, chosen by who puts it
	Revision Revision        // the revision that put it; 0 while it is only in a Tx
}

// Objects is an immutable snapshot of a store.
type Objects struct {
	revision Revision
	list     []*Object // sorted by key
}

// NewObjects returns the snapshot of the given revision that holds the given
// objects, which have different keys. It takes over the slice.
func NewObjects(rev Revision, list []*Object) *Objects {
	slices.SortFunc(list, func(a, b *Object) int { return cmp.Compare(a.Key, b.Key) })
	return &Objects{revision: rev, list: list}
}

// Revision returns the revision that the snapshot is of.
func (o *Objects) Revision() Revision { return o.revision }

// Len returns how many objects there are.
func (o *Objects) Len() int { return len(o.list) }

// Get returns the object under key, or nil.
func (o *Objects) Get(key string) *Object {
	if i, ok := search(o.list, key); ok {
		return o.list[i]
	}
	return nil
}

// List returns the objects whose keys begin with prefix, sorted by key. The
// slice is shared and must not be modified.
func (o *Objects) List(prefix string) []*Object { return list(o.list, prefix) }

// Changes calls each for every object in which o differs from old, in the order
// of keys: with nil for was when old does not have it, and with nil for is when
// o does not. Objects are compared by identity. Old may be nil, for nothing.
func (o *Objects) Changes(old *Objects, each func(was, is *Object)) {
	var before []*Object
	if old != nil {
		before = old.list
	}
	after := o.list
	for len(before) > 0 && len(after) > 0 {
		was, is := before[0], after[0]
		if was == is {
			before, after = before[1:], after[1:]
			continue
		}
		switch c := cmp.Compare(was.Key, is.Key); {
		case c < 0:
			each(was, nil)
			before = before[1:]
		case c > 0:
			each(nil, is)
			after = after[1:]
		default:
			each(was, is)
			before, after = before[1:], after[1:]
		}
	}
	for _, was := range before {
		each(was, nil)
	}
	for _, is := range after {
		each(nil, is)
	}
}

// search returns where key is in objs, or belongs.
func search(objs []*Object, key string) (int, bool) {
	return slices.BinarySearchFunc(objs, key, func(o *Object, key string) int { return cmp.Compare(o.Key, key) })
}

// list returns the part of objs whose keys begin with prefix.
func list(objs []*Object, prefix string) []*Object {
	from, _ := search(objs, prefix)
	objs = objs[from:]
	n, _ := slices.BinarySearchFunc(objs, prefix, func(o *Object, prefix string) int {
		if strings.HasPrefix(o.Key, prefix) {
			return -1
		}
		return 1
	})
	return objs[:n:n]
}

// An op puts an object, or deletes the one under key when put is nil.
type op struct {
	key string
	put *Object
}

// merge returns objs after ops, both sorted by key. It copies pointers only,
// in runs, so one change among many objects costs a memmove.
func merge(objs []*Object, ops []op) []*Object {
	merged := make([]*Object, 0, len(objs)+len(ops))
	for _, op := range ops {
		i, found := search(objs, op.key)
		merged = append(merged, objs[:i]...)
		if op.put != nil {
			merged = append(merged, op.put)
		}
		if found {
			i++
		}
		objs = objs[i:]
	}
	return append(merged, objs...)
}
