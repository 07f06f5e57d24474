package netlink

import (
	"errors"
	"fmt"
	"os"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// addTap makes a tap. Until the last step it lasts only as long as the file
// through which it is made, so that of one whose making was interrupted nothing
// is left; the step before has put it into the group of our links.
func (h *Host) addTap(attrs vnl.LinkAttrs, t *link.Tun) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq(attrs.Name)
	if err != nil {
		return err
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
	if t.MultiQueue {
		flags |= unix.IFF_MULTI_QUEUE
	}
	req.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return os.NewSyscallError("TUNSETIFF", err)
	}
	// A tap without either is open to everybody, and with both only to a user
	// who is in the group.
	if t.UID != 0 || t.GID == 0 {
		err = unix.IoctlSetInt(fd, unix.TUNSETOWNER, int(t.UID))
	}
	if t.GID != 0 {
		err = errors.Join(err, unix.IoctlSetInt(fd, unix.TUNSETGROUP, int(t.GID)))
	}
	if err != nil {
		return fmt.Errorf("set user and group: %w", err)
	}
	e, err := h.again(attrs.Name)
	if err != nil {
		return err
	}
	l := generic(e)
	if attrs.HardwareAddr != nil {
		err = h.ops.LinkSetHardwareAddr(l, attrs.HardwareAddr)
	}
	if attrs.MTU != 0 {
		err = errors.Join(err, h.ops.LinkSetMTU(l, attrs.MTU))
	}
	if err = errors.Join(err, h.ops.LinkSetGroup(l, int(attrs.Group))); err != nil {
		return err
	}
	return os.NewSyscallError("TUNSETPERSIST", unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1))
}
