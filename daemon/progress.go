package daemon

import (
	"context"
	"sync"
)

// A progress lets goroutines wait for conditions that change when somebody
// broadcasts. The zero progress is ready for use.
type progress struct {
	mu sync.Mutex
	ch chan struct{}
}

// broadcast lets everybody who waits look again.
func (p *progress) broadcast() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ch != nil {
		close(p.ch)
		p.ch = nil
	}
}

func (p *progress) next() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ch == nil {
		p.ch = make(chan struct{})
	}
	return p.ch
}

// until waits until done returns true, or returns the error of ctx.
func (p *progress) until(ctx context.Context, done func() bool) error {
	for {
		ch := p.next()
		if done() {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
