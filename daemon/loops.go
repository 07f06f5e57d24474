package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"netctl/bgp"
	"netctl/db"
	"netctl/network"
	"netctl/reconcile"
)

// Times of the loops.
const (
	resync        = time.Minute
	minRetry      = 500 * time.Millisecond
	maxRetry      = 10 * time.Second
	withdrawBound = time.Second      // how long the data plane waits for withdrawals before it goes away
	startBound    = 30 * time.Second // how long the first sessions wait for the data plane, at most
)

// newLoops makes the loops. The data plane and the speaker have one each, so
// that a data plane that hangs never delays a withdrawal; serving the API over
// the network has to do with neither.
func (d *Daemon) newLoops() {
	revision := func(h *network.Host) int64 { return h.Revision }
	measure := func(target string, took time.Duration, err error) { d.metrics.applied(target, took, err) }
	options := func(name string, targets ...reconcile.Target[*network.Host]) reconcile.Options[*network.Host] {
		return reconcile.Options[*network.Host]{
			Load: d.view.host, Revision: revision, Targets: targets,
			Resync: resync, MinDelay: minRetry, MaxDelay: maxRetry,
			Log: d.log.With("loop", name), Done: d.progress.broadcast,
			Measure: measure,
		}
	}
	d.datapath = reconcile.New(options("datapath",
		reconcile.Target[*network.Host]{Name: "link", Refresh: d.parts.Links.Resync, Apply: func(ctx context.Context, h *network.Host) error {
			defer d.hostChanged()
			d.parts.DHCP.Expect(ctx, h.DHCP) // before their links are up
			d.filterFirst(ctx, h)
			return d.parts.Links.Apply(ctx, h.Link)
		}},
		reconcile.Target[*network.Host]{Name: "firewall", Refresh: d.parts.Firewall.Resync, Apply: d.filter},
		reconcile.Target[*network.Host]{Name: "dhcp", Refresh: d.parts.DHCP.Resync, Apply: func(ctx context.Context, h *network.Host) error {
			return d.parts.DHCP.Apply(ctx, h.DHCP)
		}},
	))
	d.speaking = reconcile.New(options("bgp", reconcile.Target[*network.Host]{Name: "bgp", Apply: d.applyBGP}))
	d.serving = reconcile.New(reconcile.Options[serving]{
		Load: d.loadServing, Revision: func(s serving) int64 { return s.revision },
		Resync: resync, MinDelay: minRetry, MaxDelay: maxRetry,
		Log: d.log.With("loop", "serving"), Done: d.progress.broadcast, Measure: measure,
		Targets: []reconcile.Target[serving]{
			{Name: "https", Apply: func(ctx context.Context, s serving) error {
				d.guards.sweep(s.objects)
				return d.https.apply(ctx, s.api, s.revision)
			}},
			{Name: "metrics", Apply: func(ctx context.Context, s serving) error {
				return d.exporter.apply(ctx, s.metrics, s.revision)
			}},
		},
	})
}

// applyBGP gives the speaker its configuration. After a start, sessions begin
// only when everything that should be announced can be: a session that begins
// earlier would end its first table without the rest, and the peer would
// forget the rest (RFC 4724 section 4.1).
func (d *Daemon) applyBGP(ctx context.Context, h *network.Host) error {
	if h.RouterID.IsValid() {
		d.spoken.set(h.Revision, "the router id is being chosen")
		return d.chooseRouterID(ctx, h)
	}
	c, lacks := h.BGP, ""
	waiting := d.waiting(h)
	if waiting != "" {
		c.Peers, lacks = nil, "sessions have not begun: waiting for "+waiting
	} else if i := slices.IndexFunc(h.Held, func(e *network.Export) bool { return !e.Rests }); i >= 0 && c.ASN != 0 {
		lacks = fmt.Sprintf("%s is held: %s", h.Held[i].Prefix, h.Held[i].Held)
	}
	err := d.parts.Speaker.Apply(ctx, c)
	d.spoken.gave(c)
	if h.Silent != "" {
		err = fmt.Errorf("the speaker does not run: %s", h.Silent)
	}
	if err == nil {
		d.spoken.set(h.Revision, lacks)
	}
	d.start.set(waiting)
	return err
}

