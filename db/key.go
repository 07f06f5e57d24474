package db

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Key returns the key made of parts, which must be free of slashes:
// Key("network", "br0", "member", "host1") is /network/br0/member/host1.
func Key(parts ...string) string { return "/" + strings.Join(parts, "/") }

// Parts returns the parts that Key made key of.
func Parts(key string) []string { return strings.Split(strings.TrimPrefix(key, "/"), "/") }

// checkKey refuses a key that some engine, or the eye, would take for another.
func checkKey(key string) error {
	bad := func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }
	switch {
	case !strings.HasPrefix(key, "/"):
		return fmt.Errorf("key %q does not begin with a slash", key)
	case strings.HasSuffix(key, "/"), strings.Contains(key, "//"):
		return fmt.Errorf("key %q has an empty part", key)
	case !utf8.ValidString(key), strings.ContainsFunc(key, bad):
		return fmt.Errorf("key %q has a character that cannot be printed", key)
	}
	return nil
}
