// Package daemon is netctld: the REST API, the store behind it, and the loops
// that make the host and the BGP speaker follow it.
//
// A write goes to the store and nowhere else. The loops notice the new
// revision, derive what the host should be, and close the gap; see package
// network for the derivation and package reconcile for the loops.
//
// When the daemon stops for a restart it leaves everything as it is: links,
// rules, dnsmasq, and the peers' knowledge of our routes (RFC 4724). When it
// shuts down, it takes its routes back first.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"netctl/bgp"
	"netctl/db"
	"netctl/db/sqlite"
	"netctl/network"
	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/network/link"
	"netctl/reconcile"
)

// Options describe a daemon.
type Options struct {
	Dir   string // holds the database, the socket and the files of the networks
	Group string // its members may use the socket; empty for root alone
	Log   *slog.Logger

	// BootID tells one boot of the host from another.
	BootID string

	// Signals delivers what should stop the daemon, and StopMode decides
	// whether that is a restart or a full shutdown.
	Signals  <-chan os.Signal
	StopMode func(os.Signal) bgp.StopMode

	// Parts makes the subsystems that touch the host.
	Parts func(dir string, log *slog.Logger, beforeDelete func(context.Context)) (Parts, error)
}

// A Watched is a subsystem that notices when the host changes under it.
type Watched interface {
	// Resync forgets what is remembered of the host.
	Resync()
	// Watch notices changes until ctx is done; Changed receives a value for
	// them.
	Watch(ctx context.Context) error
	Changed() <-chan struct{}
}

// Parts are the subsystems of a daemon that do its input and output.
type Parts struct {
	Links interface {
		Watched
		Apply(context.Context, link.State) error
		Plan(context.Context, link.State) ([]string, error)
		Observe(context.Context, []netip.Addr) (link.Observed, error)
		Stats(name string) (link.Stats, error)
		Traffic() (map[string]link.Stats, error)
	}
	Firewall interface {
		Watched
		Apply(context.Context, firewall.Config) error
		Plan(context.Context, firewall.Config) ([]string, error)
	}
	DHCP interface {
		Watched
		// Expect makes hosts known that are about to come, as far as it can.
		Expect(context.Context, []*dhcp.Service)
		Apply(context.Context, []*dhcp.Service) error
		Plan(context.Context, []*dhcp.Service) ([]string, error)
		Leases(network string) ([]dhcp.Lease, error)
	}
	Speaker bgp.Speaker
}

// A Daemon is a running netctld.
type Daemon struct {
	opts     Options
	log      *slog.Logger
	hostname string

	store   db.Store
	decoder *decoder
	view    *view
	parts   Parts
	hub     *hub
	metrics *metrics

	datapath, speaking *reconcile.Loop[*network.Host]
	serving            *reconcile.Loop[serving]

	https      *web
	exporter   *web // of metrics alone
	guards     guards
	tokens     tokens
	throttle   throttle
	operations *operations

	progress  progress
	filters   filters // of the loop of the data plane
	start     start
	spoken    spoken
	stopping  stopping
	requestID atomic.Int64
}

