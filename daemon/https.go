package daemon

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"netctl/api"
	"netctl/client"
	"netctl/db"
)

// Limits of the API over the network.
const (
	maxConns   = 1024            // open at one time
	drainBound = 2 * time.Second // for what is under way at an address that is given up
)

// A serving is what should be served over the network.
type serving struct {
	revision     int64
	objects      *db.Objects
	api, metrics place
}

// A place is where something is served.
type place struct {
	address netip.AddrPort // zero for nowhere
	plain   bool           // over HTTP, to everybody
}

// loadServing reads it from the store.
func (d *Daemon) loadServing(ctx context.Context) (serving, error) {
	objs, err := d.store.Snapshot(ctx)
	if err != nil {
		return serving{}, err
	}
	server, err := decodeServer(objs)
	if err != nil {
		return serving{}, err
	}
	return serving{
		revision: int64(objs.Revision()), objects: objs,
		api: place{address: server.HTTPSAddress}, metrics: place{server.MetricsAddress, !server.MetricsAuth},
	}, nil
}

// A web serves the API, or the metrics alone, over the network. It belongs to
// its loop, except for what mu guards.
type web struct {
	dir, host string
	handler   http.Handler
	log       *slog.Logger
	addresses func(context.Context) ([]netip.Addr, error) // of the host, for the certificate
	failed    func()                                      // wakes the loop when a listener has died

	pair     *tls.Certificate
	current  *endpoint
	draining sync.WaitGroup

	mu    sync.Mutex
	moved int64 // the revision that asked for another place
	want  place // the place that it asked for
	state served
}

// newWeb returns a web that serves nowhere yet.
func (d *Daemon) newWeb(target string, h http.Handler) *web {
	return &web{
		dir: d.opts.Dir, host: d.hostname, handler: h, log: d.log.With("target", target),
		addresses: d.hostAddresses, failed: func() { d.serving.Poke() },
	}
}

// A served says where something is served over the network.
type served struct {
	address     netip.AddrPort // zero for nowhere
	certificate string         // PEM
	fingerprint string
	err         error // why it is not where it should be
}

// trouble returns the error as the end of a sentence.
func (s served) trouble() string {
	if s.err == nil {
		return ""
	}
	return " (" + s.err.Error() + ")"
}

func (h *web) served() served {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// An endpoint is one place that is served.
type endpoint struct {
	place
	server *http.Server
	stop   context.CancelFunc // ends what has left HTTP: websockets
	died   chan struct{}
}

// apply serves at a place, and nowhere else.
func (h *web) apply(ctx context.Context, at place, revision int64) error {
	h.mu.Lock()
	if at != h.want {
		h.want, h.moved = at, revision
	}
	h.mu.Unlock()
	if h.current != nil && (h.current.place != at || h.current.dead()) {
		h.giveUp(ctx)
	}
	if h.current != nil {
		return nil
	}
	var state served
	var err error
	if at.address.Port() != 0 {
		state, err = h.open(ctx, at)
		state.err = err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state = state
	return err
}

// open begins to serve at a place.
func (h *web) open(ctx context.Context, at place) (served, error) {
	network, host := "tcp", ""
	if a := at.address.Addr(); a.IsValid() {
		host = a.String()
		if a == netip.IPv4Unspecified() {
			network = "tcp4"
		}
	}
	out := served{address: at.address}
	if !at.plain {
		if err := h.identify(ctx); err != nil {
			return served{}, err
		}
		cert := h.pair.Certificate[0]
		out.fingerprint = api.Fingerprint(cert)
		out.certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, network, net.JoinHostPort(host, strconv.Itoa(int(at.address.Port()))))
	if err != nil {
		return served{}, err
	}
	h.serve(ctx, l, at)
	h.log.Info("serving over the network", "address", l.Addr().String(), "fingerprint", out.fingerprint)
	return out, nil
}

// identify reads the certificate of this host, which is made when there is
// none.
func (h *web) identify(ctx context.Context) error {
	if h.pair != nil {
		return nil
	}
	addrs, err := h.addresses(ctx)
	if err != nil {
		return err
	}
	pair, err := client.KeyPair(h.dir, "server", h.host, addrs...)
	if err != nil {
		return err
	}
	h.pair = &pair
	return nil
}

// serve answers what comes in at a listener.
func (h *web) serve(ctx context.Context, l net.Listener, at place) {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	e := &endpoint{place: at, stop: stop, died: make(chan struct{})}
	e.server = &http.Server{
		Handler: h.handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return base },
	}
	h.current = e
	l = netutil.LimitListener(l, maxConns)
	if !at.plain {
		l = tls.NewListener(l, &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*h.pair},
			// Any certificate will do for the handshake; the trust store is asked
			// at every request. Without tickets every connection proves its key.
			ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true, NextProtos: []string{"http/1.1"},
		})
	}
	h.draining.Go(func() {
		err := e.server.Serve(l)
		close(e.died)
		if !errors.Is(err, http.ErrServerClosed) {
			h.log.Warn("listener died", "err", err)
			h.failed()
		}
	})
}

func (e *endpoint) dead() bool {
	select {
	case <-e.died:
		return true
	default:
		return false
	}
}

// giveUp stops serving at the current place. What is under way there has a
// moment to end; it is not waited for.
func (h *web) giveUp(ctx context.Context) {
	e := h.current
	h.current = nil
	h.mu.Lock()
	h.state = served{}
	h.mu.Unlock()
	h.log.Info("address given up", "address", e.address.String())
	h.draining.Go(func() { e.close(context.WithoutCancel(ctx)) })
	<-e.died // the port is free
}

func (e *endpoint) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainBound)
	defer cancel()
	if e.server.Shutdown(ctx) != nil {
		_ = e.server.Close()
	}
	e.stop()
}

// close ends it all. The loop has ended before.
func (h *web) close(ctx context.Context) {
	if h.current != nil {
		h.giveUp(ctx)
	}
	h.draining.Wait()
}

// limit says how far the target has followed, for a client that waits for a
// revision. A listener that cannot be opened holds up only the write that
// asked for it: to all others it does not matter.
func (h *web) limit(t api.Target, tried, revision int64) api.Target {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.Error != "" && revision != h.moved {
		t.Applied = tried
	}
	return t
}

// addresses returns where clients can reach the API, with ports.
func (d *Daemon) addresses(ctx context.Context, s served) ([]string, error) {
	out := []string{}
	if s.address.Port() == 0 {
		return out, nil
	}
	a := s.address.Addr()
	if a.IsValid() && !a.IsUnspecified() {
		return append(out, s.address.String()), nil
	}
	all, err := d.hostAddresses(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range all {
		if !a.IsValid() || h.Is4() {
			out = append(out, netip.AddrPortFrom(h, s.address.Port()).String())
		}
	}
	return out, nil
}

// hostAddresses returns the addresses of this host that others may reach it
// at, or the loopback addresses when it has no others. Those of our own
// networks are left out: only guests reach them, and there may be thousands.
func (d *Daemon) hostAddresses(ctx context.Context) ([]netip.Addr, error) {
	o, err := d.view.observed(ctx)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, name := range slices.Sorted(maps.Keys(o.Links)) {
		l := o.Links[name]
		if _, ours := l.Owner(); ours {
			continue
		}
		for _, a := range l.Addrs {
			if a.Addr().IsGlobalUnicast() && !a.Unusable && !a.Temporary {
				out = append(out, a.Addr())
			}
		}
	}
	if len(out) == 0 {
		out = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return out, nil
}
