package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"

	"netctl/api"
)

// Events is a stream of events. It is read by one goroutine.
type Events struct {
	c    *Client
	conn *websocket.Conn
	ctx  func() error // the error of the context that the stream lives by
	stop func() bool
}

// Events opens a stream of the events of the given types, or of all types. The
// stream ends with ctx.
func (c *Client) Events(ctx context.Context, types ...string) (*Events, error) {
	var q url.Values
	if len(types) > 0 {
		q = url.Values{"type": {strings.Join(types, ",")}}
	}
	dialer := websocket.Dialer{NetDialContext: c.dial, TLSClientConfig: c.tls, HandshakeTimeout: dialTimeout}
	header := http.Header{"User-Agent": {"netctl/" + api.Version}}
	conn, resp, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(c.base, "http")+"/1.0/events"+c.query(q), header)
	if resp != nil && err == nil {
		_ = resp.Body.Close()
	}
	if errors.Is(err, websocket.ErrBadHandshake) {
		raw, readErr := io.ReadAll(resp.Body)
		if _, err = open(resp.StatusCode, raw); err == nil {
			err = fmt.Errorf("events: %w", errors.Join(websocket.ErrBadHandshake, readErr))
		}
		return nil, err
	}
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	e := &Events{c: c, conn: conn, ctx: ctx.Err}
	e.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return e, nil
}

// Next waits for the next event. It returns io.EOF when the daemon ends the
// stream, as it does when it stops, or when its client is too slow; the error
// of the context when that is done; and otherwise ErrUnreachable.
func (e *Events) Next() (api.Event, error) {
	_, raw, err := e.conn.ReadMessage()
	if err != nil {
		switch {
		case e.ctx() != nil:
			return api.Event{}, e.ctx()
		case websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway):
			return api.Event{}, io.EOF
		}
		return api.Event{}, fmt.Errorf("%w at %s: %w", ErrUnreachable, e.c.address, err)
	}
	var event api.Event
	if err := json.Unmarshal(raw, &event); err != nil {
		return event, fmt.Errorf("event: %w", err)
	}
	return event, nil
}

// Close ends the stream.
func (e *Events) Close() error {
	e.stop()
	return e.conn.Close()
}
