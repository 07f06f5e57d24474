package client

import (
	"context"
	"net/http"
	"net/netip"

	"netctl/api"
)

const (
	bgpPath   = "/1.0/bgp"
	peersPath = bgpPath + "/peers"
)

// BGP returns the state of the speaker.
func (c *Client) BGP(ctx context.Context) (api.BGP, error) {
	v, _, err := get[api.BGP](ctx, c, bgpPath, nil)
	return v, err
}

// BGPPeers returns every session, sorted by address.
func (c *Client) BGPPeers(ctx context.Context) ([]api.BGPPeer, error) {
	return list[api.BGPPeer](ctx, c, peersPath)
}

// BGPPeer returns the session with one peer, and the ETag of its settings.
func (c *Client) BGPPeer(ctx context.Context, peer netip.Addr) (api.BGPPeer, string, error) {
	return get[api.BGPPeer](ctx, c, peersPath+"/"+peer.String(), nil)
}

// PatchBGPPeer changes settings of a peer on every network that names it; an
// empty value unsets a key.
func (c *Client) PatchBGPPeer(ctx context.Context, peer netip.Addr, p api.BGPPeerPatch, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPatch, path: peersPath + "/" + peer.String(), body: p, etag: etag})
}

// ResetBGPPeer ends the session with a peer, which is then set up again.
func (c *Client) ResetBGPPeer(ctx context.Context, peer netip.Addr) error {
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: peersPath + "/" + peer.String(), body: api.BGPPeerPost{Action: "reset"},
	}, nil)
	return err
}

// BGPRoutes returns every prefix that should be announced, sorted.
func (c *Client) BGPRoutes(ctx context.Context) ([]api.BGPRoute, error) {
	return list[api.BGPRoute](ctx, c, bgpPath+"/routes")
}

// BGPDebug returns the speaker in the shape of LXD's debug interface.
func (c *Client) BGPDebug(ctx context.Context) (api.BGPDebug, error) {
	v, _, err := get[api.BGPDebug](ctx, c, "/internal/testing/bgp", nil)
	return v, err
}
