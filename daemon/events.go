package daemon

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"netctl/api"
)

// Limits of an event stream.
const (
	eventQueue   = 256 // events that a client may lag behind before it is cut off
	eventTimeout = 10 * time.Second
	eventPing    = 30 * time.Second
)

// A hub hands events to everybody who listens.
type hub struct {
	mu      sync.Mutex
	clients map[*listener]struct{}
	closed  bool
}

// A listener is one event stream.
type listener struct {
	types map[string]bool
	ch    chan api.Event
}

func newHub() *hub { return &hub{clients: map[*listener]struct{}{}} }

// wanted reports whether anybody listens for events of a type.
func (h *hub) wanted(typ string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.clients {
		if l.types[typ] {
			return true
		}
	}
	return false
}

// send delivers an event. A listener that cannot keep up is cut off, so that
// it knows that it has missed something.
func (h *hub) send(typ string, meta any) {
	raw, err := json.Marshal(meta)
	if err != nil { // our own types
		return
	}
	e := api.Event{Type: typ, Timestamp: time.Now(), Metadata: raw, Location: member, Project: "default"}
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.clients {
		if !l.types[typ] {
			continue
		}
		select {
		case l.ch <- e:
		default:
			delete(h.clients, l)
			close(l.ch)
		}
	}
}

func (h *hub) add(types map[string]bool) *listener {
	l := &listener{types: types, ch: make(chan api.Event, eventQueue)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(l.ch)
		return l
	}
	h.clients[l] = struct{}{}
	return l
}

func (h *hub) remove(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.clients[l]; ok {
		delete(h.clients, l)
		close(l.ch)
	}
}

// close ends every stream, now and later.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for l := range h.clients {
		delete(h.clients, l)
		close(l.ch)
	}
}

// upgrader makes websockets. No browser can reach the socket, but HTTPS, with
// its user's certificate, and for any page: so there a page must be ours.
var upgrader = websocket.Upgrader{CheckOrigin: func(r *http.Request) bool {
	origin, err := url.Parse(r.Header.Get("Origin"))
	return r.TLS == nil || r.Header.Get("Origin") == "" || err == nil && origin.Host == r.Host
}}

// getEvents is GET /1.0/events?type=lifecycle,logging: a websocket.
func (d *Daemon) getEvents(w http.ResponseWriter, r *http.Request) {
	types := map[string]bool{}
	for t := range strings.SplitSeq(r.URL.Query().Get("type"), ",") {
		switch t {
		case "":
		case api.EventLifecycle, api.EventLogging, api.EventOperation:
			types[t] = true
		default:
			writeError(w, api.Errorf(api.Invalid, "type=%s: no such event type: use lifecycle, logging or operation", t))
			return
		}
	}
	if len(types) == 0 {
		types = map[string]bool{api.EventLifecycle: true, api.EventLogging: true, api.EventOperation: true}
	}
	// Listen before the client learns that it is connected: it may act at once.
	l := d.hub.add(types)
	defer d.hub.remove(l)
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	d.stream(r.Context(), conn, l)
}

func (d *Daemon) stream(ctx context.Context, conn *websocket.Conn, l *listener) {
	conn.SetReadLimit(maxHeader)
	gone := make(chan struct{})
	go func() { // the client says nothing but pongs and goodbye
		defer close(gone)
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}()
	defer func() { _ = conn.Close(); <-gone }()
	ping := time.NewTicker(eventPing)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-gone:
			return
		case <-ping.C:
			if conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(eventTimeout)) != nil {
				return
			}
		case e, ok := <-l.ch:
			if ctx.Err() != nil {
				return // not one event more
			}
			_ = conn.SetWriteDeadline(time.Now().Add(eventTimeout))
			if !ok {
				_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""))
				return
			}
			if conn.WriteJSON(e) != nil {
				return
			}
		}
	}
}

// A logHandler passes records on and shows them to the listeners of logging
// events.
type logHandler struct {
	slog.Handler
	hub   *hub
	attrs []slog.Attr
}

// Enabled is true for everything while somebody listens.
func (h *logHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.Handler.Enabled(ctx, l) || h.hub.wanted(api.EventLogging)
}

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.hub.wanted(api.EventLogging) {
		h.hub.send(api.EventLogging, h.event(r))
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h *logHandler) event(r slog.Record) api.EventLoggingBody {
	b := api.EventLoggingBody{Message: r.Message, Context: map[string]string{}}
	switch {
	case r.Level >= slog.LevelError:
		b.Level = "error"
	case r.Level >= slog.LevelWarn:
		b.Level = "warning"
	case r.Level >= slog.LevelInfo:
		b.Level = "info"
	default:
		b.Level = "debug"
	}
	for _, a := range h.attrs {
		b.Context[a.Key] = a.Value.String()
	}
	r.Attrs(func(a slog.Attr) bool { b.Context[a.Key] = a.Value.Resolve().String(); return true })
	return b
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.Handler.WithAttrs(attrs), h.hub, append(slices.Clip(h.attrs), attrs...)}
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.Handler.WithGroup(name), h.hub, h.attrs}
}
