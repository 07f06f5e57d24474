package daemon

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"netctl/bgp"
	"netctl/client"
	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/network/link"
)

// A fakeHost is a host in memory.
type fakeHost struct {
	mu       sync.Mutex
	links    link.State
	foreign  map[string]*link.Seen
	dark     map[string]bool // links without a carrier
	filter   firewall.Config
	services []*dhcp.Service
	broken   error         // what applying links fails with
	blind    error         // what looking at the host fails with
	source   string        // our address toward peers, when it is another
	hang     chan struct{} // what looking at the host waits for, when there is one
	changed  chan struct{}
	before   func(context.Context)
	stuck    chan struct{} // what applying links waits for, when there is one
	deleted  []string      // links taken down, in order
}

func (f *fakeHost) Apply(ctx context.Context, want link.State) error {
	f.mu.Lock()
	var gone []string
	for _, l := range f.links.Links {
		if !slices.ContainsFunc(want.Links, func(w *link.Link) bool { return w.Name == l.Name }) {
			gone = append(gone, l.Name)
		}
	}
	f.mu.Unlock()
	if len(gone) > 0 {
		f.before(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if stuck := f.stuck; stuck != nil {
		f.mu.Unlock()
		<-stuck
		f.mu.Lock()
	}
	if f.broken != nil {
		return f.broken
	}
	f.links = want
	f.deleted = append(f.deleted, gone...)
	return nil
}

func (f *fakeHost) Resync()                         {}
func (f *fakeHost) Changed() <-chan struct{}        { return f.changed }
func (f *fakeHost) Watch(ctx context.Context) error { <-ctx.Done(); return nil }

func (f *fakeHost) Observe(_ context.Context, peers []netip.Addr) (link.Observed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if hang := f.hang; hang != nil {
		f.mu.Unlock()
		<-hang
		f.mu.Lock()
	}
	if f.blind != nil {
		return link.Observed{}, f.blind
	}
	o := link.Observed{Links: map[string]*link.Seen{}, Own: f.links.Routes, Toward: map[netip.Addr]link.Toward{}}
	maps.Copy(o.Links, f.foreign)
	for _, l := range f.links.Links {
		s := &link.Seen{Name: l.Name, Alias: link.AliasPrefix + l.Owner, Up: true, Carrier: !f.dark[l.Name]}
		if l.Port != nil {
			s.Master = l.Port.Bridge
		}
		for _, a := range l.Addrs {
			s.Addrs = append(s.Addrs, link.Addr{Prefix: a})
		}
		o.Links[l.Name] = s
	}
	for _, p := range peers {
		o.Toward[p] = link.Toward{Dev: "eth0", Src: netip.MustParseAddr(cmp.Or(f.source, "192.0.2.9"))}
	}
	return o, nil
}

func (f *fakeHost) Stats(name string) (link.Stats, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.links.Links {
		if l.Name == name {
			return link.Stats{MAC: l.MAC, MTU: l.MTU, Up: true, Ports: []string{}}, nil
		}
	}
	return link.Stats{}, os.ErrNotExist
}

func (f *fakeHost) Traffic() (map[string]link.Stats, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]link.Stats{}
	for _, l := range f.links.Links {
		out[l.Name] = link.Stats{MAC: l.MAC, MTU: l.MTU, Up: true, RxBytes: 1, TxBytes: 2, RxPackets: 3, TxPackets: 4}
	}
	return out, nil
}

type fakeFilter struct{ *fakeHost }

func (f fakeFilter) Apply(_ context.Context, c firewall.Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.filter = c
	return nil
}

type fakeServices struct{ *fakeHost }

func (f fakeServices) Expect(context.Context, []*dhcp.Service) {}

func (f fakeServices) Apply(_ context.Context, s []*dhcp.Service) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.services = s
	return nil
}

func (f fakeServices) Leases(string) ([]dhcp.Lease, error) {
	return []dhcp.Lease{{MAC: "02:00:00:00:00:01", Addr: netip.MustParseAddr("10.1.0.7"), Hostname: "web"}}, nil
}

// A fakeSpeaker remembers what it was told.
type fakeSpeaker struct {
	mu      sync.Mutex
	configs []bgp.Config
	flushed []int        // paths that there were at each Flush
	apply   func()       // what Apply does first, if anything
	stop    func() error // what Stop does, if anything
	stopped []bgp.StopMode
	text    string
	reset   []netip.Addr
	broken  error
	events  chan bgp.Event
}

