package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// listen opens the socket of the API. The lock is held, so a socket that
// exists belongs to a daemon that is gone.
func (d *Daemon) listen(ctx context.Context) (*localListener, error) {
	path := filepath.Join(d.opts.Dir, SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	gid := d.groupID()
	if gid < 0 && d.opts.Group != "" {
		d.log.Warn("group does not exist, the socket is for root alone", "group", d.opts.Group)
	}
	return newLocalListener(ctx, path, gid, localConns())
}

// localConns returns how many connections to the socket are open at one time:
// not so many that a client which forgets to close them takes the files from
// everything else.
func localConns() int {
	const most = 4096
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return most
	}
	return int(min(most, max(limit.Cur/2, 1)))
}

// A localListener is the socket of the API. Who connects when there are too
// many waits in the queue of the kernel.
type localListener struct {
	path  string
	gid   int           // of the group that may use it, or -1
	slots chan struct{} // one for each open connection
	done  chan struct{} // closed by Close

	mu     sync.Mutex
	socket *net.UnixListener
	file   os.FileInfo // of socket, at path as long as nobody takes it away
}

// newLocalListener listens at path, where nothing may be, for so many
// connections at one time.
func newLocalListener(ctx context.Context, path string, gid, conns int) (*localListener, error) {
	l := &localListener{path: path, gid: gid, slots: make(chan struct{}, conns), done: make(chan struct{})}
	return l, l.open(ctx)
}

// open opens the socket.
func (l *localListener) open(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", l.path)
	if err != nil {
		return err
	}
	socket := listener.(*net.UnixListener)
	socket.SetUnlinkOnClose(false) // what is at path then may be another's
	mode := os.FileMode(0o600)
	if l.gid >= 0 {
		mode = 0o660
		err = os.Chown(l.path, -1, l.gid)
	}
	err = errors.Join(err, os.Chmod(l.path, mode))
	file, statErr := os.Lstat(l.path)
	if err := errors.Join(err, statErr); err != nil {
		return errors.Join(err, socket.Close())
	}
	l.socket, l.file = socket, file
	return nil
}

// A finding says what is at the path of a socket.
type finding int

const (
	findOurs finding = iota
	findNothing
	findOther
)

// find says what is at the path. The file of a socket keeps its number as long
// as the socket is open, wherever the file is.
func (l *localListener) find() finding {
	switch file, err := os.Lstat(l.path); {
	case errors.Is(err, os.ErrNotExist):
		return findNothing
	case err != nil || !os.SameFile(file, l.file):
		return findOther
	}
	return findOurs
}

// renew opens the socket again when its file has gone. Connections that are
// open stay. It says what it has found at the path.
func (l *localListener) renew(ctx context.Context) (finding, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.find()
	if found != findNothing || l.closed() {
		return found, nil
	}
	old := l.socket
	if err := l.open(ctx); err != nil {
		return found, err
	}
	return found, old.Close()
}

// closed reports whether Close has been called.
func (l *localListener) closed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Accept implements net.Listener.
func (l *localListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	for {
		l.mu.Lock()
		socket := l.socket
		l.mu.Unlock()
		c, err := socket.AcceptUnix()
		if err == nil {
			return &localConn{c, sync.OnceFunc(func() { <-l.slots })}, nil
		}
		if !errors.Is(err, net.ErrClosed) || l.closed() {
			<-l.slots
			return nil, err
		}
	}
}

// Close implements net.Listener.
func (l *localListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed() {
		return nil
	}
	close(l.done)
	if l.find() == findOurs {
		_ = os.Remove(l.path)
	}
	return l.socket.Close()
}

// Addr implements net.Listener.
func (l *localListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// A localConn is a connection to the socket of the API.
type localConn struct {
	*net.UnixConn
	release func()
}

// Close implements net.Conn.
func (c *localConn) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}

// socketCheck is how often the daemon sees whether its socket is in its place.
const socketCheck = time.Second

// watchSocket puts the socket of the API back when somebody has deleted it.
// What somebody else has put there stays: they may have a reason.
func (d *Daemon) watchSocket(ctx context.Context, l *localListener) error {
	tick := time.NewTicker(socketCheck)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		found, err := l.renew(ctx)
		trouble := ""
		switch {
		case err != nil:
			trouble = err.Error()
		case found == findOther:
			trouble = "something else is in its place"
		case found == findNothing:
			d.log.Warn("the socket was deleted, and is made anew", "path", l.path)
		}
		if trouble != "" && trouble != told {
			d.log.Log(ctx, slog.LevelError, "the socket cannot be reached", "path", l.path, "err", trouble)
		}
		told = trouble
	}
}
