package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"netctl/api"
)

const (
	certificatesPath = "/1.0/certificates"
	operationsPath   = "/1.0/operations"
)

// Certificates returns the trust store, sorted by fingerprint.
func (c *Client) Certificates(ctx context.Context) ([]api.Certificate, error) {
	return list[api.Certificate](ctx, c, certificatesPath)
}

// Certificate returns the certificate whose fingerprint begins as given, and
// its ETag.
func (c *Client) Certificate(ctx context.Context, fingerprint string) (api.Certificate, string, error) {
	return get[api.Certificate](ctx, c, certificatesPath+"/"+url.PathEscape(fingerprint), nil)
}

// CreateCertificate adds a certificate to the trust store: the one in p, or,
// when p has a token, the one that this client shows.
func (c *Client) CreateCertificate(ctx context.Context, p api.CertificatesPost) (int64, error) {
	return c.write(ctx, call{method: http.MethodPost, path: certificatesPath, body: p})
}

// CreateToken returns a token with which one client can add its certificate to
// the trust store, in the way that p says.
func (c *Client) CreateToken(ctx context.Context, p api.CertificatesPost) (api.CertificateAddToken, error) {
	p.Token = true
	r := call{method: http.MethodPost, path: certificatesPath, body: p}
	if c.rehearse != nil {
		_, err := c.rehearsal(ctx, r)
		return api.CertificateAddToken{}, err
	}
	var op api.Operation
	if _, err := c.do(ctx, r, &op); err != nil {
		return api.CertificateAddToken{}, err
	}
	t, ok := op.Token()
	if !ok {
		return api.CertificateAddToken{}, fmt.Errorf("operation %s has no token", op.ID)
	}
	return t, nil
}

// UpdateCertificate replaces what can be changed of a certificate.
func (c *Client) UpdateCertificate(ctx context.Context, fingerprint string, p api.CertificatePut, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPut, path: certificatesPath + "/" + url.PathEscape(fingerprint), body: p, etag: etag})
}

// PatchCertificate changes what p has of a certificate.
func (c *Client) PatchCertificate(ctx context.Context, fingerprint string, p api.CertificatePatch, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodPatch, path: certificatesPath + "/" + url.PathEscape(fingerprint), body: p, etag: etag})
}

// DeleteCertificate takes a certificate out of the trust store.
func (c *Client) DeleteCertificate(ctx context.Context, fingerprint, etag string) (int64, error) {
	return c.write(ctx, call{method: http.MethodDelete, path: certificatesPath + "/" + url.PathEscape(fingerprint), etag: etag})
}

// Operations returns what goes on in the background, by status.
func (c *Client) Operations(ctx context.Context) (map[string][]api.Operation, error) {
	v, _, err := get[map[string][]api.Operation](ctx, c, operationsPath, url.Values{"recursion": {"1"}})
	return v, err
}

// Operation returns one operation.
func (c *Client) Operation(ctx context.Context, id string) (api.Operation, error) {
	v, _, err := get[api.Operation](ctx, c, operationsPath+"/"+url.PathEscape(id), nil)
	return v, err
}

// WaitOperation waits until an operation has ended, or for at most the given
// time, in which it counts whole seconds; a negative time has no end. It
// returns the operation as it is then.
func (c *Client) WaitOperation(ctx context.Context, id string, atMost time.Duration) (api.Operation, error) {
	secs := int64(-1)
	if atMost >= 0 {
		secs = int64((atMost + time.Second - 1) / time.Second)
	}
	v, _, err := get[api.Operation](ctx, c, operationsPath+"/"+url.PathEscape(id)+"/wait", url.Values{"timeout": {strconv.FormatInt(secs, 10)}})
	return v, err
}

// CancelOperation ends an operation: nobody can use a token any more.
func (c *Client) CancelOperation(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: operationsPath + "/" + url.PathEscape(id)}, nil)
	return err
}
