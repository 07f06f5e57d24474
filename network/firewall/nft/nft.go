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
	dirty   bool       // the table may not be what we think
	present bool       // the table exists
	have    map[string]owned
	applied *firewall.Config // what the table was last made
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
		buf: make([]byte, 1<<17), dirty: true, have: map[string]owned{},
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

// patience is how long nft may take before it is killed and tried again.
const patience = 20 * time.Second

// Apply makes the table what want says, and does nothing when it is already.
// When nothing is wanted the table is removed. A network that cannot be
// realised does not keep the others from it; the error names it.
func (f *Firewall) Apply(ctx context.Context, want firewall.Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t, err := f.diff(ctx, want)
	if t == nil {
		return err
	}
	if cs := t.commands(); len(cs) > 0 && f.Drift != nil && f.applied != nil && reflect.DeepEqual(*f.applied, want) {
		f.Drift(ctx, cs)
		f.applied = nil // if it cannot be undone, that is told as an error
	}
	if err := errors.Join(err, f.do(ctx, t)); err != nil {
		return err
	}
	f.applied = &want
	return nil
}

// A todo is what turns the table into what is wanted.
type todo struct {
	table bool // delete the table, and make it anew unless next is nil
	ops   []firewall.Op
	next  map[string]owned // what belongs to whom then
}

// diff compares the table with what is wanted. The error is about networks
// that are left out, or the todo is nil.
func (f *Firewall) diff(ctx context.Context, want firewall.Config) (*todo, error) {
	if n, err := f.drain(); err != nil || n > 0 {
		f.dirty = true
	}
	if !f.dirty && f.applied != nil && slices.Equal(f.applied.Networks, want.Networks) && reflect.DeepEqual(f.applied.BGP, want.BGP) {
		return &todo{next: f.have}, nil
	}
	var got *listing
	if f.dirty {
		f.have = map[string]owned{}
		var err error
		if got, err = f.list(ctx); err != nil {
			return nil, err
		}
		f.present = got != nil
	}
	if len(want.Networks) == 0 && want.BGP == nil {
		return &todo{table: f.present}, nil
	}
	next, changed, err := f.next(want)
	var before, after []firewall.Element
	for _, name := range changed {
		before = append(before, f.have[name].elements...)
		after = append(after, next[name].elements...)
	}
	t := &todo{next: next}
	switch {
	case !f.present, got != nil && !got.sound():
		t.table, before = true, nil
	case got != nil:
		before = got.elements
	}
	t.ops = firewall.Diff(sorted(before), sorted(after))
	return t, err
}

// commands returns what t does as commands of nft(8).
func (t *todo) commands() []string {
	cs := []string{}
	switch {
	case t.table && t.next == nil:
		cs = append(cs, "nft delete table inet "+firewall.Table)
	case t.table:
		cs = append(cs, "nft add table inet "+firewall.Table)
	}
	for _, op := range t.ops {
		cs = append(cs, op.String())
	}
	return cs
}

// do carries out t in one transaction.
func (f *Firewall) do(ctx context.Context, t *todo) error {
	if t.table || len(t.ops) > 0 {
		for _, c := range t.commands() {
			f.log.LogAttrs(ctx, slog.LevelDebug, "firewall op", slog.String("op", c))
		}
		if err := f.run(ctx, f.transaction(t)); err != nil {
			return err
		}
	} else {
		f.dirty = false
	}
	f.have, f.present = t.next, t.next != nil
	return nil
}

func (f *Firewall) transaction(t *todo) *knftables.Transaction {
	tx := f.nft.NewTransaction()
	if t.table {
		tx.Add(&knftables.Table{}) // so that there is one to delete
		tx.Delete(&knftables.Table{})
	}
	if t.table && t.next != nil {
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
	}
	for _, op := range t.ops {
		if op.Delete {
			tx.Delete(element(op.Element))
		} else {
			tx.Add(element(op.Element))
		}
	}
	return tx
}

// next returns what should belong to each network, and who differs from what
// is there.
func (f *Firewall) next(want firewall.Config) (next map[string]owned, changed []string, err error) {
	var errs []error
	next = make(map[string]owned, len(want.Networks)+2)
	take := func(name string, config any, elements func() ([]firewall.Element, error)) {
		// Most networks are the same pointer as before.
		if old, ok := f.have[name]; ok && reflect.DeepEqual(old.config, config) {
			next[name] = owned{config, old.elements}
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
	// What no network has for itself is kept under names that none can have.
	nat := want.Translated()
	take("", want.BGP, func() ([]firewall.Element, error) { return want.BGP.Elements(), nil })
	take("*", &nat, func() ([]firewall.Element, error) { return nat.Elements(), nil })
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

// run carries out a transaction, and takes in the notification about it.
func (f *Firewall) run(ctx context.Context, tx *knftables.Transaction) error {
	if err := f.nft.Run(ctx, tx); err != nil {
		f.dirty = true
		return fmt.Errorf("nftables: %w", err)
	}
	f.dirty = false
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
