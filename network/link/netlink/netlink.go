// Package netlink makes the links, addresses, routes and kernel settings of
// this host what a [link.State] says, and tells what it sees of the others.
//
// A [Host] keeps a picture of the kernel's state. It is read once, and again
// in part as the kernel's notifications (rtnetlink(7)) say what has changed:
// a notification is used only to learn which link to read again, so that a
// lost, late or repeated one does no harm. The kernel queues the
// notifications of a change before it acknowledges the change, hence emptying
// the queue first gives a picture that holds everything done so far.
//
// Kernel settings have no notifications. They are read when they are first
// asked for and after a [Host.Resync].
package netlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	nl "github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// A Host is the network namespace in which it was made.
type Host struct {
	// BeforeDelete, when set, is called once in an Apply that is going to
	// take something down, before it does. What comes in its place is there
	// already.
	BeforeDelete func(context.Context)

	// Drift, when set, is told what an Apply is about to do although an Apply
	// with the same want has left nothing to do before: what others have
	// changed meanwhile, as the commands that undo it.
	Drift func(ctx context.Context, commands []string)

	log  *slog.Logger
	wake chan struct{}
	ops  *nl.Handle // for changes
	read *reader    // for the picture
	sub  *os.File   // notifications

	applied *link.State // what the host was last made; of Apply

	mu      sync.Mutex // guards what follows
	links   map[int]*entry
	names   map[string]*entry
	stale   map[int]bool                 // links to read again
	lost    bool                         // read everything again
	touched map[string]bool              // links that we are changing: no news
	sysctls map[string]map[string]string // by interface, empty for the host, and key
	routes  foreignRoutes
	own     ownRoutes
	spaces  spaces
	rates   map[int]rates         // of links whose limits were asked for, by index
	news    bool                  // something of that kind has changed, and not by us
	buf     []byte                // for notifications
	seen    map[string]*link.Seen // nil when links changed since it was made
	ours    int                   // how many of the links are
	marked  map[int]*entry        // the links with port marks
	matches matches
	leaving chan struct{} // has one for each link whose deletion the kernel has not answered
}

// New returns a Host for the current network namespace.
func New(log *slog.Logger) (*Host, error) {
	ops, err := nl.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	h := &Host{
		log: log, ops: ops, wake: make(chan struct{}, 1), lost: true,
		links: map[int]*entry{}, names: map[string]*entry{}, stale: map[int]bool{},
		touched: map[string]bool{}, sysctls: map[string]map[string]string{},
		routes: foreignRoutes{stale: true}, marked: map[int]*entry{}, matches: matches{}, leaving: make(chan struct{}, atOnce),
		own: newOwnRoutes(), spaces: newSpaces(), rates: map[int]rates{},
		buf: make([]byte, 1<<16),
	}
	if h.read, err = newReader(); err != nil {
		ops.Close()
		return nil, fmt.Errorf("netlink: %w", err)
	}
	if h.sub, err = subscribe(); err != nil {
		h.read.close()
		ops.Close()
		return nil, fmt.Errorf("netlink: subscribe: %w", err)
	}
	if err := h.spaces.openNames(); err != nil {
		return nil, errors.Join(fmt.Errorf("netlink: %w", err), h.sub.Close())
	}
	return h, nil
}

// Close releases the sockets. No method may be called any more.
func (h *Host) Close() error {
	h.ops.Close()
	h.read.close()
	return errors.Join(h.sub.Close(), h.spaces.watch.Close())
}

// Changed receives a value when something has changed that an Apply or an
// Observe would see, other than by an Apply. Watch must run for that.
func (h *Host) Changed() <-chan struct{} { return h.wake }

func (h *Host) poke() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Resync forgets the picture: the next Apply or Observe reads everything.
func (h *Host) Resync() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost, h.routes.stale, h.own.lost, h.spaces.lost = true, true, true, true
	clear(h.sysctls)
	clear(h.matches)
	clear(h.rates)
}

// rounds is how often an Apply looks again at what its changes have led to.
const rounds = 4

