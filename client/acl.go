package client

import (
	"context"
	"net/http"
	"net/url"

	"netctl/api"
)

const aclsPath = "/1.0/network-acls"

func aclPath(name string) string { return aclsPath + "/" + url.PathEscape(name) }

// NetworkACLs returns every network ACL, sorted by name.
func (c *Client) NetworkACLs(ctx context.Context) ([]api.NetworkACL, error) {
	return list[api.NetworkACL](ctx, c, aclsPath)
}

// NetworkACL returns one network ACL and its ETag.
func (c *Client) NetworkACL(ctx context.Context, name string) (api.NetworkACL, string, error) {
	return get[api.NetworkACL](ctx, c, aclPath(name), nil)
}

// CreateNetworkACL creates a network ACL.
func (c *Client) CreateNetworkACL(ctx context.Context, a api.NetworkACLsPost) (int64, error) {
	return c.write(ctx, call{method: http.MethodPost, path: aclsPath, body: a})
}

// UpdateNetworkACL replaces the description, the configuration and the rules
// of a network ACL.
func (c *Client) UpdateNetworkACL(ctx context.Context, name string, a api.NetworkACLPut, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPut, path: aclPath(name), body: a, etag: etag})
}

// PatchNetworkACL changes what a has of a network ACL; an empty value unsets a
// key, and the rules of a direction are all replaced.
func (c *Client) PatchNetworkACL(ctx context.Context, name string, a api.NetworkACLPatch, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPatch, path: aclPath(name), body: a, etag: etag})
}

// RenameNetworkACL gives a network ACL another name.
func (c *Client) RenameNetworkACL(ctx context.Context, name, to string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPost, path: aclPath(name), body: api.NetworkACLPost{Name: to}})
}

// DeleteNetworkACL deletes a network ACL.
func (c *Client) DeleteNetworkACL(ctx context.Context, name, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodDelete, path: aclPath(name), etag: etag})
}
