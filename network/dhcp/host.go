package dhcp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Host is a client that the service knows: it always gets the same addresses
// and the same name.
type Host struct {
	MAC    string     // lower case with colons
	Name   string     // of the instance, resolvable in the domain of the service unless DNSMode is none; empty for none
	V4, V6 netip.Addr // zero for one from the ranges
}

// RenderHosts returns the two files of the dnsmasq that offers s which change
// with its hosts, and which it reads again on SIGHUP: known has a line for
// each host (dhcp-hostsfile), names the addresses that can be resolved before
// they are leased (addn-hosts).
//
// A host has a line in known even when there is nothing to tell of it: the
// file is also the record of who was known, see Released. An address is told
// only where DHCP leases addresses. As with Render, nothing in a host can
// become more than the word that it is.
//
// With DNSMode dynamic it is the clients that say their names, but none can
// take that of a static address.
func RenderHosts(s Service) (known, names string, err error) {
	var k, n []string
	var errs []error
	for _, h := range s.Hosts {
		if err := h.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		k = append(k, s.known(h))
		if s.dns() {
			n = append(n, s.names(h)...)
		}
	}
	if len(errs) > 0 {
		return "", "", fmt.Errorf("network %q: %w", s.Network, errors.Join(errs...))
	}
	return sortedLines(k), sortedLines(n), nil
}

// known is the line of a host in the first file.
func (s Service) known(h Host) string {
	line := h.MAC
	if h.V4.IsValid() && s.V4.Address.IsValid() && s.V4.DHCP {
		line += "," + h.V4.String()
	}
	if h.V6.IsValid() && s.V6.mode() == modeStateful {
		line += ",[" + h.V6.String() + "]"
	}
	if h.Name != "" && s.DNSMode != "dynamic" {
		line += "," + option(h.Name)
	}
	return line + "\n"
}

// names are the lines of a host in the second file.
func (s Service) names(h Host) []string {
	if h.Name == "" {
		return nil
	}
	all := h.Name
	if s.Domain != "" {
		all = h.Name + "." + s.Domain + " " + h.Name
	}
	var lines []string
	for _, a := range []netip.Addr{h.V4, h.V6} {
		if a.IsValid() {
			lines = append(lines, a.String()+" "+all+"\n")
		}
	}
	return lines
}

func sortedLines(lines []string) string {
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// AddHosts returns the files that RenderHosts has written with the hosts of s
// added whose MAC addresses they do not have. All others stay.
func AddHosts(s Service, known, names string) (moreKnown, moreNames string, err error) {
	have := map[string]bool{}
	for _, h := range ParseHosts(known) {
		have[h.MAC] = true
	}
	s.Hosts = slices.DeleteFunc(slices.Clone(s.Hosts), func(h Host) bool { return have[h.MAC] })
	k, n, err := RenderHosts(s)
	lines := func(a, b string) string { return sortedLines(slices.Collect(strings.Lines(a + b))) }
	return lines(known, k), lines(names, n), err
}

// check makes sure that a host is what its fields say.
func (h Host) check() error {
	switch mac, ok := octets(h.MAC); {
	case !ok || len(mac) != 6 || h.MAC != strings.ToLower(h.MAC):
		return fmt.Errorf("host %q: not a MAC address in lower case", h.MAC)
	case h.Name != "" && (!plain(h.Name) || '0' <= h.Name[0] && h.Name[0] <= '9'):
		return fmt.Errorf("host %s: name %q must consist of letters, digits, dots, hyphens and underscores and not start with a digit", h.MAC, h.Name)
	case h.V4.IsValid() && !h.V4.Is4():
		return fmt.Errorf("host %s: %q is not an IPv4 address", h.MAC, h.V4)
	case h.V6.IsValid() && (!h.V6.Is6() || h.V6.Is4In6() || h.V6.Zone() != ""):
		return fmt.Errorf("host %s: %q is not an IPv6 address", h.MAC, h.V6)
	}
	return nil
}

// option writes the name of a host so that it is not taken for a keyword, in
// which dnsmasq, unlike in names, tells lower case from upper. (Neither can it
// be taken for the time of a lease, which starts with a digit.)
func option(name string) string {
	if name == "ignore" || name == "infinite" {
		return strings.ToUpper(name)
	}
	return name
}

// ParseHosts reads what RenderHosts has written for the known hosts. Other
// lines are passed over.
func ParseHosts(known string) []Host {
	var hosts []Host
	for line := range strings.Lines(known) {
		var h Host
		mac, rest, more := strings.Cut(strings.TrimSuffix(line, "\n"), ",")
		for h.MAC = mac; more; {
			var word string
			word, rest, more = strings.Cut(rest, ",")
			a, err := netip.ParseAddr(strings.Trim(word, "[]"))
			switch {
			case err != nil:
				h.Name = word
			case a.Is4():
				h.V4 = a
			default:
				h.V6 = a
			}
		}
		if h.check() == nil {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// Released returns those of the leases that nobody has a right to any more
// when have were the known hosts and want are: those of hosts that are gone,
// and of addresses that were given to a host and are not any more.
//
// A DHCPv6 lease often does not say whose it is; then its address and its name
// do, which only hosts have.
func Released(leases []Lease, have, want []Host) []Lease {
	stays := make(map[string]Host, len(want))
	for _, h := range want {
		stays[h.MAC] = h
	}
	gone, names, addrs := map[string]bool{}, map[string]bool{}, map[netip.Addr]string{}
	for _, h := range have {
		now, ok := stays[h.MAC]
		if !ok {
			gone[h.MAC], names[strings.ToLower(h.Name)] = true, true
		}
		if now.V4 != h.V4 {
			addrs[h.V4] = h.MAC
		}
		if now.V6 != h.V6 {
			addrs[h.V6] = h.MAC
		}
	}
	delete(names, "")
	for _, h := range want {
		delete(names, strings.ToLower(h.Name)) // of another NIC of the same instance
	}
	return slices.DeleteFunc(slices.Clone(leases), func(l Lease) bool {
		owner, given := addrs[l.Addr]
		if l.Addr.Is4() {
			return !gone[l.MAC] && owner != l.MAC
		}
		_, known := stays[l.MAC]
		return !gone[l.MAC] && !given && (known || !names[strings.ToLower(l.Hostname)])
	})
}
