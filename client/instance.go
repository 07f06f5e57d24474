package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"netctl/api"
)

const instancesPath = "/1.0/instances"

func instancePath(name string) string { return instancesPath + "/" + url.PathEscape(name) }

// Instances returns every instance, sorted by name.
func (c *Client) Instances(ctx context.Context) ([]api.Instance, error) {
	return list[api.Instance](ctx, c, instancesPath)
}

// InstancesWithState returns every instance with its state, sorted by name.
func (c *Client) InstancesWithState(ctx context.Context) ([]api.Instance, error) {
	v, _, err := get[[]api.Instance](ctx, c, instancesPath, url.Values{"recursion": {"2"}})
	return v, err
}

// Instance returns one instance and its ETag.
func (c *Client) Instance(ctx context.Context, name string) (api.Instance, string, error) {
	return get[api.Instance](ctx, c, instancePath(name), nil)
}

// InstanceState returns what there is of an instance on the host.
func (c *Client) InstanceState(ctx context.Context, name string) (api.InstanceState, error) {
	v, _, err := get[api.InstanceState](ctx, c, instancePath(name)+"/state", nil)
	return v, err
}

// CreateInstance creates an instance, and starts it when i says so.
func (c *Client) CreateInstance(ctx context.Context, i api.InstancesPost) (*Task, error) {
	if i.Source.Type == "" {
		i.Source.Type = "none"
	}
	return c.begin(ctx, call{method: http.MethodPost, path: instancesPath, body: i})
}

// UpdateInstance replaces the description, the configuration and the devices
// of an instance.
func (c *Client) UpdateInstance(ctx context.Context, name string, i api.InstancePut, etag string) (*Task, error) {
	return c.begin(ctx, call{method: http.MethodPut, path: instancePath(name), body: i, etag: etag})
}

// PatchInstance changes what i has of an instance; an empty value unsets a
// key, and a device that is nil goes.
func (c *Client) PatchInstance(ctx context.Context, name string, i api.InstancePatch, etag string) (*Task, error) {
	return c.begin(ctx, call{method: http.MethodPatch, path: instancePath(name), body: i, etag: etag})
}

// SetInstanceState starts, stops or restarts an instance.
func (c *Client) SetInstanceState(ctx context.Context, name string, s api.InstanceStatePut) (*Task, error) {
	return c.begin(ctx, call{method: http.MethodPut, path: instancePath(name) + "/state", body: s})
}

// RenameInstance gives an instance, which must not run, another name.
func (c *Client) RenameInstance(ctx context.Context, name, to string) (*Task, error) {
	return c.begin(ctx, call{method: http.MethodPost, path: instancePath(name), body: api.InstancePost{Name: to}})
}

// DeleteInstance deletes an instance, which must not run unless force is set.
func (c *Client) DeleteInstance(ctx context.Context, name, etag string, force bool) (*Task, error) {
	r := call{method: http.MethodDelete, path: instancePath(name), etag: etag}
	if force {
		r.query = url.Values{"force": {"1"}}
	}
	return c.begin(ctx, r)
}

// A Task is something that the daemon goes on with after it has answered.
type Task struct {
	Revision  int64         // of the database, that the request led to; 0 in a dry run
	Operation api.Operation // as it began

	c *Client
}

// Wait waits until the task has ended, and returns an error of package api
// when it has failed. A task of a dry run has nothing to wait for.
func (t *Task) Wait(ctx context.Context) error { return t.WaitFor(ctx, -1) }

// WaitFor is Wait for at most the given time, in which it counts whole
// seconds; a negative time has no end. When that was not enough, the error has
// the code api.Timeout, and the task goes on.
func (t *Task) WaitFor(ctx context.Context, atMost time.Duration) error {
	if t.Operation.ID == "" {
		return nil
	}
	op, err := t.c.WaitOperation(ctx, t.Operation.ID, atMost)
	switch {
	case err != nil:
		return err
	case op.StatusCode == api.StatusRunning:
		return api.Errorf(api.Timeout, "%s: not over after %s", op.Description, atMost)
	case op.StatusCode != api.StatusSuccess:
		return api.Errorf(api.Unavailable, "%s", op.Err)
	}
	return nil
}

// begin sends a change that becomes a task.
func (c *Client) begin(ctx context.Context, r call) (*Task, error) {
	t := &Task{c: c}
	if c.rehearse != nil {
		_, err := c.rehearsal(ctx, r)
		return t, err
	}
	a, err := c.do(ctx, r, &t.Operation)
	t.Revision = a.revision
	return t, err
}
