// Package client talks to netctld over its REST API.
//
// A [Client] has a method for every resource. A method that reads an object
// which can be written returns its ETag too; a method that writes takes one,
// and the write is refused with the code api.Precondition when the object has
// changed since. The empty ETag takes whatever there is. Writes return the
// revision of the database that they led to; [Client.WaitApplied] waits until
// the host has followed it.
//
// Errors that the daemon reports are *api.Error. When the daemon cannot be
// reached, or does not answer, the error is [ErrUnreachable].
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"netctl/api"
)

// ErrUnreachable says that there is no daemon at the address, that it may not
// be used, or that the connection broke before it answered. It is wrapped with
// the address and the cause.
var ErrUnreachable = errors.New("netctld does not answer")

// A Client is a connection to one daemon. Its methods may be called from
// several goroutines.
type Client struct {
	address string // as the user knows it
	base    string // URL of the daemon without a path
	target  string // member that requests are for
	// rehearse, when set, is shown what writes would lead to; nothing is
	// changed then.
	rehearse func(api.Plan) error
	http     *http.Client
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	tls      *tls.Config // nil on a unix socket
}

// Unix returns a client of the daemon that listens on the unix socket at path.
func Unix(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{
		address: path, base: "http://netctld", dial: dial,
		http: &http.Client{Transport: &http.Transport{DialContext: dial}},
	}
}

// Close gives up connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Target returns a client whose requests are for one member of a cluster.
func (c *Client) Target(member string) *Client {
	other := *c
	other.target = member
	return &other
}

// Through returns a client whose requests pass through the transport that wrap
// makes of the one before; for logs, traces and tests.
func (c *Client) Through(wrap func(http.RoundTripper) http.RoundTripper) *Client {
	other, through := *c, *c.http
	through.Transport = wrap(c.http.Transport)
	other.http = &through
	return &other
}

// A call is one request.
type call struct {
	method, path string
	query        url.Values
	etag         string // for If-Match
	body         any    // nil for none
}

// An answer is what is left of a response when its envelope has been opened.
type answer struct {
	etag     string
	revision int64
}

// do sends a request and decodes the metadata of the answer into out, which
// may be nil.
func (c *Client) do(ctx context.Context, r call, out any) (answer, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, c.broken(ctx, err)
	}
	env, err := open(resp.StatusCode, raw)
	if err != nil {
		return answer{}, err
	}
	if out != nil {
		if err := json.Unmarshal(env.Metadata, out); err != nil {
			return answer{}, fmt.Errorf("answer to %s %s: %w", r.method, r.path, err)
		}
	}
	a := answer{etag: resp.Header.Get("ETag")}
	if s := resp.Header.Get(api.HeaderRevision); s != "" {
		if a.revision, err = strconv.ParseInt(s, 10, 64); err != nil {
			return answer{}, fmt.Errorf("header %s: %w", api.HeaderRevision, err)
		}
	}
	return a, nil
}

// send sends a request. In a dry run it sends nothing that would act.
func (c *Client) send(ctx context.Context, r call) (*http.Response, error) {
	if c.rehearse != nil && r.method != http.MethodGet && !r.query.Has(dryRun) {
		return nil, api.Errorf(api.Invalid, "dry-run: %s %s cannot be rehearsed, and was not sent", r.method, r.path)
	}
	var body io.Reader
	if r.body != nil {
		raw, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path+c.query(r.query), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "netctl/"+api.Version)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.etag != "" {
		req.Header.Set("If-Match", r.etag)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	return resp, nil
}

// query returns q as the end of a URL, with the target.
func (c *Client) query(q url.Values) string {
	all := url.Values{}
	maps.Copy(all, q)
	if c.target != "" {
		all.Set("target", c.target)
	}
	if len(all) == 0 {
		return ""
	}
	return "?" + all.Encode()
}

// broken returns the error for a request that got no answer.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e, ok := errors.AsType[*CertificateError](err); ok {
		return e
	}
	// The URL is ours and tells the user nothing, the address is said already.
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.address, err)
}

// open takes an answer out of its envelope. It is the inverse of what the
// daemon does to errors.
func open(status int, raw []byte) (api.Envelope, error) {
	var env api.Envelope
	if err := json.Unmarshal(raw, &env); err != nil {
		return env, fmt.Errorf("the answer with status %d is not one of netctld: %w", status, err)
	}
	if env.Type != api.TypeError && status < http.StatusBadRequest {
		return env, nil
	}
	if env.ErrorCode != 0 {
		status = env.ErrorCode
	}
	if env.Error == "" {
		env.Error = http.StatusText(status)
	}
	return env, &api.Error{Code: api.CodeOf(status), Message: env.Error}
}

// get reads an object and returns its ETag.
func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, string, error) {
	var v T
	a, err := c.do(ctx, call{method: http.MethodGet, path: path, query: query}, &v)
	return v, a.etag, err
}

// list reads a list of objects.
func list[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	v, _, err := get[[]T](ctx, c, path, url.Values{"recursion": {"1"}})
	return v, err
}

// write sends a change and returns the revision that it led to.
func (c *Client) write(ctx context.Context, r call) (int64, error) {
	if c.rehearse != nil {
		return c.rehearsal(ctx, r)
	}
	a, err := c.do(ctx, r, nil)
	return a.revision, err
}
