package client

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"

	"netctl/api"
)

func forwardsPath(network string) string { return networkPath(network) + "/forwards" }

func forwardPath(network string, listen netip.Addr) string {
	return forwardsPath(network) + "/" + url.PathEscape(listen.String())
}

// NetworkForwards returns the forwards of a network.
func (c *Client) NetworkForwards(ctx context.Context, network string) ([]api.NetworkForward, error) {
	return list[api.NetworkForward](ctx, c, forwardsPath(network))
}

// NetworkForward returns the forward with a listen address, and its ETag.
func (c *Client) NetworkForward(ctx context.Context, network string, listen netip.Addr) (api.NetworkForward, string, error) {
	return get[api.NetworkForward](ctx, c, forwardPath(network, listen), nil)
}

// CreateNetworkForward creates a forward.
func (c *Client) CreateNetworkForward(ctx context.Context, network string, f api.NetworkForwardsPost) (int64, error) {
	return c.write(ctx, call{method: http.MethodPost, path: forwardsPath(network), body: f})
}

// UpdateNetworkForward replaces a forward.
func (c *Client) UpdateNetworkForward(ctx context.Context, network string, listen netip.Addr, f api.NetworkForwardPut, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPut, path: forwardPath(network, listen), body: f, etag: etag})
}

// PatchNetworkForward changes what f has of a forward; an empty value unsets a
// key, and ports are all replaced.
func (c *Client) PatchNetworkForward(ctx context.Context, network string, listen netip.Addr, f api.NetworkForwardPatch, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPatch, path: forwardPath(network, listen), body: f, etag: etag})
}

// DeleteNetworkForward deletes a forward.
func (c *Client) DeleteNetworkForward(ctx context.Context, network string, listen netip.Addr, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodDelete, path: forwardPath(network, listen), etag: etag})
}
