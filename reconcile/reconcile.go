// Package reconcile drives a set of targets towards the state that the
// database describes.
//
// The loop is level-triggered: a [Loop.Poke] says only that something changed,
// never what. Each turn loads the latest desired state again, so a lost,
// repeated or reordered poke does no harm, and starting after a crash is an
// ordinary turn.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// A Target brings one part of the system to the state in S.
type Target[S any] struct {
	Name string
	// Apply makes the part match want and is a no-op when it already does.
	Apply func(ctx context.Context, want S) error
	// Refresh forgets what is remembered of the system, so that the next
	// Apply reads it back; nil for a target that always does.
	Refresh func()
}

// A Status says how far one target has followed.
type Status struct {
	Target  string
	Applied int64     // the latest revision that was applied without an error
	Tried   int64     // the latest revision that was applied as far as possible
	Err     error     // of the latest turn; nil when it went well
	Since   time.Time // when Err began
}

// A Loop applies the latest state to its targets, in order. Its fields are
// not changed after New.
type Loop[S any] struct {
	opts Options[S]
	poke chan struct{}

	mu     sync.Mutex
	status []Status
	turned bool
	began  time.Time // of the turn that is being taken; zero between turns
}

// Options describe a Loop.
type Options[S any] struct {
	Load     func(context.Context) (S, error) // reads the desired state
	Revision func(S) int64                    // of the database that S was read from
	Targets  []Target[S]                      // the order is the order of dependency
	Resync   time.Duration                    // how often to check for drift
	MinDelay time.Duration                    // first retry delay; it doubles up to MaxDelay
	MaxDelay time.Duration
	Log      *slog.Logger
	Done     func() // called after every turn; may be nil
	// Measure is told how long each Apply took and how it ended; may be nil.
	Measure func(target string, took time.Duration, err error)
}

// New returns a loop that does nothing until Run.
func New[S any](o Options[S]) *Loop[S] {
	l := &Loop[S]{opts: o, poke: make(chan struct{}, 1)}
	for _, t := range o.Targets {
		l.status = append(l.status, Status{Target: t.Name})
	}
	return l
}

// Poke asks for a turn. It never blocks, and pokes that arrive during a turn
// are merged into the next one.
func (l *Loop[S]) Poke() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// Status returns the state of every target, in order.
func (l *Loop[S]) Status() []Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.status)
}

// Turned reports whether a whole turn has been taken.
func (l *Loop[S]) Turned() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.turned
}

// Busy returns for how long the present turn has been taken, or 0 between
// turns.
func (l *Loop[S]) Busy() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began.IsZero() {
		return 0
	}
	return time.Since(l.began)
}

// Run takes turns until ctx is cancelled. It is the only goroutine that
// touches the targets.
func (l *Loop[S]) Run(ctx context.Context) error {
	resync := time.NewTicker(l.opts.Resync)
	defer resync.Stop()
	delay := l.opts.MinDelay
	trouble := "" // what has been logged
	for {
		err := l.Turn(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var retry <-chan time.Time
		if err != nil {
			level := slog.LevelError
			if trouble == err.Error() {
				level = slog.LevelDebug // it is known
			}
			trouble = err.Error()
			l.opts.Log.Log(ctx, level, "turn failed", "err", err, "retry", delay)
			retry = time.After(delay)
			delay = min(2*delay, l.opts.MaxDelay)
		} else {
			if trouble != "" {
				l.opts.Log.Info("turn succeeded again")
			}
			delay, trouble = l.opts.MinDelay, ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.poke:
		case <-retry:
		case <-resync.C:
			l.refresh()
		}
	}
}

func (l *Loop[S]) refresh() {
	for _, t := range l.opts.Targets {
		if t.Refresh != nil {
			t.Refresh()
		}
	}
}

// Turn applies the latest state to every target once. A target that fails does
// not stop the others: a broken nftables must not withdraw routes. Turn is for
// the caller of Run, before Run.
func (l *Loop[S]) Turn(ctx context.Context) error {
	if l.opts.Done != nil {
		defer l.opts.Done() // runs after the lock below is released
	}
	l.begin(time.Now())
	defer l.begin(time.Time{})
	s, err := l.opts.Load(ctx)
	if err != nil {
		err = fmt.Errorf("load: %w", err)
		l.stall(err)
		return err
	}
	var errs []error
	for i, t := range l.opts.Targets {
		begin := time.Now()
		err := t.Apply(ctx, s)
		if l.opts.Measure != nil {
			l.opts.Measure(t.Name, time.Since(begin), err)
		}
		l.record(i, l.opts.Revision(s), err)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.Name, err))
		}
	}
	l.mu.Lock()
	l.turned = true
	l.mu.Unlock()
	return errors.Join(errs...)
}

func (l *Loop[S]) begin(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began = at
}

// stall records that no target could be tried.
func (l *Loop[S]) stall(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.status {
		l.status[i].fail(err)
	}
}

func (l *Loop[S]) record(i int, rev int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := &l.status[i]
	st.Tried = rev
	if err != nil {
		st.fail(err)
		return
	}
	st.Applied, st.Err, st.Since = rev, nil, time.Time{}
}

// fail takes in the error of a turn.
func (s *Status) fail(err error) {
	if s.Err == nil {
		s.Since = time.Now()
	}
	s.Err = err
}
