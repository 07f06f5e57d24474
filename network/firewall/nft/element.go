package nft

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strconv"
	"strings"

	"netctl/network/firewall"
)

// parseElement reads one element in the form that firewall gives it.
func parseElement(s firewall.Set, raw json.RawMessage) (firewall.Element, error) {
	e := firewall.Element{Set: s.Name}
	if s.Value != "" {
		var pair [2]json.RawMessage
		if err := json.Unmarshal(raw, &pair); err != nil {
			return e, err
		}
		v, err := parseValue(pair[1])
		if err != nil {
			return e, err
		}
		e.Value, raw = v, pair[0]
	}
	var err error
	e.Key, err = parseConcat(raw, s.Key)
	return e, err
}

// parseValue reads a value of a map: a verdict, or what a key can be too.
func parseValue(raw json.RawMessage) (string, error) {
	var v struct{ Jump struct{ Target string } }
	if json.Unmarshal(raw, &v) == nil && v.Jump.Target != "" {
		return "jump " + v.Jump.Target, nil
	}
	return parseConcat(raw, nil)
}

// parseConcat reads one key, or several that are concatenated, of some types.
func parseConcat(raw json.RawMessage, types []string) (string, error) {
	var c struct{ Concat []json.RawMessage }
	parts := []json.RawMessage{raw}
	if json.Unmarshal(raw, &c) == nil && len(c.Concat) > 0 {
		parts = c.Concat
	}
	keys := make([]string, len(parts))
	for i, p := range parts {
		k, err := parseKey(p)
		if err != nil {
			return "", err
		}
		if i < len(types) {
			k = spell(k, types[i])
		}
		keys[i] = k
	}
	return strings.Join(keys, " . "), nil
}

// spell writes a key of a type as firewall does.
func spell(k, typ string) string {
	switch typ {
	case "ifname":
		return `"` + k + `"`
	case "integer":
		var b strings.Builder
		for i, part := range strings.Split(k, "-") {
			n, ok := new(big.Int).SetString(part, 0)
			if !ok {
				return k
			}
			fmt.Fprintf(&b, "%s%#x", "-"[:min(i, 1)], n)
		}
		return b.String()
	}
	return k
}

// parseKey reads a string, a number, a prefix or a range of numbers. Other
// things, such as an element with a counter, we never put into a set.
func parseKey(raw json.RawMessage) (string, error) {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		if a, err := netip.ParseAddr(s); err == nil {
			return a.String(), nil
		}
		return s, nil
	}
	var n uint64
	if json.Unmarshal(raw, &n) == nil {
		return strconv.FormatUint(n, 10), nil
	}
	var o struct {
		Prefix struct {
			Addr netip.Addr
			Len  int
		}
		Range []json.RawMessage
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return "", err
	}
	if len(o.Range) == 2 {
		return parseRange(o.Range[0], o.Range[1])
	}
	p := netip.PrefixFrom(o.Prefix.Addr, o.Prefix.Len)
	if !p.IsValid() {
		return "", fmt.Errorf("not one of our elements: %s", raw)
	}
	return p.String(), nil
}

// parseRange reads the ends of a range of numbers; large ones are strings.
func parseRange(first, last json.RawMessage) (string, error) {
	a, err := parseKey(first)
	b, berr := parseKey(last)
	for _, s := range []string{a, b} {
		if _, ok := new(big.Int).SetString(s, 0); !ok {
			return "", fmt.Errorf("not one of our ranges: %s-%s", first, last)
		}
	}
	return a + "-" + b, errors.Join(err, berr)
}
