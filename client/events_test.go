package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/gorilla/websocket"

	"netctl/api"
)

// serveEvents sends messages to whoever opens a stream, and ends it.
func serveEvents(t *testing.T, messages []string, end func(*websocket.Conn)) *Client {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != "/1.0/events?type=lifecycle%2Clogging" {
			t.Errorf("request %s", r.URL.RequestURI())
		}
		conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for _, m := range messages {
			if err := conn.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
				t.Error(err)
			}
		}
		end(conn)
	})
}

func events(ctx context.Context, t *testing.T, c *Client) *Events {
	t.Helper()
	e, err := c.Events(ctx, api.EventLifecycle, api.EventLogging)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestEvents(t *testing.T) {
	t.Parallel()
	c := serveEvents(t, []string{`{"type":"lifecycle","metadata":{"action":"a"}}`, `{"type":"logging"}`}, func(conn *websocket.Conn) {
		conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""))
	})
	e := events(t.Context(), t, c)
	for _, want := range []string{"lifecycle", "logging"} {
		if event, err := e.Next(); err != nil || event.Type != want {
			t.Fatalf("event %+v, %v; want %s", event, err, want)
		}
	}
	if _, err := e.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("end: %v", err)
	}
}

func TestEventsCutOff(t *testing.T) {
	t.Parallel()
	c := serveEvents(t, nil, func(conn *websocket.Conn) { conn.NetConn().Close() })
	if _, err := events(t.Context(), t, c).Next(); !errors.Is(err, ErrUnreachable) {
		t.Errorf("error %v", err)
	}
}

func TestEventsCancelled(t *testing.T) {
	t.Parallel()
	c := serveEvents(t, nil, func(conn *websocket.Conn) { conn.ReadMessage() })
	ctx, cancel := context.WithCancel(t.Context())
	e := events(ctx, t, c)
	cancel()
	if _, err := e.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestEventsRefused(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"type":"error","error_code":403,"error":"not for you"}`)
	})
	if _, err := c.Events(t.Context()); api.ErrorCode(err) != api.Forbidden || err.Error() != "not for you" {
		t.Errorf("error %v", err)
	}
}
