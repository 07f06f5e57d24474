package daemon

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"netctl/api"
	"netctl/bgp"
	"netctl/reconcile"
)

// maxStatusWait bounds GET /1.0/status?timeout=.
const maxStatusWait = 50 * time.Second

// getStatus is GET /1.0/status: how far the host has followed the database.
func (d *Daemon) getStatus(r *http.Request) (reply, error) {
	rev, err := queryInt(r, "revision", 0)
	if err != nil {
		return reply{}, err
	}
	secs, err := queryInt(r, "timeout", 0)
	if err != nil {
		return reply{}, err
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	if rev > int64(objs.Revision()) {
		return reply{}, api.Errorf(api.Invalid, "revision=%d: the database is at revision %d", rev, objs.Revision())
	}
	ctx, cancel := context.WithTimeout(r.Context(), statusWait(secs))
	defer cancel()
	// Who waits in vain gets the status all the same: it says what lags.
	_ = d.progress.until(ctx, func() bool { return d.status(rev).Applied >= rev })
	s := d.status(rev)
	s.Revision = int64(objs.Revision())
	return reply{metadata: s}, nil
}

// statusWait returns how long a client that asked for so many seconds is let
// wait.
func statusWait(secs int64) time.Duration {
	return min(time.Duration(max(secs, 0)), maxStatusWait/time.Second) * time.Second
}

// status returns the targets of all loops, for a client that waits for a
// revision. The speaker has followed it only when nothing of it is held back
// any more.
func (d *Daemon) status(rev int64) api.Status {
	var s api.Status
	for _, t := range d.targets() {
		out := api.Target{Name: t.Target, Applied: t.Applied, Since: t.Since}
		if t.Err != nil {
			out.Error = t.Err.Error()
		}
		if t.Target == "bgp" && t.Err == nil {
			out = d.spoken.limit(out)
		}
		switch t.Target {
		case "https":
			out = d.https.limit(out, t.Tried, rev)
		case "metrics":
			out = d.exporter.limit(out, t.Tried, rev)
		}
		s.Targets = append(s.Targets, out)
	}
	s.Applied = s.Targets[0].Applied
	for _, t := range s.Targets {
		s.Applied = min(s.Applied, t.Applied)
	}
	return s
}

func (d *Daemon) targets() []reconcile.Status {
	return slices.Concat(d.datapath.Status(), d.speaking.Status(), d.serving.Status())
}

// A spoken says how far the speaker has followed: it has followed a revision
// when nothing of it is held back any more.
type spoken struct {
	mu       sync.Mutex
	complete int64      // the latest revision of which everything is announced
	lacks    string     // what the latest revision lacks
	config   bgp.Config // the latest one that was applied
}

// last returns the configuration that the speaker was given last.
func (s *spoken) last() bgp.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config
}

// gave records what the speaker was given.
func (s *spoken) gave(c bgp.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config = c
}

// set records that a revision was given to the speaker, and what it lacks.
func (s *spoken) set(rev int64, lacks string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lacks = lacks
	if lacks == "" {
		s.complete = rev
	}
}

// limit holds the speaker's target back while something is held back.
func (s *spoken) limit(t api.Target) api.Target {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Applied, t.Error = min(t.Applied, s.complete), s.lacks
	return t
}

// getReady is GET /internal/ready: 200 once the host has been brought up to
// date after the start, and sessions have begun.
func (d *Daemon) getReady(*http.Request) (reply, error) {
	if why := d.notReady(); why != "" {
		return reply{}, api.Errorf(api.Unavailable, "not ready: %s", why)
	}
	return reply{}, nil
}

// notReady says what the daemon still waits for after its start, or nothing.
// Trouble with one part does not keep it from being ready: a turn was taken,
// and the rest is retried.
func (d *Daemon) notReady() string {
	if !d.datapath.Turned() || !d.speaking.Turned() || !d.serving.Turned() {
		return "the host is being brought up to date"
	}
	if why := d.start.why(); why != "" {
		return "sessions wait for " + why
	}
	return ""
}