// waiting says what the first sessions wait for, or nothing once they may
// begin; then it never waits again.
func (d *Daemon) waiting(h *network.Host) string {
	if d.start.over {
		return ""
	}
	bound := startBound
	if h.BGP.RestartTime > 0 {
		bound = min(bound, h.BGP.RestartTime/4)
	}
	for _, e := range h.Held {
		if e.Rests || len(h.BGP.Peers) == 0 {
			continue
		}
		if left := time.Until(d.start.at.Add(bound)); left > 0 {
			d.start.timer.Reset(left)
			return fmt.Sprintf("%s: %s", e.Prefix, e.Held)
		}
		d.log.Warn("sessions begin without everything", "prefix", e.Prefix, "reason", e.Held)
		break
	}
	d.start.over = true
	return ""
}

// chooseRouterID stores the router id that was found for this member, so that
// it stays the same when addresses and peers change.
func (d *Daemon) chooseRouterID(ctx context.Context, h *network.Host) error {
	d.log.Info("router id chosen", "router_id", h.RouterID)
	_, err := d.store.Update(ctx, func(tx *db.Tx) error {
		old, err := serverConfig(tx.Get)
		if err != nil {
			return err
		}
		if old[routerIDKey] != "" {
			return nil
		}
		old[routerIDKey] = h.RouterID.String()
		return putServerConfig(tx, old, old)
	})
	return err
}

const routerIDKey = "volatile.bgp.routerid"

// beforeDelete lets peers forget what is about to be taken down: it waits,
// for a bounded time, until the speaker has applied the latest revision and
// the withdrawals have been sent. What has come in its place meanwhile is
// announced.
func (d *Daemon) beforeDelete(ctx context.Context) {
	objs, err := d.store.Snapshot(ctx)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, withdrawBound)
	defer cancel()
	d.hostChanged()
	withdrawn := func() bool { return d.speaking.Status()[0].Tried >= int64(objs.Revision()) }
	if err := d.progress.until(ctx, withdrawn); err != nil {
		d.log.Warn("data plane goes away before its routes were withdrawn", "revision", objs.Revision())
		return
	}
	if err := d.parts.Speaker.Flush(ctx); err != nil {
		d.log.Warn("peers have not acknowledged withdrawals in time", "err", err)
	}
}

// watchStore wakes the loops at every new revision.
func (d *Daemon) watchStore(ctx context.Context) error {
	for ctx.Err() == nil {
		objs, err := d.store.Snapshot(ctx)
		if err != nil {
			return unlessDone(ctx, err)
		}
		d.poke()
		ch, err := d.store.Watch(ctx, objs.Revision())
		if err != nil {
			d.log.Log(ctx, slog.LevelDebug, "store cannot be watched", "err", err)
			select { // compacted meanwhile, or the disk is in trouble
			case <-time.After(minRetry):
			case <-ctx.Done():
			}
			continue
		}
		for range ch {
			d.poke()
		}
	}
	return nil
}

func (d *Daemon) poke() {
	d.datapath.Poke()
	d.speaking.Poke()
	d.serving.Poke()
}

// pokeHost wakes the loops that derive from what is seen of the host.
func (d *Daemon) pokeHost() {
	d.datapath.Poke()
	d.speaking.Poke()
}

// hostChanged says that links, addresses or routes are not what they were: the
// speaker's gates may open or close.
func (d *Daemon) hostChanged() {
	d.view.changed()
	d.speaking.Poke()
}

// watchHost wakes the loops when the host has changed.
func (d *Daemon) watchHost(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.parts.Links.Changed():
			d.hostChanged()
			d.datapath.Poke()
		case <-d.parts.Firewall.Changed():
			d.datapath.Poke()
		case <-d.parts.DHCP.Changed():
			d.datapath.Poke()
		case <-d.start.timer.C:
			d.speaking.Poke()
		}
	}
}

// watchSessions tells operators what becomes of sessions: when one is up, and
// once what is wrong with one that is not. The states between are for those who
// look closer.
func (d *Daemon) watchSessions(ctx context.Context) error {
	told := map[netip.Addr]string{} // what is wrong with each peer
	for e := range d.parts.Speaker.Watch(ctx) {
		attrs := []any{"peer", e.Peer, "state", string(e.State)}
		level := slog.LevelDebug
		if e.Error != "" {
			attrs = append(attrs, "err", e.Error)
		}
		switch {
		case e.State == bgp.Established:
			level = slog.LevelInfo
			delete(told, e.Peer)
		case e.Error != "" && e.Error != told[e.Peer]:
			level = slog.LevelWarn
			told[e.Peer] = e.Error
		}
		d.log.Log(ctx, level, "session changed", attrs...)
		d.hub.send("lifecycle", sessionEvent(e))
	}
	return nil
}

// unlessDone returns err unless ctx is done, which explains it.
func unlessDone(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		err = nil
	}
	return err
}
