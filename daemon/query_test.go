package daemon

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"netctl/api"
	"netctl/db"
	"netctl/network"
	"netctl/reconcile"
)

// TestRehearsalsNeverWrite asks for dry runs in every way that somebody may
// hold for one: either it is one, or it is refused.
func TestRehearsalsNeverWrite(t *testing.T) {
	b := newBench(t)
	b.enable()
	before, err := b.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"PATCH", "/1.0/networks/br0?dry-run=1", `{"description":"x"}`, 200},
		{"PATCH", "/1.0/networks/br0?dry-run=0&dry-run=1", `{"description":"x"}`, 200},
		{"PATCH", "/1.0/networks/br0?dry-run=1;target=none", `{"description":"x"}`, 400},
		{"PATCH", "/1.0/networks/br0?dry-run=1%zz", `{"description":"x"}`, 400},
		{"DELETE", "/1.0/networks/br0?dry-run=true", "", 200},
		{"POST", "/1.0/bgp/peers/192.0.2.1?dry-run=1", `{"action":"reset"}`, 400},
		{"PUT", "/internal/shutdown?dry-run=1", "{}", 400},
		{"PUT", "/internal/database?dry-run=1", "{}", 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://netctl"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := b.transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status {
			t.Errorf("%s %s: status %d, %s, %v", tt.method, tt.path, resp.StatusCode, text, err)
		}
	}
	after, err := b.Status(t.Context())
	if err != nil || after.Revision != before.Revision || len(b.speaker.reset)+len(b.speaker.stopped) > 0 {
		t.Errorf("revision %d, was %d; %v %v; %v", after.Revision, before.Revision, b.speaker.reset, b.speaker.stopped, err)
	}
}

// TestClientGone has a client that does not wait for its answer: nothing is
// wrong here, and nothing is to be read about it in the log.
func TestClientGone(t *testing.T) {
	var log bytes.Buffer
	d := &Daemon{log: slog.New(slog.NewTextHandler(&log, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/1.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if e := d.explain(r, ctx.Err()); e.Code != api.Timeout || log.Len() > 0 {
		t.Errorf("%+v, logged %q", e, &log)
	}
}

// A deafStore is one whose history cannot be read.
type deafStore struct {
	db.Store
	asked int
}

func (s *deafStore) Snapshot(context.Context) (*db.Objects, error) { return db.NewObjects(1, nil), nil }

func (s *deafStore) Watch(context.Context, db.Revision) (<-chan db.Change, error) {
	s.asked++
	return nil, db.ErrUnavailable
}

// TestStoreCannotBeWatched does not ask all the time whether it can be again.
func TestStoreCannotBeWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &deafStore{}
		d := &Daemon{store: store, log: slog.New(slog.DiscardHandler), datapath: reconcile.New(reconcile.Options[*network.Host]{}), speaking: reconcile.New(reconcile.Options[*network.Host]{}), serving: reconcile.New(reconcile.Options[serving]{})}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := d.watchStore(ctx); err != nil {
			t.Error(err)
		}
		if store.asked < 2 || store.asked > 30 {
			t.Errorf("asked %d times in 10 seconds", store.asked)
		}
	})
}
