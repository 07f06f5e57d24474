package daemon

import (
	"context"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

type credKey struct{}

// A cred is who is at the other end of a unix connection. What is looked up of
// it takes as long as the directory of users takes, which may be on another
// host: so it is looked up by the first request that needs it, not while others
// wait to be accepted.
type cred struct {
	unix.Ucred

	trusted func() bool   // may use the API
	name    func() string // of the user
}

// withCred notes who has opened a connection.
func withCred(ctx context.Context, c net.Conn, group int) context.Context {
	local, ok := c.(*localConn)
	if !ok {
		return ctx
	}
	raw, err := local.SyscallConn()
	if err != nil {
		return ctx
	}
	var u *unix.Ucred
	var uerr error
	if err := raw.Control(func(fd uintptr) { u, uerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || uerr != nil {
		return ctx
	}
	return context.WithValue(ctx, credKey{}, newCred(*u, group, directory{}))
}

// newCred returns the cred of a user, about whom users is asked when that is
// needed, and once.
func newCred(u unix.Ucred, group int, users users) cred {
	id := strconv.Itoa(int(u.Uid))
	return cred{
		Ucred: u,
		trusted: sync.OnceValue(func() bool {
			switch {
			case u.Uid == 0 || int(u.Uid) == os.Geteuid():
				return true
			case group < 0:
				return false
			case int(u.Gid) == group:
				return true
			}
			groups, err := users.groups(id)
			return err == nil && slices.Contains(groups, strconv.Itoa(group))
		}),
		name: sync.OnceValue(func() string {
			if name, err := users.name(id); err == nil {
				return name
			}
			return id
		}),
	}
}

// users says of users, given by their numbers, what they are called and the
// numbers of their groups.
type users interface {
	name(id string) (string, error)
	groups(id string) ([]string, error)
}

// A directory is the users that the host knows (nsswitch.conf(5)).
type directory struct{}

func (directory) name(id string) (string, error) {
	u, err := user.LookupId(id)
	if err != nil {
		return "", err
	}
	return u.Username, nil
}

func (directory) groups(id string) ([]string, error) {
	u, err := user.LookupId(id)
	if err != nil {
		return nil, err
	}
	return u.GroupIds()
}
