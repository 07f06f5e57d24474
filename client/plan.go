package client

import (
	"context"
	"maps"
	"net/url"

	"netctl/api"
)

// dryRun is the parameter of the query with which a write changes nothing.
const dryRun = "dry-run"

// DryRun returns a client whose writes change nothing: the daemon checks each
// and says what it would lead to, which show is given. Such a write returns
// revision 0. What acts without being a write of the database, as Shutdown and
// ResetBGPPeer do, is not sent and fails with the code api.Invalid.
func (c *Client) DryRun(show func(api.Plan) error) *Client {
	other := *c
	other.rehearse = show
	return &other
}

// rehearsal sends a write as a dry run.
func (c *Client) rehearsal(ctx context.Context, r call) (int64, error) {
	query := url.Values{dryRun: {"1"}}
	maps.Copy(query, r.query)
	r.query = query
	var p api.Plan
	if _, err := c.do(ctx, r, &p); err != nil {
		return 0, err
	}
	return 0, c.rehearse(p)
}

// Plan returns what the host lacks of what is stored.
func (c *Client) Plan(ctx context.Context) (api.Plan, error) {
	v, _, err := get[api.Plan](ctx, c, "/1.0/plan", nil)
	return v, err
}

// Explain says why a prefix, or the prefix that an address belongs to, is
// announced or not.
func (c *Client) Explain(ctx context.Context, prefix string) (api.BGPExplanation, error) {
	v, _, err := get[api.BGPExplanation](ctx, c, "/1.0/bgp/explain", url.Values{"prefix": {prefix}})
	return v, err
}
