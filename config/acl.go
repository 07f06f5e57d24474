package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go4.org/netipx"
)

// ACL is the decoded form of a network ACL, without its name. Rules that are
// disabled are left out.
type ACL struct {
	Ingress, Egress []ACLRule // toward instances, and from them
}

// ACLRule matches packets that all of its fields match; an empty one matches
// all.
type ACLRule struct {
	Action      string // allow, drop or reject
	Logged      bool
	Source      []netipx.IPRange
	Destination []netipx.IPRange
	Protocol    string // tcp, udp, icmp4, icmp6 or empty
	SourcePort  []PortRange
	DestPort    []PortRange
	ICMPType    *uint8
	ICMPCode    *uint8
}

// ACLDefault is what a network does with traffic that no rule of its ACLs
// matches.
type ACLDefault struct {
	Action string // allow, drop or reject
	Logged bool
}

// ACLSchema declares the keys of network ACLs, which are the user's.
var ACLSchema = newSchema[ACL]("network-acl", "Network ACL", nil)

// ValidateACLName checks the name of a network ACL, which is a host name (RFC
// 1123 section 2.1) as LXD has them.
func ValidateACLName(name string) error {
	switch {
	case name == "" || len(name) > 63:
		return fmt.Errorf("invalid ACL name %q: must have 1 to 63 characters", shorten(name))
	case strings.ContainsRune("@%#", rune(name[0])):
		return fmt.Errorf("invalid ACL name %q: name cannot start with reserved character %q", name, name[0])
	case !isWord(name, "-") || strings.HasSuffix(name, "-"):
		return fmt.Errorf("invalid ACL name %q: only letters, digits and hyphens are possible, and a hyphen neither first nor last", name)
	case strings.Trim(name, "0123456789") == "":
		return fmt.Errorf("invalid ACL name %q: must not be a number", name)
	}
	return nil
}

// aclNames accepts a list of names of network ACLs and returns it without
// duplicates, in its order.
var aclNames = func() Type[[]string] {
	t := list(Type[string]{Parse: func(s string) (string, error) {
		if ValidateACLName(s) != nil {
			return "", errors.New("not the name of a network ACL")
		}
		return s, nil
	}}, "list of network ACLs")
	parse := t.Parse
	t.Parse = func(s string) ([]string, error) {
		var out []string
		all, err := parse(s)
		for _, name := range all {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
		return out, err
	}
	return t
}()

// aclKeys declare what a network does with ACLs.
var aclKeys = slices.Concat([]entry[Bridge]{field(Key{
	Name: "security.acls", DefaultDoc: "none",
	Doc:    "Network ACLs for what goes to and comes from instances of the network.",
	Detail: "Separated by commas. Once there is one, what no rule matches is treated as `security.acls.default.*` says.",
}, aclNames, func(b *Bridge) *[]string { return &b.ACLs })},
	aclDefaultKeys("ingress", "goes to", func(b *Bridge) *ACLDefault { return &b.Ingress }),
	aclDefaultKeys("egress", "comes from", func(b *Bridge) *ACLDefault { return &b.Egress }))

func aclDefaultKeys(direction, goes string, at func(*Bridge) *ACLDefault) []entry[Bridge] {
	key := "security.acls.default." + direction
	return []entry[Bridge]{
		field(Key{
			Name: key + ".action", Default: "reject",
			Doc: fmt.Sprintf("What becomes of traffic that %s instances and that no rule of the ACLs matches.", goes),
		}, oneOf("allow", "drop", "reject"), func(b *Bridge) *string { return &at(b).Action }),
		field(Key{
			Name: key + ".logged", Default: "false",
			Doc: fmt.Sprintf("Log traffic that %s instances and that no rule of the ACLs matches.", goes),
		}, boolean, func(b *Bridge) *bool { return &at(b).Logged }),
	}
}

// An ACLSpec is a network ACL as users write it.
type ACLSpec struct {
	Config          map[string]string
	Ingress, Egress []RuleSpec
}

// A RuleSpec is a rule of a network ACL as users write it.
type RuleSpec struct {
	Action, State       string
	Source, Destination string // addresses, prefixes and ranges, separated by commas
	Protocol            string
	SourcePort          string // ports and ranges, separated by commas
	DestinationPort     string
	ICMPType, ICMPCode  string
	Description         string
}

// Decode returns the typed form of s, or everything that is wrong with it.
// Rules are counted from 0, as they are listed.
func (s ACLSpec) Decode() (ACL, error) {
	_, err := ACLSchema.Decode(s.Config)
	var a ACL
	var in, out []error
	a.Ingress, in = decodeRules("ingress", s.Ingress)
	a.Egress, out = decodeRules("egress", s.Egress)
	if err := joinSome(slices.Concat([]error{err}, in, out)); err != nil {
		return ACL{}, err
	}
	return a, nil
}

func decodeRules(direction string, specs []RuleSpec) (out []ACLRule, errs []error) {
	first := make(map[RuleSpec]int, len(specs))
	for i, s := range specs {
		if j, twice := first[s]; twice {
			errs = append(errs, fmt.Errorf("duplicate of %s rule %d: rule %d", direction, j, i))
			continue
		}
		first[s] = i
		r, wrong := s.decode()
		for _, err := range wrong {
			errs = append(errs, fmt.Errorf("invalid %s rule %d: %w", direction, i, err))
		}
		if s.State != "disabled" {
			out = append(out, r)
		}
	}
	return out, errs
}
