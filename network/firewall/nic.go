package firewall

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
)

// A NIC is the NIC of an instance, seen from the host.
type NIC struct {
	Owner   string // as of its link
	Dev     string // the interface of the host
	Network string // the bridge
	MAC     string // of the instance; lower case, with colons

	FilterMAC bool // frames from Dev have MAC as their source, also in ARP and neighbour discovery
	Hairpin   bool // frames may leave through Dev that came in through it; those to groups are kept from it
	V4, V6    NICFamily

	Priority uint32 // of what comes from Dev; 0 leaves it
}

// A NICFamily is how one address family of a NIC is treated.
//
// With Filter, packets from Dev have a source of Static and Behind, also in
// ARP and neighbour discovery, where IPv6 adds the link-local address that
// follows from MAC (RFC 4291 appendix A); DHCP requests and the detection of
// duplicates, which have no source yet, pass. What only servers and routers
// send does not: answers of DHCP, router advertisements and redirects. Neither
// do frames other than IP and ARP. Without Subnet, Static and Behind nothing of
// the family passes.
type NICFamily struct {
	Filter bool
	Static netip.Addr     // the address of the NIC; zero for none
	Behind []netip.Prefix // prefixes that are routed to it; masked, sorted
	Beyond []netip.Prefix // those of Behind that are not inside the Routes of the network; several NICs may have the same
	Subnet netip.Prefix   // of the network; masked; zero when it has no address of this family
	NAT    bool           // the network translates what leaves Subnet, but not for Behind
}

// Filtered reports whether anything is kept from Dev.
func (n *NIC) Filtered() bool { return n.FilterMAC || n.V4.Filter || n.V6.Filter }

// bridge reports whether n needs the table of family bridge.
func (n *NIC) bridge() bool { return n.Filtered() || n.Priority != 0 || n.Hairpin }

// Content implements Part. It fails when the names and addresses of the NIC are
// none that it can have.
func (n *NIC) Content() (Content, error) {
	mac, ok := parseMAC(n.MAC)
	switch {
	case !plain(n.Dev):
		return Content{}, fmt.Errorf("nic %s: the interface %q is not fit for the packet filter", n.Owner, n.Dev)
	case n.Filtered() && !ok:
		return Content{}, fmt.Errorf("nic %s: %q is not its MAC address", n.Owner, n.MAC)
	}
	var c Content
	dev := `"` + n.Dev + `"`
	add := func(set, key, value string) { c.Elements = append(c.Elements, Element{set, key, value}) }
	if n.Priority != 0 {
		add(nicPriorities, dev, classID(n.Priority))
	}
	if n.Hairpin {
		add(nicSelves, dev+" . "+dev, "")
	}
	if n.Filtered() {
		add(nicFiltered, dev, "")
	}
	if n.FilterMAC {
		add(nicMAC, dev, "")
		add(nicMACs, dev+" . "+n.MAC, "")
		add(nicLinks, fmt.Sprintf("%s . %#x", dev, new(big.Int).SetBytes(mac[:])), "")
	}
	for _, f := range []struct {
		NICFamily
		no string
	}{{n.V4, "4"}, {n.V6, "6"}} {
		if f.Filter {
			add(nicIP, dev, "")
			add(nicIPv+f.no, dev, "")
			for _, p := range f.sources(mac, f.no) {
				c.Elements = append(c.Elements, source(dev, p))
				if f.no == "6" {
					c.Elements = append(c.Elements, target(dev, p))
				}
			}
		}
		c.Elements = append(c.Elements, f.untranslated(f.no)...)
	}
	c.Sort()
	return c, nil
}

// sources returns the prefixes that a NIC may send from.
func (f NICFamily) sources(mac [6]byte, no string) []netip.Prefix {
	all := slices.Clone(f.Behind)
	if f.Static.IsValid() {
		all = append(all, netip.PrefixFrom(f.Static, f.Static.BitLen()))
	}
	if no == "6" && (f.Subnet.IsValid() || len(all) > 0) {
		all = append(all, netip.PrefixFrom(linkLocal(mac), 128))
	}
	return all
}

// source is the element by which p is a source of what comes from dev.
func source(dev string, p netip.Prefix) Element {
	set := nicAddrs
	if !p.IsSingleIP() {
		set = nicNets
	}
	return Element{Set: set + number(p.Addr()), Key: dev + " . " + text(p)}
}

// target is the element by which p may be claimed in neighbour discovery.
func target(dev string, p netip.Prefix) Element {
	number := func(a netip.Addr) string { return fmt.Sprintf("%#x", new(big.Int).SetBytes(a.AsSlice())) }
	r := netipx.RangeOfPrefix(p)
	if p.IsSingleIP() {
		return Element{Set: nicTargets, Key: dev + " . " + number(r.From())}
	}
	return Element{Set: nicTargetNets, Key: dev + " . " + number(r.From()) + "-" + number(r.To())}
}

// untranslated returns the elements by which what comes from Behind keeps its
// source, where Behind is part of what is translated. What goes there leaves by
// the bridge of the network, and is not translated anyway.
func (f NICFamily) untranslated(no string) []Element {
	var es []Element
	for _, p := range f.Behind {
		if f.NAT && f.Subnet.Overlaps(p) {
			es = append(es, Element{Set: own + no, Key: text(p)})
		}
	}
	return es
}

// linkLocal returns the link-local address that follows from a MAC address
// (RFC 4291 appendix A).
func linkLocal(mac [6]byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
}

// parseMAC reads a MAC address in lower case with colons.
func parseMAC(s string) (mac [6]byte, ok bool) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || copy(mac[:], b) != len(b) {
		return mac, false
	}
	return mac, fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]) == s
}

// classID is a priority as nft has it.
func classID(p uint32) string {
	if p == math.MaxUint32 {
		return "root"
	}
	return fmt.Sprintf("%x:%x", p>>16, p&0xffff)
}
