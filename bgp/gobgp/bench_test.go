package gobgp

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"netctl/bgp"
)

// BenchmarkApply applies 50,000 paths that are the same as before, and the same
// with one that is not, and waits for the one to be acknowledged by a peer.
func BenchmarkApply(b *testing.B) {
	r := newRouter(b, "127.0.0.10", nil)
	s := New(slog.New(slog.DiscardHandler))
	c := config(somePaths(25000), r)
	if err := s.Apply(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	k := r.accept()
	done := make(chan struct{})
	var arrived atomic.Int64
	go func() {
		defer close(done)
		for m := range k.messages {
			if m.kind() == msgUpdate {
				arrived.Add(1)
			}
		}
	}()
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Run("same", func(b *testing.B) {
		same := c
		same.Paths = slices.Clone(c.Paths)
		for b.Loop() {
			if err := s.Apply(b.Context(), same); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Cleanup(func() {
		if err := s.Stop(context.Background(), bgp.Restart, ""); err != nil {
			b.Error(err)
		}
		<-done
	})
	more := c
	more.Paths = append(slices.Clone(c.Paths), &bgp.Path{Prefix: netip.MustParsePrefix("2001:db9::/64"), Peers: c.Paths[0].Peers})
	apply := func(b *testing.B, then func()) {
		b.Helper()
		for n := 0; b.Loop(); n++ {
			want := c
			if n%2 == 0 {
				want = more
			}
			if err := s.Apply(b.Context(), want); err != nil {
				b.Fatal(err)
			}
			then()
		}
	}
	b.Run("one more or less", func(b *testing.B) { apply(b, func() {}) })
	b.Run("one more or less, acknowledged", func(b *testing.B) {
		apply(b, func() {
			if err := s.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("one more or less, at the peer", func(b *testing.B) {
		if err := s.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
		n := arrived.Load()
		apply(b, func() {
			for n++; arrived.Load() < n; {
				runtime.Gosched()
			}
		})
	})
}

// BenchmarkStart starts a speaker with 50,000 paths until a peer has them.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		r := newRouter(b, "127.0.0.10", nil)
		s := New(slog.New(slog.DiscardHandler))
		c := config(somePaths(25000), r)
		if err := s.Apply(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		if n := len(r.accept().table(b)); n != 50000 {
			b.Fatal(n)
		}
		if err := s.Stop(b.Context(), bgp.Restart, ""); err != nil {
			b.Fatal(err)
		}
		_ = r.l.Close()
	}
}
