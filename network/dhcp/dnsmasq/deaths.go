package dnsmasq

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// deaths tells which of many processes end: an epoll(7) instance over their
// pidfds.
type deaths struct{ epoll, cancel int }

func newDeaths() (*deaths, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	cancel, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	d := &deaths{epoll, cancel}
	if err := d.add(cancel); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *deaths) close() {
	_ = unix.Close(d.epoll)
	_ = unix.Close(d.cancel)
}

func (d *deaths) add(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(d.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
}

func (d *deaths) remove(fd int) { _ = unix.EpollCtl(d.epoll, unix.EPOLL_CTL_DEL, fd, nil) }

// poll returns the pidfds of some processes that have ended.
func (d *deaths) poll() []int {
	var fds []int
	events := make([]unix.EpollEvent, 256)
	n, err := unix.EpollWait(d.epoll, events, 0)
	if err != nil {
		return nil
	}
	for _, e := range events[:n] {
		if int(e.Fd) != d.cancel {
			fds = append(fds, int(e.Fd))
		}
	}
	return fds
}

// wait calls each whenever a process has ended, until ctx is done.
func (d *deaths) wait(ctx context.Context, each func()) error {
	defer context.AfterFunc(ctx, func() { _, _ = unix.Write(d.cancel, []byte{1, 0, 0, 0, 0, 0, 0, 0}) })()
	defer func() { _, _ = unix.Read(d.cancel, make([]byte, 8)) }()
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(d.epoll), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
		if ctx.Err() == nil {
			each()
		}
	}
	return nil
}
