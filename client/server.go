package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"netctl/api"
)

const serverPath = "/1.0"

// Server returns the daemon, its configuration and its ETag.
func (c *Client) Server(ctx context.Context) (api.Server, string, error) {
	return get[api.Server](ctx, c, serverPath, nil)
}

// UpdateServer replaces the configuration of the daemon.
func (c *Client) UpdateServer(ctx context.Context, s api.ServerPut, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPut, path: serverPath, body: s, etag: etag})
}

// PatchServer changes the keys that s has; an empty value unsets a key.
func (c *Client) PatchServer(ctx context.Context, s api.ServerPut, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPatch, path: serverPath, body: s, etag: etag})
}

// Metadata returns the description of every configuration key, as JSON.
func (c *Client) Metadata(ctx context.Context) (json.RawMessage, error) {
	v, _, err := get[json.RawMessage](ctx, c, serverPath+"/metadata/configuration", nil)
	return v, err
}

// Metrics returns the metrics of the daemon in the text format of Prometheus.
func (c *Client) Metrics(ctx context.Context) (string, error) {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: serverPath + "/metrics"})
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", c.broken(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		_, err := open(resp.StatusCode, raw)
		return "", err
	}
	return string(raw), nil
}

// Ready returns nil once the daemon has brought the host up to date, and an
// error with the code api.Unavailable before.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/internal/ready"}, nil)
	return err
}

// Restore has the daemon make what is stored that of a backup, the file of a
// database. It returns the name of the file in which the state before is kept.
func (c *Client) Restore(ctx context.Context, file []byte) (kept string, err error) {
	var out api.Restored
	_, err = c.do(ctx, call{method: http.MethodPut, path: "/internal/database", body: api.Database{File: file}}, &out)
	return out.Kept, err
}

// Shutdown has the daemon withdraw every route and exit. It returns once the
// routes are withdrawn.
func (c *Client) Shutdown(ctx context.Context, s api.Shutdown) error {
	_, err := c.do(ctx, call{method: http.MethodPut, path: "/internal/shutdown", body: s}, nil)
	return err
}
