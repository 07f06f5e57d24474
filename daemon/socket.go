package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// SocketName is the name of the API's socket in the daemon's directory.
const SocketName = "unix.socket"

// errInUse says that a daemon runs in a directory.
var errInUse = errors.New("in use by another netctld")

// lock makes sure that one daemon uses a directory at a time.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is %w", filepath.Dir(path), errInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}

// listen opens the socket of the API. The lock is held, so a socket that
// exists belongs to a daemon that is gone.
func (d *Daemon) listen(ctx context.Context) (net.Listener, error) {
	path := filepath.Join(d.opts.Dir, SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	mode := os.FileMode(0o600)
	if gid := d.groupID(); gid >= 0 {
		mode = 0o660
		err = os.Chown(path, -1, gid)
	} else if d.opts.Group != "" {
		d.log.Warn("group does not exist, the socket is for root alone", "group", d.opts.Group)
	}
	if err := errors.Join(err, os.Chmod(path, mode)); err != nil {
		_ = l.Close()
		return nil, err
	}
	return newLocalListener(l.(*net.UnixListener), localConns()), nil
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
	*net.UnixListener
	slots  chan struct{} // one for each open connection
	closed chan struct{}
	close  func() error
}

func newLocalListener(l *net.UnixListener, conns int) *localListener {
	out := &localListener{UnixListener: l, slots: make(chan struct{}, conns), closed: make(chan struct{})}
	out.close = sync.OnceValue(func() error {
		close(out.closed)
		return l.Close()
	})
	return out
}

// Close implements net.Listener.
func (l *localListener) Close() error { return l.close() }

// A localConn is a connection to the socket of the API.
type localConn struct {
	*net.UnixConn
	release func()
}

// Accept implements net.Listener.
func (l *localListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.AcceptUnix()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &localConn{c, sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close implements net.Conn.
func (c *localConn) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}

// groupID returns the number of the group that may use the socket, or -1.
func (d *Daemon) groupID() int {
	g, err := user.LookupGroup(d.opts.Group)
	if err != nil {
		return -1
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1
	}
	return id
}

func connContext(group int) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, c net.Conn) context.Context { return withCred(ctx, c, group) }
}

// readyMessage is what the log says when the daemon is ready.
const readyMessage = "ready"

// hungAfter is how long a turn of the speaker may take before the daemon counts
// as hung. A million paths take a fraction of that.
const hungAfter = 2 * time.Minute

// alive reports whether the daemon does its work: the store answers, and the
// speaker has not got stuck. A data plane that hangs is no reason to start
// again; it would hang again.
func (d *Daemon) alive(ctx context.Context) bool {
	_, err := d.store.Snapshot(ctx)
	return err == nil && d.speaking.Busy() < hungAfter
}

// notify tells systemd when the daemon is ready, and for as long as it is alive
// that it is (sd_notify(3)). Without systemd it does nothing.
func (d *Daemon) notify(ctx context.Context) error {
	ready := func() bool { return d.notReady() == "" }
	if err := d.progress.until(ctx, ready); err != nil {
		return nil
	}
	if _, err := sd.SdNotify(false, sd.SdNotifyReady); err != nil {
		d.log.Warn("systemd was not told that the daemon is ready", "err", err)
	}
	d.log.Info(readyMessage, "after", time.Since(d.start.at).Round(time.Millisecond))
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if !d.alive(ctx) {
				d.log.Error("the watchdog is not fed: the daemon hangs", "turn", d.speaking.Busy().Round(time.Second))
				continue
			}
			if _, err := sd.SdNotify(false, sd.SdNotifyWatchdog); err != nil {
				d.log.Warn("watchdog was not fed", "err", err)
			}
		}
	}
}
