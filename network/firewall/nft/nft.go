// Package nft realises a [firewall.Config] as the nftables tables "inet
// netctl" and "bridge netctl", through nft(8).
//
// What the tables hold is compared with what is wanted and only the
// difference is changed, in one transaction. The listing of a table with a
// thousand networks is long, so that it is read at the start, after a
// [Firewall.Resync], and when the kernel has announced that somebody else
// changed our tables; otherwise the last listing and our own changes since
// are what is there.
package nft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"sigs.k8s.io/knftables"

	"netctl/network/firewall"
)

// A Firewall is our tables in the network namespace in which it was made.
type Firewall struct {
	// Drift, when set, is told what an Apply is about to do although an Apply
	// with the same want has left nothing to do before: what others have
	// changed meanwhile, as the commands that undo it.
	Drift func(ctx context.Context, commands []string)

	log  *slog.Logger
	nft  knftables.Interface
	path string // of nft(8)
	wake chan struct{}
	sub  *os.File // notifications

	mu      sync.Mutex // guards what follows
	buf     []byte     // for notifications
	dirty   bool       // the tables may not be what we think
	have    picture
	applied *firewall.Config    // what the tables were last made
	sending []*firewall.Forward // that are in the tables
}

// A picture is what we think our tables are.
type picture struct {
	present map[string]bool             // by family
	config  firewall.Config             // whose parts are all there; none unless whole
	whole   bool                        // no part is left out
	parts   map[string]firewall.Content // by label
	count   map[firewall.Element]int    // how many parts contribute an element
}

func empty() picture {
	return picture{present: map[string]bool{}, parts: map[string]firewall.Content{}, count: map[firewall.Element]int{}}
}

// New returns the Firewall of the current network namespace.
func New(log *slog.Logger) (*Firewall, error) {
	path, err := exec.LookPath("nft")
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	kn, err := knftables.New("", "", knftables.NoObjectCommentEmulation) // for the tables of all families
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	sub, err := subscribe()
	if err != nil {
		return nil, fmt.Errorf("nftables: subscribe: %w", err)
	}
	return &Firewall{
		log: log, nft: kn, path: path, wake: make(chan struct{}, 1), sub: sub,
		buf: make([]byte, 1<<17), dirty: true, have: empty(),
	}, nil
}

// Close releases the socket. No method may be called any more.
func (f *Firewall) Close() error { return f.sub.Close() }

// Changed receives a value when somebody else has changed our tables. Watch
// must run for that.
func (f *Firewall) Changed() <-chan struct{} { return f.wake }

// Resync makes the next Apply read the tables.
func (f *Firewall) Resync() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirty = true
}

// patience is how long nft may take before it is killed and tried again.
const patience = 20 * time.Second

// Apply makes the tables what want says, and does nothing when they are
// already. A table in which nothing is wanted is removed. A part of want that
// cannot be realised does not keep the others from it; the error names it.
func (f *Firewall) Apply(ctx context.Context, want firewall.Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t, err := f.diff(ctx, want)
	if !t.empty() && f.Drift != nil && f.applied != nil && same(*f.applied, want) {
		f.Drift(ctx, t.commands())
		f.applied = nil // if it cannot be undone, that is told as an error
	}
	if err := errors.Join(err, f.do(ctx, t, want)); err != nil {
		return err
	}
	f.applied = &want
	return nil
}

// do carries out t, which leads to what want says, in one transaction for each
// table: what a kernel lacks for one of them does not keep the other from being
// right.
func (f *Firewall) do(ctx context.Context, t *todo, want firewall.Config) error {
	if !t.empty() {
		if f.log.Enabled(ctx, slog.LevelDebug) {
			for _, c := range t.commands() {
				f.log.LogAttrs(ctx, slog.LevelDebug, "firewall op", slog.String("op", c))
			}
		}
		f.dirty = false
		var errs []error
		for _, l := range firewall.Layouts {
			if tx := f.transaction(t, l); tx != nil {
				errs = append(errs, f.run(ctx, l, tx))
			}
		}
		if err := errors.Join(errs...); err != nil {
			f.dirty = true
			return err
		}
	} else {
		f.dirty = false
	}
	if t.blind {
		f.dirty = true
		return nil
	}
	t.commit(&f.have)
	if err := f.forget(ctx, moves(f.sending, want.Forwards)); err != nil {
		f.log.LogAttrs(ctx, slog.LevelWarn, "flows go on that forwards send elsewhere now", slog.Any("err", err))
	}
	f.sending = want.Forwards
	return nil
}

// run carries out a transaction, and takes in the notification about it.
func (f *Firewall) run(ctx context.Context, l *firewall.Layout, tx *knftables.Transaction) error {
	if err := f.nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("nftables: table %s %s: %w", l.Family, firewall.Table, err)
	}
	if n, err := f.drain(); err != nil || n > 1 {
		f.dirty = true // somebody else was at it too
		f.poke()
	}
	return nil
}

func (f *Firewall) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Watch takes in notifications until ctx is done. It returns nil then.
func (f *Firewall) Watch(ctx context.Context) error {
	conn, err := f.sub.SyscallConn()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	if err := f.sub.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = f.sub.SetReadDeadline(time.Unix(1, 0)) })()
	err = conn.Read(func(uintptr) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if n, err := f.drain(); err != nil || n > 0 {
			f.dirty = true
			f.poke()
		}
		return false
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("nftables: %w", err)
}
