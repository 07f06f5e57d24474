package netlink

import (
	"encoding/binary"
	"errors"
	"iter"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// attrs iterates over attributes by type.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
			if n < unix.SizeofRtAttr || n > len(b) || !yield(kind&^unix.NLA_F_NESTED, b[unix.SizeofRtAttr:n]) {
				return
			}
			b = b[min(len(b), (n+3)&^3):]
		}
	}
}

// Attributes of linux/if_link.h that package unix does not name.
const (
	infoData, infoSlaveKind, infoSlaveData = 2, 4, 5    // IFLA_INFO_*
	portState, portHairpin, portIsolated   = 1, 4, 33   // IFLA_BRPORT_*
	tunOwner, tunGroup, tunType, tunMulti  = 1, 2, 3, 7 // IFLA_TUN_*
	bridgeOptions, noLocalLearn            = 46, 1 << 0 // IFLA_BR_MULTI_BOOLOPT, BR_BOOLOPT_NO_LL_LEARN
	veth, tap                              = 1, 2
	forwarding                             = 3 // BR_STATE_FORWARDING
)

var errShort = errors.New("message too short")

// parseLink returns the link that a message describes.
func parseLink(b []byte) (*entry, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return nil, errShort
	}
	flags := binary.NativeEndian.Uint32(b[8:])
	e := &entry{
		index: int(int32(binary.NativeEndian.Uint32(b[4:]))), nsid: -1,
		up: flags&unix.IFF_UP != 0, carrier: flags&unix.IFF_LOWER_UP != 0,
	}
	for kind, v := range attrs(b[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			e.name = text(v)
		case unix.IFLA_IFALIAS:
			e.alias = text(v)
		case unix.IFLA_QDISC:
			e.qdisc = text(v)
		case unix.IFLA_ADDRESS:
			e.mac = net.HardwareAddr(v).String()
		case unix.IFLA_MTU:
			e.mtu = int(number(v))
		case unix.IFLA_GROUP:
			e.group = number(v)
		case unix.IFLA_MASTER:
			e.master = int(number(v))
		case unix.IFLA_LINK:
			e.peerIndex = int(number(v))
		case unix.IFLA_LINK_NETNSID:
			e.nsid = int(int32(number(v)))
		case unix.IFLA_CARRIER:
			e.tun.Open = number(v) != 0
		case unix.IFLA_LINKINFO:
			e.parseInfo(v)
		case unix.IFLA_PROP_LIST:
			for kind, v := range attrs(v) {
				if n := text(v); kind == unix.IFLA_ALT_IFNAME && strings.HasPrefix(n, link.PortMark) {
					e.marks = append(e.marks, n)
				}
			}
		}
	}
	if e.kind != link.Tap {
		e.tun = link.Tun{}
	}
	if e.ours() {
		_, e.conf = settingsOf(b)
	}
	return e, nil
}

// parseInfo takes in what is particular to the kind of a link, and to that of
// its master.
func (e *entry) parseInfo(b []byte) {
	var data, port []byte
	for kind, v := range attrs(b) {
		switch kind {
		case unix.IFLA_INFO_KIND:
			e.kind = link.Kind(text(v))
		case infoData:
			data = v
		case infoSlaveKind:
			e.bridged = text(v) == string(link.Bridge)
		case infoSlaveData:
			port = v
		}
	}
	if e.bridged {
		e.parsePort(port)
	}
	switch e.kind {
	case link.Tap:
		e.parseTun(data)
	case link.Bridge:
		e.parseBridge(data)
	case link.Veth, link.IFB:
	}
}

// parseBridge takes in what is particular to a bridge. A kernel before Linux
// 5.0 does not say whether it is credulous.
func (e *entry) parseBridge(b []byte) {
	for kind, v := range attrs(b) {
		if kind == bridgeOptions && len(v) == 8 { // struct br_boolopt_multi: values, and which are meant
			e.credulous = number(v)&noLocalLearn == 0
		}
	}
}

// parsePort takes in what is particular to the port of a bridge.
func (e *entry) parsePort(b []byte) {
	for kind, v := range attrs(b) {
		switch kind {
		case portState:
			e.blocked = number(v) != forwarding
		case portHairpin:
			e.hairpin = number(v) != 0
		case portIsolated:
			e.isolated = number(v) != 0
		}
	}
}

// isPort reports whether e is what a bridge says of one of its ports.
func (e *entry) isPort(b []byte) bool {
	said, err := parseLink(b)
	if e == nil || err != nil {
		return false
	}
	for kind, v := range attrs(b[unix.SizeofIfInfomsg:]) {
		if kind == unix.IFLA_PROTINFO {
			said.bridged = true
			said.parsePort(v)
		}
	}
	return e.master == said.master && e.up == said.up && e.carrier == said.carrier && e.name == said.name &&
		e.mac == said.mac && e.mtu == said.mtu && e.port() == said.port()
}

// parseTun takes in what is particular to a tap. One that anybody may open has
// neither an owner nor a group, and is not as one of ours.
func (e *entry) parseTun(b []byte) {
	t := link.Tun{Open: e.tun.Open}
	owned, grouped := false, false
	for kind, v := range attrs(b) {
		switch kind {
		case tunOwner:
			t.UID, owned = number(v), true
		case tunGroup:
			t.GID, grouped = number(v), true
		case tunMulti:
			t.MultiQueue = number(v) != 0
		case tunType:
			if number(v) != tap {
				e.kind = "tun (layer 3)"
			}
		}
	}
	if !owned && !grouped {
		t.UID, t.GID = anybody, anybody
	}
	e.tun = t
}

// anybody is no user and no group.
const anybody = 1<<32 - 1

// text is a string that may end with a zero.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// number is an attribute of one, two or four bytes.
func number(b []byte) uint32 {
	switch {
	case len(b) >= 4:
		return binary.NativeEndian.Uint32(b)
	case len(b) >= 2:
		return uint32(binary.NativeEndian.Uint16(b))
	case len(b) == 1:
		return uint32(b[0])
	}
	return 0
}

// parseAddr returns the address that a message describes, and whose it is.
func parseAddr(b []byte) (index int, a addr, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return 0, addr{}, false
	}
	family, bits, scope := b[0], int(b[1]), b[3]
	flags := uint32(b[2])
	var local, address netip.Addr
	attrs, err := nl.ParseRouteAttr(b[unix.SizeofIfAddrmsg:])
	if err != nil {
		return 0, addr{}, false
	}
	for _, at := range attrs {
		switch at.Attr.Type {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(at.Value)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(at.Value)
		case unix.IFA_FLAGS:
			flags = binary.NativeEndian.Uint32(at.Value)
		}
	}
	switch {
	case !local.IsValid():
		local = address
	case address.IsValid() && address != local: // point to point
		bits = local.BitLen()
	}
	a = addr{global: scope == unix.RT_SCOPE_UNIVERSE}
	a.Prefix = netip.PrefixFrom(local, bits)
	a.Dynamic = flags&unix.IFA_F_PERMANENT == 0
	a.Unusable = flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DEPRECATED|unix.IFA_F_DADFAILED) != 0
	// IPv4 uses the same bit for secondary addresses.
	a.Temporary = family == unix.AF_INET6 && flags&unix.IFA_F_TEMPORARY != 0
	return int(binary.NativeEndian.Uint32(b[4:8])), a, a.IsValid()
}
