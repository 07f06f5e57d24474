package firewall

import (
	"fmt"
	"net/netip"
	"slices"
)

// A Forward sends what arrives for an address, of whatever host, to others. The
// source stays, but for what comes from Subnet itself and goes back there,
// whose answers would miss the host.
//
// A TCP connection is sent where the Forward says when it begins, and stays
// with that as long as it lasts, whatever becomes of the Forward. UDP has no
// connections that users would know of, and a flow of it may never end: its next
// packet goes where the Forward says then ([Forward.Moves]).
type Forward struct {
	Listen netip.Addr
	Target netip.Addr   // of what no port takes; zero drops that
	Ports  []Port       // sorted by Protocol and First, not overlapping
	Subnet netip.Prefix // of the network, masked
}

// A Port is a range of ports of a Forward.
type Port struct {
	Protocol    string // tcp or udp
	First, Last uint16
	Target      netip.Addr
	To, ToLast  uint16 // First goes to To, and so on; all go to To when ToLast is the same
}

// Content implements Part. What goes to Listen and is sent nowhere is not
// forwarded either: the host is sent it because it is exported, and it would go
// to and fro between the host and its router.
func (f *Forward) Content() (Content, error) {
	no, listen := number(f.Listen), f.Listen.String()
	if !f.Listen.IsValid() || f.Listen.Zone() != "" {
		return Content{}, fmt.Errorf("forward %q: not an address to listen on", listen)
	}
	var c Content
	add := func(set, key, value string) { c.Elements = append(c.Elements, Element{set, key, value}) }
	add(listens+no, listen, "")
	if f.Subnet.IsValid() {
		add(hairpin+no, text(f.Subnet)+" . "+text(f.Subnet), "")
	}
	if f.Target.IsValid() {
		if err := f.check(f.Target); err != nil {
			return Content{}, err
		}
		add(forwardRest+no, listen, f.Target.String())
	}
	for _, p := range f.Ports {
		if err := f.checkPort(p); err != nil {
			return Content{}, err
		}
		key := func(first, last uint16) string {
			if first == last {
				return fmt.Sprintf("%s . %s . %d", listen, p.Protocol, first)
			}
			return fmt.Sprintf("%s . %s . %d-%d", listen, p.Protocol, first, last)
		}
		to := func(port uint16) string { return fmt.Sprintf("%s . %d", p.Target, port) }
		switch {
		case p.First == p.Last:
			add(forwardPort+no, key(p.First, p.First), to(p.To))
		case p.To == p.First && p.ToLast == p.Last:
			add(forwardRange+no, key(p.First, p.Last), p.Target.String())
		case p.To == p.ToLast:
			add(forwardInto+no, key(p.First, p.Last), to(p.To))
		default:
			for i := range int(p.Last-p.First) + 1 {
				port := p.First + uint16(i) //nolint:gosec // i is at most Last-First
				add(forwardPort+no, key(port, port), to(port-p.First+p.To))
			}
		}
	}
	slices.SortFunc(c.Elements, Element.Compare)
	return c, nil
}

// check refuses targets that the rules have no place for.
func (f *Forward) check(target netip.Addr) error {
	if target.BitLen() != f.Listen.BitLen() || target.Zone() != "" {
		return fmt.Errorf("forward %s: %s is no target for it", f.Listen, target)
	}
	return nil
}

func (f *Forward) checkPort(p Port) error {
	if p.Protocol != "tcp" && p.Protocol != "udp" {
		return fmt.Errorf("forward %s: protocol %q has no ports", f.Listen, p.Protocol)
	}
	if p.First > p.Last || p.To > p.ToLast || p.ToLast-p.To != p.Last-p.First && p.To != p.ToLast {
		return fmt.Errorf("forward %s: ports %d-%d do not go to %d-%d", f.Listen, p.First, p.Last, p.To, p.ToLast)
	}
	return f.check(p.Target)
}
