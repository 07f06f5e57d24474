package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// queue is the size of the queue of notifications, in bytes. Beyond it the
// kernel drops, says so (ENOBUFS), and everything is read again.
const queue = 8 << 20

// subscribe returns a socket that receives the notifications about links,
// addresses, routes and queueing disciplines.
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
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_TC,
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
// stale. It reports whether foreign routes are that were not before, or
// something has changed that is read only when it is asked for.
func (h *Host) drain() (changed bool, err error) {
	fresh := !h.routes.stale
	if err := h.receive(); err != nil {
		h.lost = true
		return false, fmt.Errorf("netlink: %w", err)
	}
	h.noteNames()
	changed = fresh && h.routes.stale || h.news
	h.news = false
	return changed, nil
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
				h.lost, h.routes.stale, h.own.lost = true, true, true
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

// mark has a link read again.
func (h *Host) mark(index int) { h.stale[index] = true }

// note marks as stale what a datagram of notifications is about.
func (h *Host) note(b []byte) {
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		h.lost, h.routes.stale, h.own.lost = true, true, true
		return
	}
	for _, m := range msgs {
		switch kind := m.Header.Type; kind {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			h.noteLink(kind, m.Data)
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			if index, a, ok := parseAddr(m.Data); ok {
				h.mark(index)
				h.noteAddr(index, a.Prefix, kind == unix.RTM_DELADDR)
			}
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			h.noteRoute(kind, m.Header.Flags, m.Data)
		case unix.RTM_NEWQDISC, unix.RTM_DELQDISC, unix.RTM_NEWTFILTER, unix.RTM_DELTFILTER:
			h.noteQueue(kind, m.Data)
		}
	}
}

// noteLink marks a link as stale. A bridge tells about the state of its ports
// under the same type, with a family of its own, and that a port is gone as if
// the link were.
func (h *Host) noteLink(kind uint16, b []byte) {
	if len(b) < unix.SizeofIfInfomsg {
		return
	}
	index, flags := int(int32(binary.NativeEndian.Uint32(b[4:]))), binary.NativeEndian.Uint32(b[8:])
	if b[0] == unix.AF_BRIDGE && kind == unix.RTM_NEWLINK && h.links[index].isPort(b) {
		return // as a bridge tells of every port when its forwarding delay is over, though it has not waited for it
	}
	h.mark(index)
	if b[0] == unix.AF_UNSPEC && (kind == unix.RTM_DELLINK || flags&unix.IFF_UP == 0) {
		h.noteDown(index, false)
	}
}
