package firewall

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// An Element is one element of a set, or with Value of a map, in the text
// form of nft(8).
type Element struct {
	Set   string
	Key   string // the parts of a concatenation joined by " . "
	Value string
}

func (e Element) String() string {
	if e.Value != "" {
		return fmt.Sprintf("%s { %s : %s }", e.Set, e.Key, e.Value)
	}
	return fmt.Sprintf("%s { %s }", e.Set, e.Key)
}

// Compare orders elements by set and key.
func (e Element) Compare(o Element) int {
	return cmp.Or(strings.Compare(e.Set, o.Set), strings.Compare(e.Key, o.Key), strings.Compare(e.Value, o.Value))
}

// Content returns what our tables should hold. What cannot be realised is left
// out, and the error names it.
func (c Config) Content() (Content, error) {
	var out Content
	var errs []error
	for p := range c.Parts() {
		more, err := p.Content()
		out.Elements, out.Lists = append(out.Elements, more.Elements...), append(out.Lists, more.Lists...)
		errs = append(errs, err)
	}
	out.Sort()
	return out, errors.Join(errs...)
}

// Elements returns the elements that guard the port of the speaker; none for
// nil.
func (b *BGP) Elements() []Element {
	if b == nil {
		return nil
	}
	es := []Element{{Set: bgpPorts, Key: fmt.Sprint(b.Port)}}
	for _, p := range b.Peers {
		p = p.WithZone("").Unmap()
		es = append(es, Element{Set: bgpPeers + number(p), Key: p.String()})
	}
	slices.SortFunc(es, Element.Compare)
	return slices.Compact(es)
}

// Content implements Part. It fails when the name of the network is none that
// a bridge of ours can have.
func (n *Network) Content() (Content, error) {
	if !plain(n.Name) {
		return Content{}, fmt.Errorf("network %q: the name is not fit for the packet filter", n.Name)
	}
	var es []Element
	add := func(set, key, value string) { es = append(es, Element{set, key, value}) }
	dev := `"` + n.Name + `"`
	for _, f := range []Family{n.V4, n.V6} {
		if !f.Subnet.IsValid() {
			continue
		}
		no := number(f.Subnet.Addr())
		if !f.Routing {
			add(blocked+no, dev, "")
			add(bridged, dev+" . "+dev, "")
		}
		if f.Filter {
			add(filtered+no, dev, "")
			if f.Routing {
				add(routed+no, dev, "")
			}
			if f.DHCP {
				add(dhcp+no, dev, "")
			}
			if n.DNS {
				add(dns+no, dev, "")
			}
		}
		es = append(es, f.nat(no)...)
		if f.NAT {
			add(home+no, text(f.Subnet)+" . "+dev, "")
		}
	}
	c, err := n.guard()
	if err != nil {
		return Content{}, err
	}
	c.Elements = append(c.Elements, es...)
	c.Sort()
	return c, nil
}

// nat returns the elements that translate the source of what leaves a subnet.
func (f Family) nat(no string) []Element {
	if !f.NAT {
		return nil
	}
	subnet, order := text(f.Subnet), "_before"
	if f.After {
		order = "_after"
	}
	es := []Element{{Set: inside + no, Key: subnet + " . " + subnet}}
	for _, r := range f.Routes {
		// A route inside another, or inside the subnet, is covered already,
		// and the kernel refuses overlapping intervals.
		if !covered(r, f) {
			es = append(es, Element{Set: inside + no, Key: subnet + " . " + text(r)})
		}
	}
	if f.NATAddr.IsValid() {
		return append(es, Element{snat + no + order, subnet, f.NATAddr.String()}, Element{Set: translated + no, Key: f.NATAddr.String()})
	}
	return append(es, Element{Set: masquerade + no + order, Key: subnet})
}

// covered reports whether r lies in the subnet of f, or in another of its
// routes.
func covered(r netip.Prefix, f Family) bool {
	within := func(p netip.Prefix) bool { return p.Bits() < r.Bits() && p.Contains(r.Addr()) }
	return r == f.Subnet || within(f.Subnet) || slices.ContainsFunc(f.Routes, within)
}

// text is a prefix as nft prints it.
func text(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Masked().String()
}

// number ends the names of the sets of an address's family.
func number(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}

// plain reports whether name is safe inside quotes in nft(8)'s text, where a
// quote would end it and an asterisk at its end would match other interfaces.
func plain(name string) bool {
	if name == "" || len(name) > 15 {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
