package gobgp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"netctl/bgp"
)

// Message types and sizes (RFC 4271 sections 4.1 and 4.2, RFC 2918).
const (
	msgOpen         = 1
	msgUpdate       = 2
	msgNotification = 3
	msgKeepalive    = 4

	headerSize = 19
	maxMessage = 4096
)

// A message is one BGP message with its header, valid until the next one is
// read.
type message []byte

func (m message) kind() byte   { return m[18] }
func (m message) body() []byte { return m[headerSize:] }

// keepalive is a KEEPALIVE message.
var keepalive = func() message {
	m := make(message, headerSize)
	for i := range 16 {
		m[i] = 0xff
	}
	m[17], m[18] = headerSize, msgKeepalive
	return m
}()

var errNotBGP = errors.New("what was received is not BGP")

// readMessage reads one message into buf, which has room for the largest.
func readMessage(r *bufio.Reader, buf []byte) (message, error) {
	if _, err := io.ReadFull(r, buf[:headerSize]); err != nil {
		return nil, err
	}
	for _, b := range buf[:16] {
		if b != 0xff {
			return nil, errNotBGP
		}
	}
	n := int(binary.BigEndian.Uint16(buf[16:]))
	if n < headerSize || n > maxMessage {
		return nil, errNotBGP
	}
	if _, err := io.ReadFull(r, buf[headerSize:n]); err != nil {
		return nil, err
	}
	return message(buf[:n]), nil
}

// Offsets in the body of an OPEN, and codes within it (RFC 4271 section 4.2,
// RFC 5492, RFC 6793, RFC 4724 section 3, RFC 8950).
const (
	openAS        = 1
	openHoldTime  = 3
	openID        = 5
	openParamsLen = 9
	openParams    = 10

	paramCapabilities = 2

	capMultiprotocol   = 1
	capExtendedNextHop = 5
	capGracefulRestart = 64
	capFourOctetAS     = 65

	restartStateBit    = 0x80 // in the first octet of the capability
	forwardingStateBit = 0x80 // in the last octet of each family

	afiIPv4, afiIPv6 = 1, 2
	safiUnicast      = 1
)

// An open is what an OPEN says.
type open struct {
	asn         uint32
	holdTime    time.Duration
	id          netip.Addr
	families    map[bgp.Family]bool
	restart     bool          // it can restart gracefully, or help
	restarting  bool          // its Restart State bit
	restartTime time.Duration // it asks us to wait this long
	extended    bool          // it takes IPv6 next hops for IPv4 unicast
	asSize      int           // octets of an AS number in its UPDATEs, 2 or 4
}

// parseOpen reads the OPEN of a peer. It takes what it understands of it; the
// rest is for GoBGP to judge.
func parseOpen(m message) (open, error) {
	o := open{families: map[bgp.Family]bool{}, asSize: 2}
	b := m.body()
	if m.kind() != msgOpen || len(b) < openParams {
		return o, errNotBGP
	}
	o.asn = uint32(binary.BigEndian.Uint16(b[openAS:]))
	o.holdTime = time.Duration(binary.BigEndian.Uint16(b[openHoldTime:])) * time.Second
	o.id = netip.AddrFrom4([4]byte(b[openID:]))
	multiprotocol := false
	eachCapability(m, func(code byte, value []byte) {
		switch {
		case code == capFourOctetAS && len(value) == 4:
			o.asn, o.asSize = binary.BigEndian.Uint32(value), 4
		case code == capMultiprotocol && len(value) == 4:
			multiprotocol = true
			if f, ok := familyOf(binary.BigEndian.Uint16(value), value[3]); ok {
				o.families[f] = true
			}
		case code == capGracefulRestart && len(value) >= 2:
			o.restart = true
			o.restarting = value[0]&restartStateBit != 0
			o.restartTime = time.Duration(binary.BigEndian.Uint16(value)&0x0fff) * time.Second
		case code == capExtendedNextHop:
			for ; len(value) >= 6; value = value[6:] {
				f, ok := familyOf(binary.BigEndian.Uint16(value), value[3])
				o.extended = o.extended || ok && f == bgp.IPv4Unicast && binary.BigEndian.Uint16(value[4:]) == afiIPv6
			}
		}
	})
	if !multiprotocol {
		o.families[bgp.IPv4Unicast] = true
	}
	return o, nil
}

func familyOf(afi uint16, safi byte) (bgp.Family, bool) {
	switch {
	case safi != safiUnicast:
	case afi == afiIPv4:
		return bgp.IPv4Unicast, true
	case afi == afiIPv6:
		return bgp.IPv6Unicast, true
	}
	return "", false
}

// eachCapability calls do for the capabilities in an OPEN. It stops where the
// lengths do not add up.
func eachCapability(m message, do func(code byte, value []byte)) {
	b := m.body()
	if len(b) < openParams {
		return
	}
	params := b[openParams:]
	if n := int(b[openParamsLen]); n < len(params) {
		params = params[:n]
	}
	for len(params) >= 2 {
		kind, n := params[0], int(params[1])
		if params = params[2:]; n > len(params) {
			return
		}
		value := params[:n]
		params = params[n:]
		for kind == paramCapabilities && len(value) >= 2 {
			code, n := value[0], int(value[1])
			if value = value[2:]; n > len(value) {
				return
			}
			do(code, value[:n])
			value = value[n:]
		}
	}
}

// setHoldTime changes the hold time that an OPEN offers.
func setHoldTime(m message, d time.Duration) {
	if b := m.body(); len(b) >= openParams {
		binary.BigEndian.PutUint16(b[openHoldTime:], uint16(d/time.Second))
	}
}

