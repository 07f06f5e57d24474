package netlink

import (
	"context"

	"netctl/network/link"
)

// Plan returns what an Apply would do, as commands, and does nothing. It reads
// everything from the kernel.
func (h *Host) Plan(ctx context.Context, want link.State) ([]string, error) {
	h.Resync()
	have, err := h.Load(ctx, want)
	if err != nil {
		return nil, err
	}
	ours, foreign := h.refuse(want)
	out := []string{}
	for _, op := range link.Diff(have, ours) {
		out = append(out, op.String())
	}
	return out, foreign
}
