package dhcp

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ParseLeases reads the lease file of a dnsmasq. Lines that make no sense are
// passed over: the file belongs to another program, which may be writing it.
//
// A line is "expiry MAC address name client-id" for IPv4, and "expiry IAID
// address name DUID" for IPv6 after a line "duid DUID" with that of the
// server. A star stands for what is unknown.
func ParseLeases(data []byte) []Lease {
	var leases []Lease
	for line := range strings.SplitSeq(string(data), "\n") {
		if l, ok := parseLease(line); ok {
			leases = append(leases, l)
		}
	}
	return leases
}

// CleanLeases returns the lease file data without the lines that make no
// sense, which dnsmasq would stumble over, and lose what follows, and without
// those for which drop is true.
func CleanLeases(data []byte, drop func(Lease) bool) []byte {
	var clean strings.Builder
	for line := range strings.SplitSeq(string(data), "\n") {
		l, ok := parseLease(line)
		ok = ok && !drop(l)
		if id, duid := strings.CutPrefix(line, "duid "); duid {
			_, ok = octets(id)
		}
		if ok {
			clean.WriteString(line + "\n")
		}
	}
	return []byte(clean.String())
}

// ServerDUID returns the identifier of the DHCPv6 server that wrote the lease
// file data, or nil when there is none.
func ServerDUID(data []byte) []byte {
	for line := range strings.SplitSeq(string(data), "\n") {
		if id, ok := strings.CutPrefix(line, "duid "); ok {
			if b, ok := octets(id); ok {
				return b
			}
		}
	}
	return nil
}

func parseLease(line string) (l Lease, ok bool) {
	f := strings.Fields(line)
	if len(f) < 4 || len(f) > 5 {
		return Lease{}, false
	}
	expires, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil || expires < 0 {
		return Lease{}, false
	}
	if expires > 0 {
		l.Expires = time.Unix(expires, 0).UTC()
	}
	if l.Addr, err = netip.ParseAddr(f[2]); err != nil || l.Addr.Zone() != "" {
		return Lease{}, false
	}
	if f[3] != "*" {
		l.Hostname = f[3]
	}
	var id []byte
	if len(f) == 5 && f[4] != "*" {
		if id, ok = octets(f[4]); !ok {
			return Lease{}, false
		}
		l.ClientID = strings.ToLower(f[4])
	}
	if l.Addr.Is6() {
		l.MAC = duidMAC(id)
		if iaid, err := strconv.ParseUint(f[1], 10, 32); err == nil {
			l.IAID = uint32(iaid)
		}
		return l, true
	}
	// The type of the hardware comes first unless it is Ethernet.
	_, mac, typed := strings.Cut(f[1], "-")
	if !typed {
		mac = f[1]
	}
	if _, ok := octets(mac); !ok {
		return Lease{}, false
	}
	l.MAC = strings.ToLower(mac)
	return l, true
}

// octets reads pairs of hexadecimal digits with colons between them.
func octets(s string) ([]byte, bool) {
	b := make([]byte, 0, (len(s)+1)/3)
	for part := range strings.SplitSeq(s, ":") {
		o, err := hex.DecodeString(part)
		if err != nil || len(o) != 1 {
			return nil, false
		}
		b = append(b, o...)
	}
	return b, true
}

// duidMAC returns the link-layer address in a DUID, if it holds one: types
// DUID-LLT and DUID-LL with hardware type Ethernet (RFC 8415, section 11).
func duidMAC(id []byte) string {
	const llt, ll, ethernet = 1, 3, 1
	if len(id) < 4 || id[0] != 0 || id[2] != 0 || id[3] != ethernet {
		return ""
	}
	switch {
	case id[1] == llt && len(id) == 14:
		id = id[8:]
	case id[1] == ll && len(id) == 10:
		id = id[4:]
	default:
		return ""
	}
	pairs := make([]string, len(id))
	for i, o := range id {
		pairs[i] = hex.EncodeToString([]byte{o})
	}
	return strings.Join(pairs, ":")
}
