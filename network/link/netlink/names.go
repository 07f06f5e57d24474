package netlink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// openNames watches the names of namespaces. It does nothing as long as there
// is no directory for them.
func (s *spaces) openNames() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	s.watch = os.NewFile(uintptr(fd), "inotify")
	return nil
}

// noteNames marks the namespaces as stale whose names have come or gone.
func (h *Host) noteNames() {
	s := &h.spaces
	conn, err := s.watch.SyscallConn()
	if err != nil {
		return
	}
	var b [4096]byte
	_ = conn.Control(func(fd uintptr) {
		if !s.watched {
			_, err := unix.InotifyAddWatch(int(fd), netnsDir,
				unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVED_FROM|unix.IN_MOVED_TO|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_ONLYDIR)
			s.watched = err == nil
			s.lost = s.lost || s.watched
		}
		for s.watched {
			n, err := unix.Read(int(fd), b[:])
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || n <= 0 {
				return
			}
			h.parseNames(b[:n])
		}
	})
}

// parseNames takes in events about names (struct inotify_event).
func (h *Host) parseNames(b []byte) {
	for len(b) >= unix.SizeofInotifyEvent {
		mask, n := binary.NativeEndian.Uint32(b[4:]), int(binary.NativeEndian.Uint32(b[12:]))
		if n > len(b)-unix.SizeofInotifyEvent {
			return
		}
		switch name := text(b[unix.SizeofInotifyEvent:][:n]); {
		case mask&(unix.IN_Q_OVERFLOW|unix.IN_IGNORED|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF) != 0:
			h.spaces.lost = true
			h.spaces.watched = mask&unix.IN_Q_OVERFLOW != 0
			clear(h.matches)
		case name != "":
			h.noteName(name)
		}
		b = b[unix.SizeofInotifyEvent+n:]
	}
}

// mounting is how long after its name a namespace may appear under it.
const mounting = 50 * time.Millisecond

// noteName notes that a name has come or gone. It is news when a namespace of
// that name is ours, or the other end of a veth is in it or should be.
func (h *Host) noteName(name string) {
	s := &h.spaces
	used := s.has(name) || wants(s.wanted, name)
	if used {
		s.stale[name] = true
	}
	used = h.matches.inside(name) || used
	if s.missing[name] {
		delete(s.missing, name)
		time.AfterFunc(mounting, h.poke)
		used = true
	}
	h.news = h.news || used && !s.touched[name]
}

// watchNames takes in what happens to the names of namespaces until ctx is
// done.
func (h *Host) watchNames(ctx context.Context) error {
	conn, err := h.spaces.watch.SyscallConn()
	if err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	if err := h.spaces.watch.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = h.spaces.watch.SetReadDeadline(time.Unix(1, 0)) })()
	err = conn.Read(func(uintptr) bool {
		h.look(false)
		return false
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("inotify: %w", err)
}
