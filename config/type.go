package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Type turns the text of a value into a V.
type Type[V any] struct {
	Name   string   // what the reference calls it
	Kind   string   // string, integer or bool
	Values []string // the possible values when they are few
	Secret bool     // values are never shown
	Parse  func(string) (V, error)
}

// boolean accepts what LXD accepts.
var boolean = Type[bool]{
	Name: "bool", Kind: "bool", Values: []string{"false", "true"},
	Parse: func(s string) (bool, error) {
		switch strings.ToLower(s) {
		case "true", "1", "yes", "on":
			return true, nil
		case "false", "0", "no", "off":
			return false, nil
		default:
			return false, errors.New("not a boolean, want true or false")
		}
	},
}

// oneOf accepts a fixed set of words.
func oneOf(words ...string) Type[string] {
	return Type[string]{
		Name: strings.Join(words, ", "), Kind: "string", Values: words,
		Parse: func(s string) (string, error) {
			if !slices.Contains(words, s) {
				return "", fmt.Errorf("not one of %s", strings.Join(words, ", "))
			}
			return s, nil
		},
	}
}

// integer accepts decimal numbers from low to high.
func integer[V int | uint8 | uint16 | uint32](name string, low, high V) Type[V] {
	return Type[V]{
		Name: name, Kind: "integer",
		Parse: func(s string) (V, error) {
			n, err := parseNumber(s)
			if err != nil || n < uint64(low) || n > uint64(high) {
				return 0, fmt.Errorf("not a number from %d to %d", low, high)
			}
			return V(n), nil
		},
	}
}

// parseNumber accepts decimal digits only: no sign, no underscore.
func parseNumber(s string) (uint64, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, errors.New("not a number")
	}
	return strconv.ParseUint(s, 10, 64)
}

// asn is a four-octet AS number (RFC 6793); 0 is reserved by RFC 7607 and the
// last by RFC 7300.
var asn = func() Type[uint32] {
	t := integer[uint32]("AS number", 1, math.MaxUint32-1)
	number := t.Parse
	t.Parse = func(s string) (uint32, error) {
		n, err := number(s)
		if n == asTrans {
			return 0, errors.New("reserved: it stands for AS numbers that do not fit into two octets")
		}
		return n, err
	}
	return t
}()

// asTrans is AS_TRANS (RFC 6793 section 9).
const asTrans = 23456

// seconds accepts a number of seconds from low to high.
func seconds(low, high uint16) Type[time.Duration] {
	n := integer("seconds", low, high)
	return Type[time.Duration]{
		Name: n.Name, Kind: n.Kind,
		Parse: func(s string) (time.Duration, error) {
			v, err := n.Parse(s)
			return time.Duration(v) * time.Second, err
		},
	}
}

// holdTime is a BGP hold time: RFC 4271 section 4.2 allows 0 and everything
// from 3 on; below 9 the keepalives come too often to be of use.
var holdTime = Type[time.Duration]{
	Name: "seconds", Kind: "integer",
	Parse: func(s string) (time.Duration, error) {
		n, err := parseNumber(s)
		if err != nil || n > math.MaxUint16 || n > 0 && n < 9 {
			return 0, errors.New("not 0 or a number from 9 to 65535")
		}
		return time.Duration(n) * time.Second, nil
	},
}

// leaseTime is a DHCP lease time as dnsmasq writes it; 0 stands for infinite.
// The protocol has 32 bits for it (RFC 2132 section 9.2), and dnsmasq grants no
// less than two minutes.
var leaseTime = Type[time.Duration]{
	Name: "lease time", Kind: "string",
	Parse: func(s string) (time.Duration, error) {
		if s == "infinite" {
			return 0, nil
		}
		digits, unit := s, time.Second
		if n := len(s) - 1; n > 0 {
			if u, ok := leaseUnits[s[n]]; ok {
				digits, unit = s[:n], u
			}
		}
		n, err := parseNumber(digits)
		if err != nil {
			return 0, errors.New("not a number with unit s, m, h, d or w, or infinite")
		}
		if n > uint64((math.MaxUint32-1)*time.Second/unit) {
			return 0, errors.New("longer than the protocol can say; use infinite")
		}
		d := time.Duration(n) * unit
		if d < 2*time.Minute {
			return 0, errors.New("shorter than two minutes")
		}
		return d, nil
	},
}

