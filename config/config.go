// Package config declares every configuration key and turns the string maps
// that users write into checked, typed values.
//
// A key is declared once, in the [Schema] of the kind of object that has it:
// its type, scope, default, rule and documentation. Validation, decoding,
// defaults, completion, the metadata that the API serves and the reference
// page are all read from that declaration.
//
// Values are text, as users write them; an empty value means that the key is
// not set. Keys that start with "user." belong to the user and are not looked
// at. Key names and meanings follow LXD.
package config

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Auto is the value of ipvN.address that asks the daemon to choose a free
// subnet. It is valid in what users write and never stored: the daemon puts
// the chosen address in its place.
const Auto = "auto"

// None is the value of ipvN.address that turns an address family off.
const None = "none"

// Masked is what a read shows in the place of a secret. Writing it keeps the
// secret that was there.
const Masked = "***"

// userPrefix starts the keys that belong to the user.
const userPrefix = "user."

// A Scope says where the value of a key is stored.
type Scope int

// Scopes.
const (
	Global Scope = iota // one value for the whole cluster
	Member              // one value for each cluster member
)

func (s Scope) String() string { return [...]string{"global", "member"}[s] }

// A Key is the declaration of one configuration key.
type Key struct {
	// Name is the key. An element NAME stands for a name that the user
	// chooses, as in "bgp.peers.NAME.asn".
	Name string
	// Scope says where the value is stored.
	Scope Scope
	// Default is the value that applies while the key is not set.
	Default string
	// DefaultDoc describes the default in words when it is not a fixed value.
	DefaultDoc string
	// Doc says in one sentence what the key is for.
	Doc string
	// Detail is what else there is to know, in further sentences.
	Detail string
	// Since is the first release that has the key.
	Since string
	// Internal marks a key that the daemon sets.
	Internal bool

	// Type names the type, Kind is its JSON-like kind (string, integer or
	// bool), Values are the values it can have when they are few, and Secret
	// says that the value is never shown. They come from the key's type.
	Type, Kind string
	Values     []string
	Secret     bool
}

// A KeyError reports one bad key or value.
type KeyError struct {
	Key   string
	Value string // masked when the key is secret, empty when the key is missing
	Err   error  // what is wrong
}

func (e *KeyError) Error() string {
	unknown, ok := errors.AsType[*UnknownKeyError](e.Err)
	switch {
	case ok:
		return unknown.Error()
	case e.Value == "":
		return fmt.Sprintf("key %q: %v", e.Key, e.Err)
	default:
		return fmt.Sprintf("invalid value %q for key %q: %v", shorten(e.Value), e.Key, e.Err)
	}
}

func (e *KeyError) Unwrap() error { return e.Err }

// shorten cuts a value that is too long for a message.
func shorten(s string) string {
	const limit = 120
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// An UnknownKeyError reports a key that the schema does not declare.
type UnknownKeyError struct {
	Key     string
	Nearest string // a key that may have been meant, or empty
}

func (e *UnknownKeyError) Error() string {
	if e.Nearest == "" {
		return fmt.Sprintf("unknown key %q", e.Key)
	}
	return fmt.Sprintf("unknown key %q, did you mean %q?", e.Key, e.Nearest)
}

// ErrUnresolved reports the value auto where the address that it stands for is
// needed.
var ErrUnresolved = errors.New("the address has not been chosen yet")

// KeyErrors returns the KeyErrors that err, as Validate and Decode return it,
// consists of.
func KeyErrors(err error) []*KeyError {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []*KeyError
		for _, e := range joined.Unwrap() {
			out = append(out, KeyErrors(e)...)
		}
		return out
	}
	if ke, ok := errors.AsType[*KeyError](err); ok {
		return []*KeyError{ke}
	}
	return nil
}

// joinSome joins errors of lists that users write, without those that nobody
// would read. Some may be nil.
func joinSome(errs []error) error {
	const limit = 50
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if more := len(errs) - limit; more > 0 {
		errs = append(errs[:limit:limit], fmt.Errorf("and %d more errors", more))
	}
	return errors.Join(errs...)
}
