// Package nft realises a [firewall.Config] as the nftables table "inet
// netctl", through nft(8).
//
// What the table holds is compared with what is wanted and only the
// difference is changed, in one transaction. The listing of a table with a
// thousand networks is long, so that it is read at the start, after a
// [Firewall.Resync], and when the kernel has announced that somebody else
// changed our table; otherwise the last listing and our own changes since
// are what is there.
package nft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/knftables"

	"netctl/network/firewall"
)

// A Firewall is our table in the network namespace in which it was made.
type Firewall struct {
	log  *slog.Logger
	nft  knftables.Interface
	path string // of nft(8)
	wake chan struct{}
	sub  *os.File // notifications

	mu      sync.Mutex // guards what follows
	dirty   bool       // the table may not be what we think
	present bool       // the table exists
	have    map[string]owned
}

// owned is what belongs to one network; to the speaker when the name is
// empty.
type owned struct {
	config   any
	elements []firewall.Element
}

// New returns the Firewall of the current network namespace.
func New(log *slog.Logger) (*Firewall, error) {
	path, err := exec.LookPath("nft")
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	kn, err := knftables.New(knftables.InetFamily, firewall.Table, knftables.NoObjectCommentEmulation)
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	sub, err := subscribe()
	if err != nil {
		return nil, fmt.Errorf("nftables: subscribe: %w", err)
	}
	return &Firewall{
		log: log, nft: kn, path: path, wake: make(chan struct{}, 1), sub: sub,
		dirty: true, have: map[string]owned{},
	}, nil
}

// Close releases the socket. No method may be called any more.
func (f *Firewall) Close() error { return f.sub.Close() }

// Changed receives a value when somebody else has changed our table. Watch
// must run for that.
func (f *Firewall) Changed() <-chan struct{} { return f.wake }

// Resync makes the next Apply read the table.
func (f *Firewall) Resync() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirty = true
}

// Apply makes the table what want says, and does nothing when it is already.
// When nothing is wanted the table is removed. A network that cannot be
// realised does not keep the others from it; the error names it.
func (f *Firewall) Apply(ctx context.Context, want firewall.Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n, err := f.drain(); err != nil || n > 0 {
		f.dirty = true
	}
	if len(want.Networks) == 0 && want.BGP == nil {
		return f.remove(ctx)
	}
	if f.dirty || !f.present {
		return f.compare(ctx, want)
	}
	next, changed, err := f.next(want)
	var before, after []firewall.Element
	for _, name := range changed {
		before = append(before, f.have[name].elements...)
		after = append(after, next[name].elements...)
	}
	return errors.Join(err, f.change(ctx, before, after, next))
}

// next returns what should belong to each network, and who differs from what
// is there.
func (f *Firewall) next(want firewall.Config) (next map[string]owned, changed []string, err error) {
	var errs []error
	next = make(map[string]owned, len(want.Networks)+1)
	take := func(name string, config any, elements func() ([]firewall.Element, error)) {
		if old, ok := f.have[name]; ok && reflect.DeepEqual(old.config, config) {
			next[name] = old
			return
		}
		es, err := elements()
		if err != nil {
			errs = append(errs, err)
			return
		}
		next[name] = owned{config, es}
		changed = append(changed, name)
	}
	take("", want.BGP, func() ([]firewall.Element, error) { return want.BGP.Elements(), nil })
	for _, n := range want.Networks {
		take(n.Name, n, n.Elements)
	}
	for name := range f.have {
		if _, ok := next[name]; !ok {
			changed = append(changed, name)
		}
	}
	return next, changed, errors.Join(errs...)
}

// change turns the elements before into after, and remembers next as what is
// there.
func (f *Firewall) change(ctx context.Context, before, after []firewall.Element, next map[string]owned) error {
	ops := firewall.Diff(sorted(before), sorted(after))
	if len(ops) > 0 {
		tx := f.nft.NewTransaction()
		for _, op := range ops {
			if op.Delete {
				tx.Delete(element(op.Element))
			} else {
				tx.Add(element(op.Element))
			}
		}
		for _, op := range ops {
			f.log.LogAttrs(ctx, slog.LevelDebug, "firewall op", slog.String("op", op.String()))
		}
		if err := f.run(ctx, tx); err != nil {
			return err
		}
	}
	f.have = next
	return nil
}

// compare reads the table and makes it what want says.
func (f *Firewall) compare(ctx context.Context, want firewall.Config) error {
	f.have = map[string]owned{}
	got, err := f.list(ctx)
	if err != nil {
		return err
	}
	next, _, errs := f.next(want)
	var all []firewall.Element
	for _, o := range next {
		all = append(all, o.elements...)
	}
	if got == nil || !got.sound() {
		err = f.build(ctx, sorted(all), next, got != nil)
	} else {
		err = f.change(ctx, got.elements, all, next)
	}
	if err == nil {
		f.dirty, f.present = false, true
	}
	return errors.Join(errs, err)
}

// build makes the whole table anew, in one transaction.
func (f *Firewall) build(ctx context.Context, all []firewall.Element, next map[string]owned, exists bool) error {
	if exists {
		f.log.LogAttrs(ctx, slog.LevelWarn, "firewall table differs from ours, replacing it", slog.String("table", firewall.Table))
	}
	f.log.LogAttrs(ctx, slog.LevelDebug, "firewall op", slog.String("op", "nft add table inet "+firewall.Table), slog.Int("elements", len(all)))
	tx := f.nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	tx.Add(&knftables.Table{})
	for _, c := range firewall.Fixed.Chains {
		tx.Add(chain(c))
	}
	for _, s := range firewall.Fixed.Sets {
		tx.Add(set(s))
	}
	for _, r := range firewall.Fixed.Rules {
		tx.Add(&knftables.Rule{Chain: r.Chain, Rule: r.Text, Comment: &r.Comment})
	}
	for _, e := range all {
		tx.Add(element(e))
	}
	if err := f.run(ctx, tx); err != nil {
		return err
	}
	f.have = next
	return nil
}

// remove deletes the table when it exists.
func (f *Firewall) remove(ctx context.Context) error {
	if f.dirty {
		got, err := f.list(ctx)
		if err != nil {
			return err
		}
		f.present = got != nil
	}
	if f.present {
		f.log.LogAttrs(ctx, slog.LevelDebug, "firewall op", slog.String("op", "nft delete table inet "+firewall.Table))
		tx := f.nft.NewTransaction()
		tx.Delete(&knftables.Table{})
		if err := f.run(ctx, tx); err != nil && !knftables.IsNotFound(err) {
			return err
		}
	}
	f.dirty, f.present, f.have = false, false, map[string]owned{}
	return nil
}

// run carries out a transaction, and takes in the notification about it.
func (f *Firewall) run(ctx context.Context, tx *knftables.Transaction) error {
	if err := f.nft.Run(ctx, tx); err != nil {
		f.dirty = true
		return fmt.Errorf("nftables: %w", err)
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

func sorted(es []firewall.Element) []firewall.Element {
	es = slices.Clone(es)
	slices.SortFunc(es, firewall.Element.Compare)
	return slices.Compact(es)
}

// kinds has the declaration of each set.
var kinds = maps.Collect(func(yield func(string, firewall.Set) bool) {
	for _, s := range firewall.Fixed.Sets {
		if !yield(s.Name, s) {
			return
		}
	}
})
