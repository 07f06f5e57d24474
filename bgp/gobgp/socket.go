package gobgp

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"netctl/bgp"
)

// maxTTL is what GTSM peers expect (RFC 5082 section 3).
const maxTTL = 255

// ttls returns the TTL that packets to p are sent with and the smallest that
// packets from it may have; 0 leaves the kernel's default. A peer of another
// AS is on a link of ours unless configured otherwise.
func ttls(p bgp.Peer, asn uint32) (out, in int) {
	switch {
	case p.TTLSecurity > 0:
		return maxTTL, int(p.TTLSecurity)
	case p.ASN == asn:
		return 0, 0
	case p.Multihop > 0:
		return int(p.Multihop), 0
	}
	return 1, 0
}

// setTTLs sets the TTLs of a socket.
func setTTLs(fd int, v4 bool, out, in int) error {
	level, hops, least := unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_MINHOPCOUNT
	if v4 {
		level, hops, least = unix.IPPROTO_IP, unix.IP_TTL, unix.IP_MINTTL
	}
	if out > 0 {
		if err := unix.SetsockoptInt(fd, level, hops, out); err != nil {
			return err
		}
	}
	if in > 0 {
		return unix.SetsockoptInt(fd, level, least, in)
	}
	return nil
}

// setPassword sets the TCP MD5 key (RFC 2385) of a socket for segments from
// and to a; the empty password removes it.
func setPassword(fd int, a netip.Addr, password string) error {
	key := unix.TCPMD5Sig{Keylen: uint16(len(password))}
	copy(key.Key[:], password)
	if a.Is4() {
		key.Addr.Family = unix.AF_INET
		copy(key.Addr.Data[2:], a.AsSlice()) // after the port
	} else {
		key.Addr.Family = unix.AF_INET6
		copy(key.Addr.Data[6:], a.AsSlice()) // after port and flow
	}
	err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &key)
	if password == "" && errors.Is(err, unix.ENOENT) {
		return nil // there was none
	}
	return err
}

// control runs do on the file descriptor of a connection or listener.
func control(c syscall.Conn, do func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return controlRaw(raw, do)
}

func controlRaw(raw syscall.RawConn, do func(fd int) error) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) { err = do(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// unacknowledged returns how many bytes of a connection the peer's kernel has
// not acknowledged yet.
func unacknowledged(c *net.TCPConn) int {
	n := 0
	_ = control(c, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		return err
	})
	return n
}

// tcpNetwork is the network of an address, as package net calls it.
func tcpNetwork(a netip.Addr) string {
	if a.Is4() {
		return "tcp4"
	}
	return "tcp6"
}
