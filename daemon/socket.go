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