var leaseUnits = map[byte]time.Duration{
	's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour,
}

// tokenTime is how long a token lives, in the form that LXD gives to the key,
// without its months and years, which have no fixed length.
var tokenTime = Type[time.Duration]{
	Name: "time span", Kind: "string",
	Parse: func(s string) (time.Duration, error) {
		const most = 52 * 7 * 24 * time.Hour
		var sum time.Duration
		for word := range strings.FieldsSeq(s) {
			unit, ok := tokenUnits[word[len(word)-1]]
			n, err := parseNumber(word[:len(word)-1])
			if !ok || err != nil {
				return 0, errors.New("not numbers with unit S, M, H, d or w, such as 1d 12H")
			}
			if n > uint64((most-sum)/unit) {
				return 0, errors.New("longer than 52w")
			}
			sum += time.Duration(n) * unit
		}
		if sum == 0 {
			return 0, errors.New("no time at all")
		}
		return sum, nil
	},
}

var tokenUnits = map[byte]time.Duration{
	'S': time.Second, 'M': time.Minute, 'H': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour,
}

// text accepts everything that can be written to a text file.
var text = Type[string]{
	Name: "text", Kind: "string",
	Parse: func(s string) (string, error) {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return "", errors.New("contains a zero byte or is not UTF-8")
		}
		return s, nil
	},
}

// md5Key is the shared secret of a TCP connection: the kernel takes up to 80
// bytes (TCP_MD5SIG_MAXKEYLEN), and RFC 2385 section 4.5 asks for ASCII.
var md5Key = Type[string]{
	Name: "secret", Kind: "string", Secret: true,
	Parse: func(s string) (string, error) {
		switch {
		case s == Masked:
			return "", errors.New("this is the mask of a password, and there is none to keep")
		case len(s) > 80:
			return "", errors.New("longer than 80 bytes")
		case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
			return "", errors.New("contains something else than printable ASCII without spaces")
		}
		return s, nil
	},
}

// list accepts elements separated by commas, with spaces around them.
func list[V any](elem Type[V], name string) Type[[]V] {
	return Type[[]V]{
		Name: name, Kind: "string",
		Parse: func(s string) ([]V, error) {
			var out []V
			for f := range strings.SplitSeq(s, ",") {
				v, err := elem.Parse(strings.TrimSpace(f))
				if err != nil {
					return nil, fmt.Errorf("%q: %w", strings.TrimSpace(f), err)
				}
				out = append(out, v)
			}
			return out, nil
		},
	}
}

// bitRate is a rate in bits per second, in the form that LXD gives to sizes in
// bits; it is at least one kilobit.
var bitRate = Type[uint64]{
	Name: "bit rate", Kind: "string",
	Parse: func(s string) (uint64, error) {
		digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
		unit, ok := bitUnits[s[len(digits):]]
		n, err := parseNumber(digits)
		switch {
		case !ok || err != nil:
			return 0, errors.New("not a number of bits per second with bit, kbit, Mbit, Gbit, Tbit, Kibit, Mibit, Gibit or Tibit")
		case n > math.MaxInt64/unit:
			return 0, errors.New("more than any link carries")
		case n*unit < 1000:
			return 0, errors.New("less than 1kbit")
		}
		return n * unit, nil
	},
}

var bitUnits = map[string]uint64{
	"": 1, "bit": 1, "kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9, "Tbit": 1e12,
	"Kibit": 1 << 10, "Mibit": 1 << 20, "Gibit": 1 << 30, "Tibit": 1 << 40,
}