// Apply makes the host what want says, and does nothing when it is already.
// What belongs to one network does not wait for another whose operations
// fail; the errors of all are joined. An interface that has the name of a
// wanted link and is not ours is an error, and is left alone.
func (h *Host) Apply(ctx context.Context, want link.State) error {
	defer h.settle()
	before := sync.OnceFunc(func() {
		if h.BeforeDelete != nil {
			h.BeforeDelete(ctx)
		}
	})
	var failed error
	for round := range rounds {
		have, found, err := h.load(want, true)
		if err != nil {
			return err
		}
		ours, foreign := h.refuse(want)
		todo := link.Diff(have, ours)
		if len(todo) == 0 {
			h.keep(found)
			if foreign == nil {
				h.applied = &want
			}
			return foreign
		}
		if round == 0 {
			h.drift(ctx, want, todo)
		}
		var done int
		done, failed = h.do(ctx, todo, before)
		failed = errors.Join(foreign, failed)
		if done == 0 {
			return failed
		}
	}
	if failed == nil {
		failed = errors.New("links: something else keeps changing what was set")
	}
	return failed
}

// drift tells of what others have changed.
func (h *Host) drift(ctx context.Context, want link.State, todo []link.Op) {
	if h.Drift == nil || h.applied == nil || !same(*h.applied, want) {
		return
	}
	commands := make([]string, len(todo))
	for i, op := range todo {
		commands[i] = op.String()
	}
	h.Drift(ctx, commands)
	h.applied = nil // if it cannot be undone, that is told as an error
}

// same reports whether two states are equal, which most of them are because
// they share what they hold.
func same(a, b link.State) bool {
	return equal(a.Links, b.Links) && equal(a.Routes, b.Routes) && equal(a.Namespaces, b.Namespaces) && slices.Equal(a.Sysctls, b.Sysctls)
}

func equal[T any](a, b []*T) bool {
	return slices.EqualFunc(a, b, func(a, b *T) bool { return a == b || reflect.DeepEqual(a, b) })
}

// settle takes in what an Apply has led to, which is no news to anybody.
func (h *Host) settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if changed, err := h.refresh(); changed || err != nil {
		h.poke()
	}
	h.untouch()
}

// untouch takes what changes from now on for others' doing.
func (h *Host) untouch() {
	clear(h.touched)
	clear(h.own.touched)
	clear(h.spaces.touched)
}

// period is how often Watch looks at settings.
const period = time.Second

// Watch takes in notifications, and looks at settings once a second, until
// ctx is done. It returns nil then.
func (h *Host) Watch(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.watchNames(ctx) })
	g.Go(func() error { return h.watchKernel(ctx) })
	return g.Wait()
}

// watchKernel is the part of Watch that is about notifications and settings.
func (h *Host) watchKernel(ctx context.Context) error {
	conn, err := h.sub.SyscallConn()
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = h.sub.SetReadDeadline(time.Unix(1, 0)) })()
	for {
		if err := h.sub.SetReadDeadline(time.Now().Add(period)); err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		if ctx.Err() != nil {
			return nil
		}
		err := conn.Read(func(uintptr) bool {
			h.look(false)
			return false
		})
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("netlink: %w", err)
		}
		if ctx.Err() != nil {
			return nil
		}
		h.look(true)
	}
}

// look brings the picture up to date, with settings if wanted, and tells when
// there is news.
func (h *Host) look(settings bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var set bool
	var serr error
	if settings {
		set, serr = h.checkSettings()
	}
	changed, err := h.drain()
	if err == nil && !h.ownDoing() {
		var more bool
		more, err = h.refresh()
		changed = changed || more
	}
	if set || changed || serr != nil || err != nil {
		h.poke()
	}
}

// ownDoing reports whether all that is to be read again is what an Apply is
// changing: it reads that itself when it is done with it.
func (h *Host) ownDoing() bool {
	for index := range h.stale {
		if e := h.links[index]; e == nil || !h.touched[e.name] {
			return false
		}
	}
	for name := range h.spaces.stale {
		if !h.spaces.touched[name] {
			return false
		}
	}
	return !h.lost && !h.own.news && !h.own.lost && !h.spaces.lost
}
