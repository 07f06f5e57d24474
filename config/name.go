package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// nameMax is the length of the longest interface name (IFNAMSIZ without the
// final zero).
const nameMax = 15

// reservedNames are names that mean something else to the kernel: the
// loopback, and the settings of all and of new interfaces below
// /proc/sys/net.
var reservedNames = []string{"all", "default", "lo"}

// ValidateName checks the name of a network. It is the name of its interface,
// and part of paths, of nftables names and of dnsmasq's configuration.
func ValidateName(name string) error {
	switch {
	case len(name) < 2 || len(name) > nameMax:
		return fmt.Errorf("invalid network name %q: must have 2 to %d characters", name, nameMax)
	case !isWord(name, "._-"):
		return fmt.Errorf("invalid network name %q: only letters, digits, '.', '_' and '-' are possible, and the first must be a letter or digit", name)
	case strings.Trim(name, "0123456789") == "":
		return fmt.Errorf("invalid network name %q: a number would be taken for the index of an interface", name)
	case slices.Contains(reservedNames, name):
		return fmt.Errorf("invalid network name %q: the kernel uses it for something else", name)
	}
	return nil
}

// isWord reports whether s starts with a letter or digit of ASCII and goes on
// with those and the characters of others.
func isWord(s, others string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && (i == 0 || strings.IndexByte(others, s[i]) < 0) {
			return false
		}
	}
	return s != ""
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// checkChosen checks a name that the user chose as a part of a key.
func checkChosen(name string) error {
	if len(name) > 63 || !isWord(name, "_-") {
		return fmt.Errorf("invalid name %q: must be letters, digits, '_' and '-', at most 63, and start with a letter or digit", name)
	}
	return nil
}

// interfaceName accepts the name of an interface that the host has.
var interfaceName = Type[string]{
	Name: "interface name", Kind: "string",
	Parse: func(s string) (string, error) {
		switch {
		case s == "" || len(s) > nameMax:
			return "", fmt.Errorf("not an interface name of 1 to %d characters", nameMax)
		case s == "." || s == ".." || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/:%*"'\`, r) }):
			return "", errors.New("not an interface name")
		case slices.Contains(reservedNames, s):
			return "", errors.New("this interface cannot be part of a bridge")
		}
		return s, nil
	},
}

// ValidateInterfaceName checks the name of an interface that netctl makes for a
// NIC. As that of a network, it becomes part of paths and of what other tools
// are told.
func ValidateInterfaceName(name string) error {
	switch {
	case len(name) > nameMax || !isWord(name, "._-"):
		return fmt.Errorf("not an interface name of 1 to %d letters, digits, '.', '_' and '-', of which the first is a letter or digit", nameMax)
	case strings.Trim(name, "0123456789") == "":
		return errors.New("a number would be taken for the index of an interface")
	case slices.Contains(reservedNames, name):
		return errors.New("the kernel uses this name for something else")
	}
	return nil
}

// nicInterface accepts the name of an interface that netctl makes for a NIC.
var nicInterface = Type[string]{
	Name: interfaceName.Name, Kind: "string",
	Parse: func(s string) (string, error) { return s, ValidateInterfaceName(s) },
}

// interfaces accepts a list of interfaces and returns it sorted and without
// duplicates.
var interfaces = func() Type[[]string] {
	t := list(interfaceName, "list of interface names")
	parse := t.Parse
	t.Parse = func(s string) ([]string, error) {
		out, err := parse(s)
		slices.Sort(out)
		return slices.Compact(out), err
	}
	return t
}()

// dnsName accepts a domain name of letters, digits and hyphens (RFC 1123
// section 2.1).
var dnsName = Type[string]{
	Name: "DNS name", Kind: "string",
	Parse: func(s string) (string, error) {
		if s == "" || len(s) > 253 {
			return "", errors.New("not a DNS name of 1 to 253 characters")
		}
		for label := range strings.SplitSeq(s, ".") {
			if len(label) > 63 || !isWord(label, "-") || strings.HasSuffix(label, "-") {
				return "", errors.New("not a DNS name: each part has 1 to 63 letters, digits and inner hyphens")
			}
		}
		return s, nil
	},
}

// macAddress accepts the hardware address of one host and returns it in lower
// case with colons.
var macAddress = Type[string]{
	Name: "MAC address", Kind: "string",
	Parse: func(s string) (string, error) {
		mac := strings.ToLower(strings.ReplaceAll(s, "-", ":"))
		if len(mac) != 17 {
			return "", errors.New("not a MAC address, such as 02:00:5e:10:00:01")
		}
		for i := range len(mac) {
			if colon := i%3 == 2; colon != (mac[i] == ':') || !colon && strings.IndexByte("0123456789abcdef", mac[i]) < 0 {
				return "", errors.New("not a MAC address, such as 02:00:5e:10:00:01")
			}
		}
		switch {
		case strings.IndexByte("13579bdf", mac[1]) >= 0:
			return "", errors.New("a multicast address")
		case mac == "00:00:00:00:00:00":
			return "", errors.New("the unspecified address")
		}
		return mac, nil
	},
}
