package gobgp

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"netctl/bgp"
)

// GoBGP keeps its sockets to itself, and closes a session only with a
// NOTIFICATION. They are in the file table of this process, though.

// A socket is a TCP socket of this process, by a file descriptor of our own:
// whatever GoBGP does with its own meanwhile, this one stays the same socket.
type socket struct {
	fd            int
	local, remote netip.AddrPort // remote is zero for a listener
	listening     bool
}

// eachSocket calls do for the TCP sockets of this process.
func eachSocket(do func(socket)) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		fd, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			continue
		}
		if s, ok := describe(fd); ok {
			do(s)
		}
		_ = unix.Close(fd)
	}
}

// describe looks at a file descriptor; ok is false when it is not a TCP
// socket.
func describe(fd int) (s socket, ok bool) {
	if p, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || p != unix.IPPROTO_TCP {
		return socket{}, false
	}
	s.fd = fd
	name, err := unix.Getsockname(fd)
	if err != nil {
		return socket{}, false
	}
	s.local = addrPort(name)
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && n == 1 {
		s.listening = true
	} else if name, err := unix.Getpeername(fd); err == nil {
		s.remote = addrPort(name)
	}
	return s, s.local.IsValid()
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// eachSession calls do for the connections with peers, given with the ports
// that we connect to.
func eachSession(peers map[netip.Addr]uint16, listen []netip.AddrPort, do func(socket)) {
	eachSocket(func(s socket) {
		for a, port := range peers {
			accepted := slices.ContainsFunc(listen, func(l netip.AddrPort) bool { return l.Port() == s.local.Port() })
			if a.WithZone("") == s.remote.Addr() && (s.remote.Port() == port || accepted) {
				do(s)
			}
		}
	})
}

// cutSessions ends the connections with peers in both directions at once. What
// was written before still arrives; nothing can be written any more.
func cutSessions(peers map[netip.Addr]uint16, listen []netip.AddrPort) {
	eachSession(peers, listen, func(s socket) { _ = unix.Shutdown(s.fd, unix.SHUT_RDWR) })
}

// unacknowledged counts the bytes that peers have not acknowledged yet.
func unacknowledged(peers map[netip.Addr]uint16, listen []netip.AddrPort) int {
	sum := 0
	eachSession(peers, listen, func(s socket) {
		if n, err := unix.IoctlGetInt(s.fd, unix.SIOCOUTQ); err == nil {
			sum += n
		}
	})
	return sum
}

// eachListener calls do for the listeners of the speaker.
func eachListener(listen []netip.AddrPort, do func(socket)) {
	eachSocket(func(s socket) {
		if s.listening && slices.Contains(listen, s.local) {
			do(s)
		}
	})
}

// closeListeners refuses new connections.
func closeListeners(listen []netip.AddrPort) {
	eachListener(listen, func(s socket) { _ = unix.Shutdown(s.fd, unix.SHUT_RDWR) })
}

// clearPassword lets a peer connect without TCP MD5 (RFC 2385) again.
func clearPassword(a netip.Addr, listen []netip.AddrPort) {
	eachListener(listen, func(s socket) {
		if s.local.Addr().Is4() != a.Is4() {
			return
		}
		key := unix.TCPMD5Sig{}
		ip := a.AsSlice()
		if a.Is4() {
			key.Addr.Family = unix.AF_INET
			copy(key.Addr.Data[2:], ip)
		} else {
			key.Addr.Family = unix.AF_INET6
			copy(key.Addr.Data[6:], ip)
		}
		_ = unix.SetsockoptTCPMD5Sig(s.fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &key)
	})
}

// ports lists the peers and the ports that we connect to. It needs mu.
func (s *Speaker) ports() map[netip.Addr]uint16 {
	ports := make(map[netip.Addr]uint16, len(s.peers))
	for a, p := range s.peers {
		if p.state == bgp.Established || p.added {
			ports[a] = p.used.Port
		}
	}
	return ports
}
