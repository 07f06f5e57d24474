package db

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Tx is what an Update sees and changes: a snapshot with the puts and
// deletes made so far on top of it. It belongs to one goroutine and ends when
// the function that was given it returns.
type Tx struct {
	base *Objects
	puts map[string]*Object // nil for a delete; what leaves base as it is is left out
}

// Get returns the object under key, or nil.
func (tx *Tx) Get(key string) *Object {
	if o, ok := tx.puts[key]; ok {
		return o
	}
	return tx.base.Get(key)
}

// List returns the objects whose keys begin with prefix, sorted by key. The
// slice must not be modified.
func (tx *Tx) List(prefix string) []*Object {
	objs := tx.base.List(prefix)
	ops := slices.DeleteFunc(tx.ops(), func(o op) bool { return !strings.HasPrefix(o.key, prefix) })
	if len(ops) == 0 {
		return objs
	}
	return merge(objs, ops)
}

// Put stores the JSON form of value under key, in the given version of its
// shape. A value that is there already is no change.
func (tx *Tx) Put(key string, schema int, value any) error {
	if err := checkKey(key); err != nil {
		return err
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if old := tx.base.Get(key); old != nil && old.Schema == schema && bytes.Equal(old.Value, raw) {
		delete(tx.puts, key)
		return nil
	}
	tx.puts[key] = &Object{Key: key, Value: raw, Schema: schema}
	return nil
}

// Delete removes the object under key, if there is one.
func (tx *Tx) Delete(key string) {
	if tx.base.Get(key) == nil {
		delete(tx.puts, key)
		return
	}
	tx.puts[key] = nil
}

// ops returns the changes made so far, sorted by key.
func (tx *Tx) ops() []op {
	ops := make([]op, 0, len(tx.puts))
	for _, key := range slices.Sorted(maps.Keys(tx.puts)) {
		ops = append(ops, op{key, tx.puts[key]})
	}
	return ops
}

// Apply is the part of Update that is the same for every engine: it runs fn on
// base, holds what it changed to the limits, and checks the result. It returns
// the next snapshot and the change that leads to it; when fn changed nothing,
// it returns base itself and skips the check.
func Apply(ctx context.Context, base *Objects, check Check, fn func(*Tx) error) (*Objects, Change, error) {
	if err := ctx.Err(); err != nil {
		return nil, Change{}, err
	}
	tx := &Tx{base: base, puts: map[string]*Object{}}
	if err := fn(tx); err != nil {
		return nil, Change{}, err
	}
	ops := tx.ops()
	if len(ops) == 0 {
		return base, Change{}, nil
	}
	if err := limit(ops); err != nil {
		return nil, Change{}, err
	}
	return follow(ctx, base, check, ops)
}

// Replace is Apply for a change of everything at once, to what was in other
// objects, as when a backup is restored. It is not held to the limits.
func Replace(ctx context.Context, base *Objects, check Check, other *Objects) (*Objects, Change, error) {
	tx := &Tx{base: base, puts: map[string]*Object{}}
	for _, o := range base.list {
		if other.Get(o.Key) == nil {
			tx.Delete(o.Key)
		}
	}
	for _, o := range other.list {
		if err := tx.Put(o.Key, o.Schema, o.Value); err != nil {
			return nil, Change{}, err
		}
	}
	ops := tx.ops()
	if len(ops) == 0 {
		return base, Change{}, nil
	}
	return follow(ctx, base, check, ops)
}

// follow returns the snapshot after base that ops lead to, if it passes check.
func follow(ctx context.Context, base *Objects, check Check, ops []op) (*Objects, Change, error) {
	change := Change{Revision: base.revision + 1}
	for _, op := range ops {
		if op.put == nil {
			change.Deletes = append(change.Deletes, op.key)
			continue
		}
		op.put.Revision = change.Revision
		change.Puts = append(change.Puts, op.key)
	}
	next := &Objects{revision: change.Revision, list: merge(base.list, ops)}
	if check != nil {
		if err := check(ctx, next); err != nil {
			return nil, Change{}, err
		}
	}
	// A caller who has gone must not find later that it was done after all.
	if err := ctx.Err(); err != nil {
		return nil, Change{}, err
	}
	return next, change, nil
}

// limit holds ops to MaxOps and MaxBytes.
func limit(ops []op) error {
	size := 0
	for _, op := range ops {
		size += len(op.key)
		if op.put != nil {
			size += len(op.put.Value)
		}
	}
	if len(ops) > MaxOps {
		return fmt.Errorf("%w: %d objects changed, at most %d", ErrTooLarge, len(ops), MaxOps)
	}
	if size > MaxBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, MaxBytes)
	}
	return nil
}