func (f *fakeSpeaker) Apply(_ context.Context, c bgp.Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.apply != nil {
		f.apply()
	}
	f.configs = append(f.configs, c)
	return f.broken
}

func (f *fakeSpeaker) last() bgp.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.configs) == 0 {
		return bgp.Config{}
	}
	return f.configs[len(f.configs)-1]
}

// Flush remembers how many paths there were.
func (f *fakeSpeaker) Flush(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushed = append(f.flushed, len(f.configs[len(f.configs)-1].Paths))
	return nil
}

func (f *fakeSpeaker) Status() bgp.Status {
	c := f.last()
	return bgp.Status{Running: c.ASN != 0, ASN: c.ASN, RouterID: c.RouterID, Listening: c.Listen}
}

func (f *fakeSpeaker) Sessions(context.Context) ([]bgp.Session, error) {
	var out []bgp.Session
	c := f.last()
	for _, p := range c.Peers {
		out = append(out, bgp.Session{
			Peer: p, State: bgp.Established, Since: time.Unix(1, 0), Restart: bgp.RestartStatus{Negotiated: true, LocalRestarting: true},
			Families: []bgp.FamilyStatus{{Family: bgp.IPv4Unicast, Negotiated: true, Desired: len(c.Paths), Advertised: len(c.Paths)}},
		})
	}
	return out, nil
}

func (f *fakeSpeaker) Advertised(_ context.Context, a netip.Addr) ([]bgp.Advertised, error) {
	var out []bgp.Advertised
	for _, p := range f.last().Paths {
		if p.Peers.Contains(a) {
			out = append(out, bgp.Advertised{Prefix: p.Prefix, NextHop: netip.MustParseAddr("192.0.2.9"), ASPath: []uint32{65001}})
		}
	}
	return out, nil
}

func (f *fakeSpeaker) Reset(_ context.Context, a netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reset = append(f.reset, a)
	return nil
}

func (f *fakeSpeaker) Watch(ctx context.Context) <-chan bgp.Event {
	ch := make(chan bgp.Event)
	go func() {
		defer close(ch)
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-f.events:
				ch <- e
			}
		}
	}()
	return ch
}

func (f *fakeSpeaker) Stop(_ context.Context, m bgp.StopMode, text string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped, f.text = append(f.stopped, m), text
	if f.stop != nil {
		return f.stop()
	}
	return nil
}

// A bench is a daemon on a fake host.
type bench struct {
	*client.Client
	t       *testing.T
	host    *fakeHost
	speaker *fakeSpeaker
	dir     string
	boot    string
	signals chan os.Signal
	ended   chan error
}

// newBench starts a daemon and waits until it is ready.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), host: &fakeHost{changed: make(chan struct{}, 1)}, speaker: &fakeSpeaker{events: make(chan bgp.Event)}}
	b.begin()
	return b
}

func (b *bench) begin() {
	b.t.Helper()
	b.signals, b.ended = make(chan os.Signal, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := b.ended
	go func() {
		ended <- Run(ctx, Options{
			Dir: b.dir, BootID: b.boot, Log: slog.New(slog.DiscardHandler), Signals: b.signals, StopMode: StopMode,
			Parts: func(_ string, _ *slog.Logger, before func(context.Context)) (Parts, error) {
				b.host.before = before
				return Parts{Links: b.host, Firewall: fakeFilter{b.host}, DHCP: fakeServices{b.host}, Speaker: b.speaker}, nil
			},
		})
		close(ended)
	}()
	b.Client = client.Unix(filepath.Join(b.dir, SocketName)).Through(func(next http.RoundTripper) http.RoundTripper { return newChecker(b.t, next) })
	b.t.Cleanup(func() {
		b.Close()
		cancel()
		<-ended
	})
	b.eventually("ready", func() bool { return b.Ready(b.t.Context()) == nil })
}

// applied waits until everything follows a revision.
func (b *bench) applied(rev int64, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.WaitApplied(b.t.Context(), rev, 5*time.Second); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) eventually(what string, cond func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not within 5 s", what)
		}
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }
