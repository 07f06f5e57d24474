package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// placeholder is the element of a key's declared name that stands for a name
// of the user's choice.
const placeholder = "NAME"

// A Schema is the set of keys that one kind of object accepts; T is what their
// values decode to.
type Schema[T any] struct {
	entity   string // as the metadata calls the kind of object
	title    string // of its part of the reference page
	entries  []entry[T]
	rules    []rule[T]
	plain    map[string]*entry[T] // entries without a placeholder, by name
	named    []*entry[T]          // entries with one
	refused  map[string]string    // why keys that may be expected do not exist
	defaults T                    // what the empty map decodes to, before rules
}

// An entry binds a key to the place in T that holds its value.
type entry[T any] struct {
	Key
	prefix, suffix string // of Name, around the placeholder
	decode         func(t *T, name, value string) error
}

// A rule is a condition that involves more than one key.
type rule[T any] struct {
	doc   string // one sentence for the reference page
	check func(*check[T])
}

// A check is the examination of one configuration.
type check[T any] struct {
	value T
	raw   map[string]string
	errs  []*KeyError
}

// fail reports that the value of key, if it has one, does not go with the rest.
func (c *check[T]) fail(key, format string, args ...any) {
	c.errs = append(c.errs, &KeyError{Key: key, Value: c.raw[key], Err: fmt.Errorf(format, args...)})
}

// field binds a key of type V to a field of T.
func field[T, V any](k Key, typ Type[V], at func(*T) *V) entry[T] {
	return named(k, typ, func(t *T, _ string) *V { return at(t) })
}

// named is field for a key with a placeholder; at gets the name in its place.
func named[T, V any](k Key, typ Type[V], at func(t *T, name string) *V) entry[T] {
	return assign(k, typ, func(t *T, name string, v V) { *at(t, name) = v })
}

// assign binds a key of type V to a function that stores its value.
func assign[T, V any](k Key, typ Type[V], set func(t *T, name string, v V)) entry[T] {
	k.Type, k.Kind, k.Values, k.Secret = typ.Name, typ.Kind, typ.Values, typ.Secret
	if k.Since == "" {
		k.Since = "0.1"
	}
	e := entry[T]{Key: k}
	e.prefix, e.suffix, _ = strings.Cut(k.Name, placeholder)
	e.decode = func(t *T, name, value string) error {
		v, err := typ.Parse(value)
		if err == nil {
			set(t, name, v)
		}
		return err
	}
	return e
}

// newSchema returns the schema with the given entries. It panics when a
// default is not a valid value, which is a mistake in a declaration.
func newSchema[T any](entity, title string, rules []rule[T], entries ...entry[T]) *Schema[T] {
	s := &Schema[T]{entity: entity, title: title, rules: rules, entries: entries, plain: map[string]*entry[T]{}}
	for i := range entries {
		e := &entries[i]
		if strings.Contains(e.Name, placeholder) {
			s.named = append(s.named, e)
			continue
		}
		s.plain[e.Name] = e
		if e.Default == "" {
			continue
		}
		if err := e.decode(&s.defaults, "", e.Default); err != nil {
			panic(fmt.Sprintf("default of %s: %v", e.Name, err))
		}
	}
	return s
}

// refuse says why keys that others have, and that users may thus expect, do not
// exist.
func (s *Schema[T]) refuse(why map[string]string) *Schema[T] {
	s.refused = why
	return s
}

// find returns the declaration of key, and the name that stands in it for the
// placeholder.
func (s *Schema[T]) find(key string) (e *entry[T], name string, ok bool) {
	if e, ok := s.plain[key]; ok {
		return e, "", true
	}
	for _, e := range s.named {
		name, ok := strings.CutPrefix(key, e.prefix)
		if !ok {
			continue
		}
		if name, ok = strings.CutSuffix(name, e.suffix); ok && !strings.Contains(name, ".") {
			return e, name, true
		}
	}
	return nil, "", false
}

// Validate checks what a user wrote and reports everything that is wrong with
// it, in the order of the keys. It accepts [Auto] where the daemon will choose
// an address.
func (s *Schema[T]) Validate(m map[string]string) error {
	c := s.check(m)
	c.errs = slices.DeleteFunc(c.errs, func(e *KeyError) bool { return errors.Is(e.Err, ErrUnresolved) })
	return c.err()
}

// Decode returns the typed form of m with the defaults filled in. It succeeds
// for every map that Validate accepts and in which each [Auto] has been
// replaced; it reports the others as Validate does, with [ErrUnresolved] for a
// remaining Auto.
func (s *Schema[T]) Decode(m map[string]string) (T, error) {
	c := s.check(m)
	if err := c.err(); err != nil {
		var zero T
		return zero, err
	}
	return c.value, nil
}

