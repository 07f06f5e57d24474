package client

import (
	"context"
	"net/http"
	"net/url"

	"netctl/api"
)

const networksPath = "/1.0/networks"

func networkPath(name string) string { return networksPath + "/" + url.PathEscape(name) }

// Networks returns every network, sorted by name.
func (c *Client) Networks(ctx context.Context) ([]api.Network, error) {
	return list[api.Network](ctx, c, networksPath)
}

// Network returns one network and its ETag.
func (c *Client) Network(ctx context.Context, name string) (api.Network, string, error) {
	return get[api.Network](ctx, c, networkPath(name), nil)
}

// CreateNetwork creates a network.
func (c *Client) CreateNetwork(ctx context.Context, n api.NetworksPost) (int64, error) {
	return c.write(ctx, call{method: http.MethodPost, path: networksPath, body: n})
}

// UpdateNetwork replaces the description and the configuration of a network.
func (c *Client) UpdateNetwork(ctx context.Context, name string, n api.NetworkPut, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPut, path: networkPath(name), body: n, etag: etag})
}

// PatchNetwork changes what n has of a network; an empty value unsets a key.
func (c *Client) PatchNetwork(ctx context.Context, name string, n api.NetworkPatch, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPatch, path: networkPath(name), body: n, etag: etag})
}

// RenameNetwork gives a network another name.
func (c *Client) RenameNetwork(ctx context.Context, name, to string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPost, path: networkPath(name), body: api.NetworkPost{Name: to}})
}

// DeleteNetwork deletes a network.
func (c *Client) DeleteNetwork(ctx context.Context, name, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodDelete, path: networkPath(name), etag: etag})
}

// NetworkState returns a network's interface as the kernel has it.
func (c *Client) NetworkState(ctx context.Context, name string) (api.NetworkState, error) {
	v, _, err := get[api.NetworkState](ctx, c, networkPath(name)+"/state", nil)
	return v, err
}

// NetworkLeases returns the addresses in use on a network.
func (c *Client) NetworkLeases(ctx context.Context, name string) ([]api.NetworkLease, error) {
	v, _, err := get[[]api.NetworkLease](ctx, c, networkPath(name)+"/leases", nil)
	return v, err
}

// NetworkAllocations returns every address and prefix in use, on all networks
// or, when it is not empty, on the one that is called network.
func (c *Client) NetworkAllocations(ctx context.Context, network string) ([]api.NetworkAllocation, error) {
	var query url.Values
	if network != "" {
		query = url.Values{"filter": {`network eq "` + network + `"`}}
	}
	v, _, err := get[[]api.NetworkAllocation](ctx, c, "/1.0/network-allocations", query)
	return v, err
}
