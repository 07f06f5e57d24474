package dnsmasq

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// newSocket returns a socket for questions about interfaces (netdevice(7)).
func newSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	return fd, os.NewSyscallError("socket", err)
}

func closeSocket(fd int) error { return os.NewSyscallError("close", unix.Close(fd)) }

// ask returns the index of an interface.
func (s *Servers) ask(name string) (uint32, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	if err := unix.IoctlIfreq(s.socket, unix.SIOCGIFINDEX, req); err != nil {
		if errors.Is(err, unix.ENODEV) {
			return 0, fmt.Errorf("interface %s does not exist", name)
		}
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	return req.Uint32(), nil
}
