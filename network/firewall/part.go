package firewall

import "iter"

// A Part is one of what a Config consists of: a network, a NIC, a forward, an
// ACL, or the guard of the speaker's port. It is a pointer, and the same one as
// long as nothing of it changes.
type Part interface {
	// Label is distinct among the parts of a Config.
	Label() string
	// Content returns what the part contributes to our tables. Several parts
	// may contribute the same element, but never the same list.
	Content() (Content, error)
}

// Parts returns the parts of c.
func (c Config) Parts() iter.Seq[Part] {
	now, _ := c.Since(Config{})
	return func(yield func(Part) bool) {
		for _, p := range now {
			if !yield(p) {
				return
			}
		}
	}
}

// Since returns those parts of c and of another Config that may differ between
// the two. Where lists begin and end with the same pointers, those are left
// out, so that a change of few costs little more than a look at the pointers.
func (c Config) Since(before Config) (now, then []Part) {
	if c.BGP != before.BGP {
		if c.BGP != nil {
			now = append(now, c.BGP)
		}
		if before.BGP != nil {
			then = append(then, before.BGP)
		}
	}
	now, then = since(now, then, c.Networks, before.Networks)
	now, then = since(now, then, c.NICs, before.NICs)
	now, then = since(now, then, c.Forwards, before.Forwards)
	return since(now, then, c.ACLs, before.ACLs)
}

// since appends the parts in which a and b may differ.
func since[T interface {
	comparable
	Part
}](now, then []Part, a, b []T,
) (_, _ []Part) {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	for _, p := range a {
		now = append(now, p)
	}
	for _, p := range b {
		then = append(then, p)
	}
	return now, then
}

// Label implements Part.
func (b *BGP) Label() string { return "bgp" }

// Content implements Part.
func (b *BGP) Content() (Content, error) { return Content{Elements: b.Elements()}, nil }

// Label implements Part.
func (n *Network) Label() string { return "network " + n.Name }

// Label implements Part.
func (n *NIC) Label() string { return "nic " + n.Owner }

// Label implements Part.
func (f *Forward) Label() string { return "forward " + f.Listen.String() }

// Label implements Part.
func (a *ACL) Label() string { return "acl " + a.Name }
