package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"netctl/api"
)

const operationsPath = "/1.0/operations"

// endedFor is for how long an operation that has ended can still be read, so
// that whoever began it learns how.
const endedFor = 5 * time.Second

// operations are what goes on after the requests that began it were answered.
// They are kept in memory only. Each change of one is an event.
type operations struct {
	hub *hub

	mu     sync.Mutex
	all    map[string]*operation
	over   bool          // the daemon stops
	closed chan struct{} // then
	tasks  sync.WaitGroup
}

// An operation is one of them.
type operation struct {
	api.Operation
	cancel func()        // what else happens when a client cancels it; nil when it cannot be
	ended  chan struct{} // closed once it has ended
	halt   func()        // ends what is being done; nil when nothing is
}

func newOperations(h *hub) *operations {
	return &operations{hub: h, all: map[string]*operation{}, closed: make(chan struct{})}
}

func operationURL(id string) string { return operationsPath + "/" + id }

// newOperationID returns a random UUID (RFC 9562 section 5.4).
func newOperationID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails, crypto/rand says
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// add begins an operation. Op has its ID, class, description, resources and
// metadata; cancel is called when a client cancels it, and nil when it cannot.
func (o *operations) add(op api.Operation, cancel func()) api.Operation {
	now := time.Now()
	op.CreatedAt, op.UpdatedAt, op.Location, op.MayCancel = now, now, member, cancel != nil
	op.StatusCode, op.Status = api.StatusRunning, api.StatusText(api.StatusRunning)
	if op.Resources == nil {
		op.Resources = map[string][]string{}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all[op.ID] = &operation{Operation: op, cancel: cancel, ended: make(chan struct{})}
	o.tell(op)
	return op
}

// begin begins an operation that does something and ends by itself. What it
// does outlives the request that began it, but not the daemon.
func (o *operations) begin(ctx context.Context, op api.Operation, do func(context.Context) error) api.Operation {
	op.ID, op.Class, op.Metadata = newOperationID(), api.OperationTask, map[string]any{}
	op = o.add(op, nil)
	ctx, halt := context.WithCancel(context.WithoutCancel(ctx))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all[op.ID].halt = halt
	if o.over {
		halt()
	}
	o.tasks.Go(func() {
		defer halt()
		if err := do(ctx); err != nil {
			o.end(op.ID, api.StatusFailure, err.Error())
			return
		}
		o.end(op.ID, api.StatusSuccess, "")
	})
	return op
}

// end says how an operation has ended. What has ended already stays as it is.
func (o *operations) end(id string, status int, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	op := o.all[id]
	if op == nil || op.StatusCode != api.StatusRunning {
		return
	}
	op.StatusCode, op.Status, op.Err, op.UpdatedAt, op.MayCancel = status, api.StatusText(status), why, time.Now(), false
	close(op.ended)
	o.tell(op.Operation)
	time.AfterFunc(endedFor, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.all, id)
	})
}

// tell sends an event. Everybody who may read may listen, so the secret of a
// token stays out.
func (o *operations) tell(op api.Operation) {
	if op.Class == api.OperationToken {
		op.Metadata = maps.Clone(op.Metadata)
		delete(op.Metadata, "secret")
	}
	o.hub.send(api.EventOperation, op)
}

// close ends what is being done and lets go of everybody who waits.
func (o *operations) close() {
	o.mu.Lock()
	o.over = true
	for _, op := range o.all {
		if op.halt != nil {
			op.halt()
		}
	}
	o.mu.Unlock()
	close(o.closed)
	o.tasks.Wait()
}

// hidden reports whether a client may not know of an operation: who may only
// read must not find the secrets that would let it do more.
func hidden(id identity, op api.Operation) bool {
	return id.restricted && op.Class == api.OperationToken
}

// find returns the operation that a path names.
func (o *operations) find(r *http.Request) (*operation, error) {
	id, err := pathVar(r, "id")
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	op := o.all[id]
	if op == nil || hidden(identityOf(r), op.Operation) {
		return nil, api.Errorf(api.NotFound, "operation %q not found", id)
	}
	return op, nil
}

// now returns an operation as it is now.
func (o *operations) now(op *operation) api.Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return op.Operation
}

// getOperations is GET /1.0/operations: paths or objects by status.
func (d *Daemon) getOperations(r *http.Request) (reply, error) {
	d.operations.mu.Lock()
	defer d.operations.mu.Unlock()
	urls, all := map[string][]string{}, map[string][]api.Operation{}
	for _, op := range slices.SortedFunc(maps.Values(d.operations.all), func(a, b *operation) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	}) {
		if hidden(identityOf(r), op.Operation) {
			continue
		}
		status := strings.ToLower(op.Status)
		urls[status], all[status] = append(urls[status], operationURL(op.ID)), append(all[status], op.Operation)
	}
	if recursive(r) {
		return reply{metadata: all}, nil
	}
	return reply{metadata: urls}, nil
}

// getOperation is GET /1.0/operations/{id}.
func (d *Daemon) getOperation(r *http.Request) (reply, error) {
	op, err := d.operations.find(r)
	if err != nil {
		return reply{}, err
	}
	return reply{metadata: d.operations.now(op)}, nil
}

// waitOperation is GET /1.0/operations/{id}/wait?timeout=: it answers when the
// operation has ended, or after so many seconds; without a timeout, or with a
// negative one, it waits for as long as it takes.
func (d *Daemon) waitOperation(r *http.Request) (reply, error) {
	op, err := d.operations.find(r)
	if err != nil {
		return reply{}, err
	}
	secs, err := queryInt(r, "timeout", -1)
	if err != nil {
		return reply{}, err
	}
	ctx := r.Context()
	if secs >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(min(secs, math.MaxInt32))*time.Second)
		defer cancel()
	}
	select {
	case <-op.ended:
	case <-d.operations.closed:
	case <-ctx.Done():
		if err := r.Context().Err(); err != nil {
			return reply{}, err
		}
	}
	return reply{metadata: d.operations.now(op)}, nil
}

// deleteOperation is DELETE /1.0/operations/{id}: it cancels.
func (d *Daemon) deleteOperation(r *http.Request) (reply, error) {
	op, err := d.operations.find(r)
	if err != nil {
		return reply{}, err
	}
	if !d.operations.now(op).MayCancel {
		return reply{}, api.Errorf(api.Invalid, "operation %q cannot be cancelled: it has ended, or must not be disturbed", op.ID)
	}
	op.cancel()
	d.operations.end(op.ID, api.StatusCancelled, "cancelled by a client")
	return reply{}, nil
}
