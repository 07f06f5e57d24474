package nft

import (
	"context"

	"netctl/network/firewall"
)

// Plan returns what an Apply would do, as commands, and does nothing. It reads
// the tables.
func (f *Firewall) Plan(ctx context.Context, want firewall.Config) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if n, err := f.drain(); err != nil || n > 0 {
		f.dirty = true
	}
	defer func(dirty bool, have picture) { f.dirty, f.have = dirty, have }(f.dirty, f.have)
	f.dirty = true
	t, err := f.diff(ctx, want)
	return t.commands(), err
}