func (c *check[T]) err() error {
	slices.SortStableFunc(c.errs, func(a, b *KeyError) int { return strings.Compare(a.Key, b.Key) })
	errs := make([]error, len(c.errs))
	for i, e := range c.errs {
		errs[i] = e
	}
	return errors.Join(errs...)
}

// check decodes m and applies the rules. Keys are taken in their order, after
// the defaults, so that "address" can set a port and "port" overrides it.
func (s *Schema[T]) check(m map[string]string) *check[T] {
	c := &check[T]{value: s.defaults, raw: m}
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if isUser(key) {
			continue
		}
		e, name, ok := s.find(key)
		if why := s.refused[key]; !ok && why != "" {
			c.errs = append(c.errs, &KeyError{key, m[key], errors.New(why)})
			continue
		}
		if !ok {
			c.errs = append(c.errs, &KeyError{Key: key, Err: &UnknownKeyError{key, s.nearest(key)}})
			continue
		}
		value := m[key]
		if value == "" {
			continue
		}
		if e.prefix != e.Name {
			if err := checkChosen(name); err != nil {
				c.errs = append(c.errs, &KeyError{Key: key, Err: err})
				continue
			}
			if !seen[e.prefix+name] {
				seen[e.prefix+name] = true
				s.setDefaults(&c.value, e.prefix, name)
			}
		}
		if err := e.decode(&c.value, name, value); err != nil {
			if e.Secret {
				value = Masked
			}
			c.errs = append(c.errs, &KeyError{key, value, err})
		}
	}
	for _, r := range s.rules {
		r.check(c)
	}
	return c
}

// setDefaults gives the keys below prefix their defaults for one name.
func (s *Schema[T]) setDefaults(t *T, prefix, name string) {
	for _, e := range s.named {
		if e.prefix != prefix || e.Default == "" {
			continue
		}
		if err := e.decode(t, name, e.Default); err != nil {
			panic(fmt.Sprintf("default of %s: %v", e.Name, err))
		}
	}
}

// isUser reports whether key belongs to the user.
func isUser(key string) bool { return len(key) > len(userPrefix) && strings.HasPrefix(key, userPrefix) }

// Lookup returns the declaration of key.
func (s *Schema[T]) Lookup(key string) (Key, bool) {
	if e, _, ok := s.find(key); ok {
		return e.Key, true
	}
	if isUser(key) {
		return userKey, true
	}
	return Key{}, false
}

// userKey declares the keys that belong to the user.
var userKey = Key{
	Name: userPrefix + "*", Type: "text", Kind: "string", Since: "0.1",
	Doc: "Anything that you want to keep with the object; it is not interpreted.",
}

// Keys returns every declaration, in the order of the reference page.
func (s *Schema[T]) Keys() []Key {
	var out []Key
	for i := range s.entries {
		out = append(out, s.entries[i].Key)
	}
	return append(out, userKey)
}

// Scope returns the scope of key; ok is false for a key that does not exist.
func (s *Schema[T]) Scope(key string) (scope Scope, ok bool) {
	k, ok := s.Lookup(key)
	return k.Scope, ok
}

// Split separates m by scope. Keys that do not exist count as global.
func (s *Schema[T]) Split(m map[string]string) (global, member map[string]string) {
	global, member = map[string]string{}, map[string]string{}
	for key, value := range m {
		if scope, _ := s.Scope(key); scope == Member {
			member[key] = value
		} else {
			global[key] = value
		}
	}
	return global, member
}

// Defaults returns the keys that have a fixed default, with it. Keys with a
// name of the user's choice are not among them.
func (s *Schema[T]) Defaults() map[string]string {
	out := map[string]string{}
	for name, e := range s.plain {
		if e.Default != "" {
			out[name] = e.Default
		}
	}
	return out
}

// IsSecret reports whether the value of key must not be shown.
func (s *Schema[T]) IsSecret(key string) bool {
	k, _ := s.Lookup(key)
	return k.Secret
}

// Mask returns m with [Masked] in the place of every secret.
func (s *Schema[T]) Mask(m map[string]string) map[string]string {
	out := maps.Clone(m)
	for key, value := range m {
		if value != "" && s.IsSecret(key) {
			out[key] = Masked
		}
	}
	return out
}

// Unmask returns m with every [Masked] secret replaced by the one that old has
// under the same key. One that old does not have stays, and Validate refuses
// it.
func (s *Schema[T]) Unmask(m, old map[string]string) map[string]string {
	out := maps.Clone(m)
	for key, value := range m {
		if value == Masked && old[key] != "" && s.IsSecret(key) {
			out[key] = old[key]
		}
	}
	return out
}
