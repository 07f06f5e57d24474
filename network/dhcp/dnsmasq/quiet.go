package dnsmasq

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// quieten makes a dnsmasq deaf to address and route changes on interfaces
// other than its own.
//
// Whenever an address changes anywhere on the host, a dnsmasq with
// bind-dynamic or DHCPv6 looks at all addresses of all interfaces: with n of
// them, a change costs n² and the making of all networks n³. There is no
// setting for that, so the socket on which the kernel tells it gets a filter
// (pidfd_getfd(2), SO_ATTACH_FILTER in socket(7)), which stays as long as the
// process does. Without the permission to trace processes this fails and
// costs time only.
func (p *proc) quieten() error {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid))
	if err != nil {
		return err
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		done, err := p.filter(n)
		if err != nil || done {
			return err
		}
	}
	return errors.New("no rtnetlink socket")
}

// filter puts the filter on descriptor n of the process if that is its
// rtnetlink socket.
func (p *proc) filter(n int) (done bool, err error) {
	fd, err := unix.PidfdGetfd(p.fd, n, 0)
	if err != nil {
		return false, os.NewSyscallError("pidfd_getfd", err)
	}
	defer func() { _ = unix.Close(fd) }()
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if errors.Is(err, unix.ENOTSOCK) || err == nil && domain != unix.AF_NETLINK {
		return false, nil
	}
	if err != nil {
		return false, os.NewSyscallError("getsockopt", err)
	}
	prog := onlyInterface(p.index)
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return false, os.NewSyscallError("setsockopt", err)
	}
	return true, nil
}

// onlyInterface is a classic BPF program over a netlink message that accepts
// all but notifications about addresses of interfaces other than index, and
// about routes.
//
// Numbers in the message are in the byte order of the host, those that the
// program loads are taken as big endian.
func onlyInterface(index uint32) []unix.SockFilter {
	const (
		ldHalf = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		ldWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jeq    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jset   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		ret    = unix.BPF_RET | unix.BPF_K

		typeAt, flagsAt = 4, 6                    // in struct nlmsghdr
		indexAt         = unix.SizeofNlMsghdr + 4 // in struct ifaddrmsg after it
		all             = 1<<32 - 1               // accept the whole message
	)
	return []unix.SockFilter{
		0:  {Code: ldHalf, K: flagsAt},
		1:  {Code: jset, K: swap16(unix.NLM_F_MULTI), Jt: 8}, // an answer
		2:  {Code: ldHalf, K: typeAt},
		3:  {Code: jeq, K: swap16(unix.RTM_NEWROUTE), Jt: 5},
		4:  {Code: jeq, K: swap16(unix.RTM_DELROUTE), Jt: 4},
		5:  {Code: jeq, K: swap16(unix.RTM_NEWADDR), Jt: 1},
		6:  {Code: jeq, K: swap16(unix.RTM_DELADDR), Jf: 3},
		7:  {Code: ldWord, K: indexAt},
		8:  {Code: jeq, K: swap32(index), Jt: 1},
		9:  {Code: ret, K: 0},
		10: {Code: ret, K: all},
	}
}

// swap16 returns what a big-endian load makes of n.
func swap16(n uint16) uint32 {
	return uint32(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, n)))
}

// swap32 returns what a big-endian load makes of n.
func swap32(n uint32) uint32 {
	return binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, n))
}
