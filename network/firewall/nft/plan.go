package nft

import (
	"context"

	"netctl/network/firewall"
)

// Plan returns what an Apply would do, as commands, and does nothing. It reads
// the table.
func (f *Firewall) Plan(ctx context.Context, want firewall.Config) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []string{}
	got, err := f.list(ctx)
	if err != nil {
		return nil, err
	}
	if len(want.Networks) == 0 && want.BGP == nil {
		if got != nil {
			out = append(out, "nft delete table inet "+firewall.Table)
		}
		return out, nil
	}
	next, _, err := f.next(want)
	var all, have []firewall.Element
	for _, o := range next {
		all = append(all, o.elements...)
	}
	if got == nil || !got.sound() {
		out = append(out, "nft add table inet "+firewall.Table)
	} else {
		have = got.elements
	}
	for _, op := range firewall.Diff(sorted(have), sorted(all)) {
		out = append(out, op.String())
	}
	return out, err
}
