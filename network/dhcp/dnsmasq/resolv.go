package dnsmasq

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// rearm is how often a follower looks whether there is something to follow that
// was not there before.
const rearm = time.Minute

// maxLinks is how many symbolic links are followed, as the kernel does.
const maxLinks = 40

// A follower notices when a file changes: when it is written, when another one
// takes its name, and when that happens to a symbolic link on the way to it, as
// resolved(8) and resolvconf(8) have them.
type follower struct {
	path    string // absolute
	watcher *fsnotify.Watcher
	names   map[string]bool // the file and the links on the way to it
	watched map[string]bool // the file, and the directories of names
}

// follow returns a follower of the file at path, which need not be there.
func follow(path string) (*follower, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err // the host is out of inotify instances
	}
	f := &follower{path: path, watcher: w, watched: map[string]bool{}}
	if err := f.arm(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return f, nil
}

func (f *follower) close() error { return f.watcher.Close() }

// arm watches the way to the file as it is now. Of what is not there it watches
// what there is: the directory in which the way ends.
func (f *follower) arm() error {
	f.names = map[string]bool{}
	watched := map[string]bool{}
	var errs []error
	watch := func(path string) {
		switch err := f.watcher.Add(path); {
		case err == nil:
			watched[path] = true
		case errors.Is(err, unix.ENOSPC): // the host is out of inotify watches
			errs = append(errs, err)
		}
	}
	at := f.path
	for range maxLinks {
		f.names[at] = true
		watch(filepath.Dir(at))
		to, err := os.Readlink(at)
		if err != nil { // it is no link, or not there
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(at), to)
		}
		at = filepath.Clean(to)
	}
	// A file that is mounted over another is written without its directory
	// being told.
	watch(at)
	for path := range f.watched {
		if !watched[path] {
			_ = f.watcher.Remove(path) // it may have gone by itself
		}
	}
	f.watched = watched
	return errors.Join(errs...)
}

// run calls changed whenever the file may have changed, until ctx is done.
func (f *follower) run(ctx context.Context, changed func()) error {
	tick := time.NewTicker(rearm)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-f.watcher.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return err
			}
		case e := <-f.watcher.Events:
			if !f.names[e.Name] || e.Op == fsnotify.Chmod {
				continue
			}
		case <-tick.C:
			if err := f.arm(); err != nil {
				return err
			}
			continue
		}
		if err := f.arm(); err != nil {
			return err
		}
		changed()
	}
}

// followResolvConf wakes those who listen when the upstream DNS servers of the
// host may have changed. Without it they are noticed at the next Apply.
func (s *Servers) followResolvConf(ctx context.Context) error {
	f, err := follow(s.ResolvConf)
	if err == nil {
		err = errors.Join(f.run(ctx, s.poke), f.close())
	}
	if err != nil && ctx.Err() == nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "changes of the upstream dns servers are noticed late", slog.String("path", s.ResolvConf), slog.Any("err", err))
	}
	return nil
}

// poke wakes those who listen for changes.
func (s *Servers) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
