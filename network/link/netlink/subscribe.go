package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// queue is the size of the queue of notifications, in bytes. Beyond it the
// kernel drops, says so (ENOBUFS), and everything is read again.
const queue = 8 << 20

// subscribe returns a socket that receives the notifications about links,
// addresses and routes.
func subscribe() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, queue); err != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, queue)
	}
	groups := uint32(0)
	for _, g := range []int{
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	} {
		groups |= 1 << (g - 1)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// drain empties the queue of notifications and marks what they are about as
// stale. It reports whether foreign routes are that were not before.
func (h *Host) drain() (changed bool, err error) {
	fresh := !h.routes.stale
	if err := h.receive(); err != nil {
		h.lost = true
		return false, fmt.Errorf("netlink: %w", err)
	}
	return fresh && h.routes.stale, nil
}

// receive takes in all notifications that are in the queue.
func (h *Host) receive() error {
	conn, err := h.sub.SyscallConn()
	if err != nil {
		return err
	}
	var rerr error
	err = conn.Control(func(fd uintptr) {
		for {
			n, from, err := unix.Recvfrom(int(fd), h.buf, 0)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case errors.Is(err, unix.EAGAIN):
				return
			case errors.Is(err, unix.ENOBUFS):
				h.lost, h.routes.stale = true, true
				continue
			case err != nil:
				rerr = os.NewSyscallError("recvfrom", err)
				return
			}
			if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
				continue // not from the kernel
			}
			h.note(h.buf[:n])
		}
	})
	return errors.Join(err, rerr)
}

// mark has a link read again, with its routes if need be.
func (h *Host) mark(index int, routes bool) { h.stale[index] = h.stale[index] || routes }

// note marks as stale what a datagram of notifications is about.
func (h *Host) note(b []byte) {
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		h.lost, h.routes.stale = true, true
		return
	}
	for _, m := range msgs {
		switch m.Header.Type {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			// Bridges tell about their ports under the same type; the
			// ports tell for themselves.
			if len(m.Data) >= unix.SizeofIfInfomsg && m.Data[0] == unix.AF_UNSPEC {
				h.mark(int(int32(binary.NativeEndian.Uint32(m.Data[4:8]))), false)
			}
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			if len(m.Data) >= unix.SizeofIfAddrmsg {
				h.mark(int(binary.NativeEndian.Uint32(m.Data[4:8])), false)
			}
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			h.noteRoute(m.Data)
		}
	}
}

// noteRoute marks what a notification about a route is about: one of our own
// routes belongs to its link, and others count when they are in the main
// table.
func (h *Host) noteRoute(b []byte) {
	if len(b) < unix.SizeofRtMsg {
		return
	}
	switch table, protocol := b[4], b[5]; {
	case table != unix.RT_TABLE_MAIN || protocol == unix.RTPROT_KERNEL || protocol == unix.RTPROT_REDIRECT:
	case protocol == link.Protocol:
		for kind, value := range attrs(b[unix.SizeofRtMsg:]) {
			if kind == unix.RTA_OIF && len(value) == 4 {
				h.mark(int(binary.NativeEndian.Uint32(value)), true)
			}
		}
	default:
		h.routes.stale = true
	}
}
