package daemon

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"netctl/api"
)

type credKey struct{}

// A cred is who is at the other end of a unix connection.
type cred struct {
	uid, gid uint32
	pid      int32
	trusted  bool
}

// withCred looks up, once for each connection, who has opened it.
func withCred(ctx context.Context, c net.Conn, group int) context.Context {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return ctx
	}
	var u *unix.Ucred
	var uerr error
	if err := raw.Control(func(fd uintptr) { u, uerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || uerr != nil {
		return ctx
	}
	trusted := u.Uid == 0 || int(u.Uid) == os.Geteuid() || group >= 0 && inGroup(u, group)
	return context.WithValue(ctx, credKey{}, cred{u.Uid, u.Gid, u.Pid, trusted})
}

// inGroup reports whether a user has a group as the primary or as a
// supplementary one.
func inGroup(u *unix.Ucred, group int) bool {
	if int(u.Gid) == group {
		return true
	}
	who, err := user.LookupId(strconv.Itoa(int(u.Uid)))
	if err != nil {
		return false
	}
	ids, err := who.GroupIds()
	return err == nil && slices.Contains(ids, strconv.Itoa(group))
}

func credOf(r *http.Request) cred {
	c, _ := r.Context().Value(credKey{}).(cred)
	return c
}

// requestor describes the client for the events that its request causes.
func requestor(r *http.Request) *api.Requestor {
	c := credOf(r)
	name := fmt.Sprint(c.uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return &api.Requestor{Username: name, Protocol: "unix", Address: fmt.Sprintf("pid %d", c.pid)}
}

// authorized lets strangers read GET /1.0 and nothing else.
func authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open := r.Method == http.MethodGet && (r.URL.Path == "/" || r.URL.Path == "/1.0")
		if !credOf(r).trusted && !open {
			writeError(w, &api.Error{Code: api.Forbidden, Message: "not authorized: be root or a member of the daemon's group"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