// Run runs a daemon until it is told to stop, or until ctx is done, which is a
// restart.
func Run(ctx context.Context, o Options) (err error) {
	if err = os.MkdirAll(o.Dir, 0o711); err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(o.Dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	d := &Daemon{opts: o, hub: newHub(), decoder: &decoder{}}
	d.log = slog.New(&logHandler{Handler: o.Log.Handler(), hub: d.hub})
	d.start.at, d.start.timer = time.Now(), time.NewTimer(startBound)
	d.stopping.init()
	if d.hostname, err = os.Hostname(); err != nil {
		return err
	}
	store, err := sqlite.Open(ctx, filepath.Join(o.Dir, databaseName), d.decoder.check, d.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	d.store = store
	if d.parts, err = o.Parts(o.Dir, d.log, d.beforeDelete); err != nil {
		return err
	}
	d.view = newView(d.store, d.decoder, d.parts.Links.Observe, d.pokeHost)
	d.operations = newOperations(d.hub)
	d.metrics = newMetrics(d)
	handler := d.router()
	d.https, d.exporter = d.newWeb("https", handler), d.newWeb("metrics", d.metricsSite())
	d.newLoops()
	d.autostart(ctx)
	return d.run(ctx, handler)
}

// run serves the API and turns the loops until the daemon should stop, and
// then stops it.
func (d *Daemon) run(ctx context.Context, handler http.Handler) error {
	listener, err := d.listen(ctx)
	if err != nil {
		return err
	}
	loopCtx, stopLoops := context.WithCancel(ctx)
	defer stopLoops()
	loops, loopCtx := errgroup.WithContext(loopCtx)
	for _, run := range []func(context.Context) error{
		d.datapath.Run, d.serving.Run, d.watchStore, d.watchHost, d.watchSessions, d.notify,
		d.parts.Links.Watch, d.parts.Firewall.Watch, d.parts.DHCP.Watch,
	} {
		loops.Go(func() error { return run(loopCtx) })
	}
	loops.Go(func() error { return d.watchSocket(loopCtx, listener) })
	silent := make(chan struct{})
	loops.Go(func() error {
		defer close(silent)
		return d.speaking.Run(loopCtx)
	})
	server := d.server(handler)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	d.log.Info("netctld started", "dir", d.opts.Dir)

	why := d.awaitStop(loopCtx, served)
	stopLoops()
	ended := make(chan error, 1)
	go func() { ended <- loops.Wait() }()
	// A loop that still turned would announce again what was withdrawn. The
	// others may hang, and are not waited for until the speaker has stopped.
	<-silent
	why = d.strongest(why)
	stopErr := d.stopSpeaking(context.WithoutCancel(ctx), why, ended)
	d.hub.close()
	d.operations.close()
	var closing sync.WaitGroup
	closing.Go(func() { d.https.close(ctx) })
	closing.Go(func() { d.exporter.close(ctx) })
	defer closing.Wait()
	closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := server.Shutdown(closeCtx); err != nil {
		_ = server.Close()
	}
	d.log.Info("netctld stopped", "mode", why.mode.String())
	return errors.Join(why.err, stopErr)
}

func (d *Daemon) server(handler http.Handler) *http.Server {
	group := d.groupID()
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ConnContext: connContext(group), ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
}

// A stopping is how the daemon is told to stop from inside.
type stopping struct {
	request chan stop     // of PUT /internal/shutdown
	done    chan struct{} // closed once the speaker has stopped

	// To be read once done is closed.
	mode bgp.StopMode
	err  error // why it did not go as it should
}

func (s *stopping) init() { s.request, s.done = make(chan stop, 1), make(chan struct{}) }

// A stop says how and why the daemon stops.
type stop struct {
	mode   bgp.StopMode
	text   string
	remove bool // take the bridges down too
	err    error
}

// awaitStop waits until there is a reason to stop.
func (d *Daemon) awaitStop(ctx context.Context, served <-chan error) stop {
	select {
	case s := <-d.stopping.request:
		return s
	case sig := <-d.opts.Signals:
		mode := d.opts.StopMode(sig)
		d.log.Info("signal received", "signal", sig.String(), "mode", mode.String())
		return stop{mode: mode, text: defaultText}
	case err := <-served:
		return stop{err: fmt.Errorf("serve the API: %w", err)}
	case <-ctx.Done():
		return stop{}
	}
}

// strongest returns why, or the full shutdown that has been asked for
// meanwhile: when the host goes down, several say so at once.
func (d *Daemon) strongest(why stop) stop {
	for {
		select {
		case s := <-d.stopping.request:
			s.err = why.err
			why = s
		case sig := <-d.opts.Signals:
			if mode := d.opts.StopMode(sig); mode == bgp.Withdraw && why.mode != mode {
				d.log.Info("signal received", "signal", sig.String(), "mode", mode.String())
				why.mode, why.text = mode, defaultText
			}
		default:
			return why
		}
	}
}
