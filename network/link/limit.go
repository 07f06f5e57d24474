package link

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// IFBName returns the name of the IFB through which goes what the link called
// name receives, when that is limited. It fits any name.
func IFBName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "ifb" + hex.EncodeToString(sum[:6])
}

// Complete returns s with the links that its limits need: the kernel can only
// shape what a link sends, so that what a limited link receives is redirected
// to an IFB of its own, and what that sends is shaped.
func Complete(s State) State {
	var more []*Link
	for _, l := range s.Links {
		if l.Limits != nil && l.Limits.In > 0 {
			more = append(more, &Link{
				Name: IFBName(l.Name), Kind: IFB, Owner: l.Owner, Limits: &Limits{Out: l.Limits.In},
			})
		}
	}
	if more == nil {
		return s
	}
	compare := func(a, b *Link) int { return strings.Compare(a.Name, b.Name) }
	s.Links = slices.Concat(s.Links, more)
	slices.SortStableFunc(s.Links, compare)
	s.Links = slices.CompactFunc(s.Links, func(a, b *Link) bool { return a.Name == b.Name })
	return s
}

// out and in return the rates of l, which may be nil.
func (l *Limits) out() uint64 {
	if l == nil {
		return 0
	}
	return l.Out
}

func (l *Limits) in() uint64 {
	if l == nil {
		return 0
	}
	return l.In
}

// RateHandle is the major number of the queueing discipline that limits a link.
const RateHandle = 0x6e63

// A Shape is how a token bucket filter (tc-tbf(8)) holds to a rate.
type Shape struct {
	Rate  uint64 // bytes per second
	Burst uint32 // bytes that may go at once
	Queue uint32 // bytes that may wait
}

// ShapeOf returns the shape that holds a link to a rate in bits per second.
// The burst is what goes in 10 ms, lest a busy host that comes too late to
// send waste the rate, but at least four full frames; the queue is what goes
// in 50 ms, within bounds, so that a slow link still has room for a few large
// segments and a fast one does not fill the memory.
func ShapeOf(bits uint64) Shape {
	rate := max(bits/8, 1)
	burst := min(max(rate/100, 4*1518), 1<<24)
	return Shape{Rate: rate, Burst: uint32(burst), Queue: uint32(burst + min(max(rate/20, 64<<10), 16<<20))}
}

// tc is s as tc(8) takes it.
func (s Shape) tc() string {
	return fmt.Sprintf("tbf rate %dbit burst %d limit %d", s.Rate*8, s.Burst, s.Queue)
}
