package gobgp

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"netctl/bgp"
)

// GoBGP tells nobody how much it has still to write to a session. So a fence
// is sent after what has been applied: a path of our own for every peer, with
// a prefix that cannot be anybody's, which the relay takes out of the stream
// when it comes by.

// fenceClass is the class of fences, which no path is in.
const fenceClass = maxClass + 1

// fencePrefix returns the prefix of a fence: an address of "this network" (RFC
// 1122 section 3.2.1.3) or of the discard-only prefix (RFC 6666).
func fencePrefix(n uint32, f bgp.Family) netip.Prefix {
	a := marker(n, f)
	return netip.PrefixFrom(a, a.BitLen())
}

// fenceNumber is the inverse of fencePrefix.
func fenceNumber(p netip.Prefix) (uint32, bool) {
	if !p.IsSingleIP() {
		return 0, false
	}
	if p.Addr().Is4() {
		b := p.Addr().As4()
		return binary.BigEndian.Uint32(b[:]), b[0] == 0
	}
	b := p.Addr().As16()
	n := binary.BigEndian.Uint32(b[12:])
	return n, p.Addr() == marker(n, bgp.IPv6Unicast)
}

// fence returns a fence in the words of GoBGP. Its ORIGIN is not that of the
// paths, so that it does not share a message with one.
func fence(n uint32, f bgp.Family) *api.Path {
	attrs := pathAttributes(marker(fenceClass, f), fenceClass)
	attrs[0] = []byte{attrTransitive, attrOrigin, 1, originIncomplete}
	return &api.Path{Family: apiFamily(f), NlriBinary: nlri(fencePrefix(n, f)), PattrsBinary: attrs}
}

// Flush waits until everything applied has been written to the established
// sessions and acknowledged by the peers' kernels.
func (s *Speaker) Flush(ctx context.Context) error {
	s.fencing.Lock()
	defer s.fencing.Unlock()
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	if !running {
		return nil
	}
	// The first fence may be part of the table that a new session is told,
	// where order means nothing; the second comes after that.
	for range 2 {
		if err := s.putFence(ctx); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	}
	for s.unacknowledged() > 0 {
		if err := pause(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	}
	return nil
}

// putFence sends a fence and waits until it has come by at every session. It
// needs fencing.
func (s *Speaker) putFence(ctx context.Context) error {
	s.fences = s.fences%maxClass + 1
	n := s.fences
	s.mu.Lock()
	srv := s.srv
	var waiting []*relay
	for _, p := range s.peers {
		if r := p.link.established(); r != nil {
			waiting = append(waiting, r)
		}
	}
	s.mu.Unlock()
	for _, f := range families {
		path := fence(n, f)
		if _, err := srv.AddPath(ctx, &api.AddPathRequest{Path: path}); err != nil {
			return err
		}
		defer func() {
			path.IsWithdraw = true
			_ = srv.DeletePath(context.WithoutCancel(ctx), &api.DeletePathRequest{Path: path})
		}()
	}
	for _, r := range waiting {
		for !r.fenced(n) {
			if err := pause(ctx, time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// fenced reports whether a fence has come by in every family of a session, or
// never will.
func (r *relay) fenced(n uint32) bool {
	if r.ended() {
		return true
	}
	for f := range r.theirs().families {
		if !r.out.passed(f, n) {
			return false
		}
	}
	return true
}

// unacknowledged counts the bytes that are on their way to peers.
func (s *Speaker) unacknowledged() int {
	s.mu.Lock()
	var links []*link
	for _, p := range s.peers {
		links = append(links, p.link)
	}
	s.mu.Unlock()
	n := 0
	for _, l := range links {
		if r := l.established(); r != nil {
			n += r.waiting()
		}
	}
	return n
}