// setRestartBits sets the Forwarding State bit of every family in an OPEN, and
// the Restart State bit when restarting is true.
func setRestartBits(m message, restarting bool) {
	eachCapability(m, func(code byte, value []byte) {
		if code != capGracefulRestart || len(value) < 2 {
			return
		}
		value[0] &^= restartStateBit
		if restarting {
			value[0] |= restartStateBit
		}
		for value = value[2:]; len(value) >= 4; value = value[4:] {
			value[3] |= forwardingStateBit
		}
	})
}

// Path attributes (RFC 4271 section 4.3, RFC 4760 sections 3 and 4).
const (
	attrOrigin      = 1
	attrASPath      = 2
	attrNextHop     = 3
	attrCommunities = 8 // RFC 1997
	attrMPReach     = 14
	attrMPUnreach   = 15

	attrOptional   = 0x80 // flags
	attrTransitive = 0x40
	attrLongLength = 0x10 // two octets of length

	originIGP        = 0
	originIncomplete = 2
)

// An update is the content of an UPDATE, in the message's own memory.
type update struct {
	withdrawn, announced map[bgp.Family][]byte // prefixes
	nextHop              []byte
	asPath               []byte
}

// parseUpdate takes an UPDATE apart. It returns what it has found up to where
// the message makes no sense, and whether all of it does.
func parseUpdate(m message) (u update, ok bool) {
	u = update{withdrawn: map[bgp.Family][]byte{}, announced: map[bgp.Family][]byte{}}
	withdrawn, b, ok := cut16(m.body())
	if !ok {
		return u, false
	}
	attrs, announced, ok := cut16(b)
	if !ok {
		return u, false
	}
	if len(withdrawn) > 0 {
		u.withdrawn[bgp.IPv4Unicast] = withdrawn
	}
	if len(announced) > 0 {
		u.announced[bgp.IPv4Unicast] = announced
	}
	for len(attrs) > 0 {
		if len(attrs) < 3 {
			return u, false
		}
		flags, code := attrs[0], attrs[1]
		var value []byte
		if flags&attrLongLength != 0 {
			value, attrs, ok = cut16(attrs[2:])
		} else {
			value, attrs, ok = cut8(attrs[2:])
		}
		if !ok || !u.attribute(code, value) {
			return u, false
		}
	}
	return u, true
}

// attribute takes in one path attribute.
func (u *update) attribute(code byte, value []byte) bool {
	switch code {
	case attrNextHop:
		u.nextHop = value
	case attrASPath:
		u.asPath = value
	case attrMPReach, attrMPUnreach:
		if len(value) < 3 {
			return false
		}
		f, known := familyOf(binary.BigEndian.Uint16(value), value[2])
		rest := value[3:]
		if code == attrMPUnreach {
			if known && len(rest) > 0 {
				u.withdrawn[f] = rest
			}
			return true
		}
		nextHop, rest, ok := cut8(rest)
		if !ok || len(rest) < 1 {
			return false
		}
		if known {
			u.nextHop, u.announced[f] = nextHop, rest[1:]
		}
	}
	return true
}

// asNumbers lists the AS numbers of an AS_PATH, with two or four octets each.
func asNumbers(path []byte, size int) []uint32 {
	var list []uint32
	for len(path) >= 2 {
		n := int(path[1]) * size
		if path = path[2:]; n > len(path) {
			return list
		}
		for as := path[:n]; len(as) > 0; as = as[size:] {
			if size == 4 {
				list = append(list, binary.BigEndian.Uint32(as))
			} else {
				list = append(list, uint32(binary.BigEndian.Uint16(as)))
			}
		}
		path = path[n:]
	}
	return list
}

// eachPrefix calls do for the prefixes in an NLRI field (RFC 4271 section
// 4.3). It stops at one that makes no sense.
func eachPrefix(b []byte, f bgp.Family, do func(netip.Prefix)) {
	for len(b) > 0 {
		bits := int(b[0])
		size := (bits + 7) / 8
		if b = b[1:]; len(b) < size {
			return
		}
		var a netip.Addr
		if f == bgp.IPv4Unicast {
			var raw [4]byte
			if bits > 32 {
				return
			}
			copy(raw[:], b[:size])
			a = netip.AddrFrom4(raw)
		} else {
			var raw [16]byte
			if bits > 128 {
				return
			}
			copy(raw[:], b[:size])
			a = netip.AddrFrom16(raw)
		}
		do(netip.PrefixFrom(a, bits))
		b = b[size:]
	}
}

// announcements counts the prefixes that an UPDATE announces, by family.
func announcements(m message) (v4, v6 int) {
	u, _ := parseUpdate(m)
	eachPrefix(u.announced[bgp.IPv4Unicast], bgp.IPv4Unicast, func(netip.Prefix) { v4++ })
	eachPrefix(u.announced[bgp.IPv6Unicast], bgp.IPv6Unicast, func(netip.Prefix) { v6++ })
	return v4, v6
}

// cut8 and cut16 take a field with its length in front off b.
func cut8(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	return b[1 : 1+b[0]], b[1+int(b[0]):], true
}

func cut16(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return nil, nil, false
	}
	return b[2 : 2+n], b[2+n:], true
}

// notificationOf reads a NOTIFICATION: its code, subcode and, in an
// administrative one, the text for the operator (RFC 9003 section 2).
func notificationOf(m message) (code, sub byte, text string) {
	b := m.body()
	if len(b) < 2 {
		return 0, 0, ""
	}
	code, sub = b[0], b[1]
	if code == codeCease && (sub == ceaseShutdown || sub == ceaseReset) {
		if t, _, ok := cut8(b[2:]); ok {
			text = fmt.Sprintf("%q", t)
			text = text[1 : len(text)-1]
		}
	}
	return code, sub, text
}
