package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"netctl/api"
)

// maxWait bounds how long the daemon is asked to wait in one request, below
// its own limit.
const maxWait = 30 * time.Second

// Status returns how far the host has followed the database.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	v, _, err := get[api.Status](ctx, c, "/1.0/status", nil)
	return v, err
}

// WaitApplied waits until the data plane and the speaker have applied a
// revision, for at most the given time, in which it counts whole seconds. When
// that was not enough, the error is a *LagError.
func (c *Client) WaitApplied(ctx context.Context, revision int64, atMost time.Duration) error {
	for {
		wait := min(max(atMost, 0), maxWait)
		secs := int64((wait + time.Second - 1) / time.Second)
		s, _, err := get[api.Status](ctx, c, "/1.0/status", url.Values{
			"revision": {strconv.FormatInt(revision, 10)}, "timeout": {strconv.FormatInt(secs, 10)},
		})
		if err != nil {
			return err
		}
		if s.Applied >= revision {
			return nil
		}
		if atMost -= wait; atMost <= 0 {
			return newLagError(revision, s)
		}
	}
}

// A LagError says which parts of the host have not followed the database.
type LagError struct {
	Revision int64
	Targets  []api.Target // those that lag
}

func newLagError(revision int64, s api.Status) *LagError {
	e := &LagError{Revision: revision}
	for _, t := range s.Targets {
		if t.Applied < revision {
			e.Targets = append(e.Targets, t)
		}
	}
	return e
}

func (e *LagError) Error() string {
	lags := make([]string, len(e.Targets))
	for i, t := range e.Targets {
		lags[i] = t.Name
		if t.Error != "" {
			lags[i] += " (" + t.Error + ")"
		}
	}
	return fmt.Sprintf("revision %d is stored but not in effect yet: waiting for %s", e.Revision, strings.Join(lags, ", "))
}
