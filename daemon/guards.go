package daemon

import (
	"context"
	"sync"

	"netctl/api"
	"netctl/db"
)

// errDistrusted is why a request ends whose certificate is not trusted any
// more.
var errDistrusted = api.Errorf(api.Forbidden, "not authorized: the client's certificate was taken out of the trust store")

// guards end what is under way with a certificate when that goes. The zero
// guards are ready for use.
type guards struct {
	mu   sync.Mutex
	list map[*guard]struct{}
}

// A guard watches over one request.
type guard struct {
	fingerprint string
	cancel      context.CancelCauseFunc
}

// hold returns a context that ends when a certificate is taken out of the
// trust store, or when the request is over and releases it.
func (g *guards) hold(ctx context.Context, fingerprint string) (held context.Context, release func()) {
	held, cancel := context.WithCancelCause(ctx)
	one := &guard{fingerprint, cancel}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.list == nil {
		g.list = map[*guard]struct{}{}
	}
	g.list[one] = struct{}{}
	return held, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.list, one)
		cancel(nil)
	}
}

// sweep ends everything whose certificate is not in the trust store.
func (g *guards) sweep(objs *db.Objects) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for one := range g.list {
		if objs.Get(certificateKey(one.fingerprint)) == nil {
			one.cancel(errDistrusted)
		}
	}
}
