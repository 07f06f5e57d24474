package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"netctl/api"
)

// dialTimeout bounds how long a daemon on the network has to accept a
// connection.
const dialTimeout = 10 * time.Second

// A CertificateError says that whoever answers is not the daemon that is
// known: its certificate is another one.
type CertificateError struct {
	Address    string
	Want, Have string // fingerprints; Have is empty when there was none
}

func (e *CertificateError) Error() string {
	return fmt.Sprintf("%s shows a certificate that is not the one remembered: its fingerprint is %s, expected %s", e.Address, e.Have, e.Want)
}

// HTTPS returns a client of the daemon at a URL like https://192.0.2.1:8443.
// It shows own to the daemon, and talks to no daemon but the one with the
// certificate that has the given fingerprint, whoever signed it.
func HTTPS(base string, own tls.Certificate, fingerprint string) *Client {
	address := base
	if u, err := url.Parse(base); err == nil && u.Host != "" {
		address = u.Host
	}
	config := pinned(own, func(have string) error {
		if have != fingerprint {
			return &CertificateError{Address: address, Want: fingerprint, Have: have}
		}
		return nil
	})
	dial := (&net.Dialer{Timeout: dialTimeout}).DialContext
	return &Client{
		address: address, base: base, dial: dial, tls: config,
		http: &http.Client{Transport: &http.Transport{DialContext: dial, TLSClientConfig: config, TLSHandshakeTimeout: dialTimeout}},
	}
}

// pinned returns the TLS configuration of a client that leaves it to check to
// accept a server by its fingerprint.
func pinned(own tls.Certificate, check func(fingerprint string) error) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own},
		// No authority vouches for a daemon: VerifyConnection decides, and it
		// is asked for every connection.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return check("")
			}
			return check(api.Fingerprint(s.PeerCertificates[0].Raw))
		},
	}
}

// errEnough ends a handshake that has shown what it was begun for.
var errEnough = errors.New("the certificate is known now")

// ServerCertificate returns the certificate that the daemon at a URL shows. It
// says nothing about whether that is the daemon that is meant.
func ServerCertificate(ctx context.Context, base string) (*x509.Certificate, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", base, err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var shown *x509.Certificate
	config := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		shown = s.PeerCertificates[0]
		return errEnough
	}}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", u.Host)
	if err == nil {
		_ = conn.Close()
	}
	if shown == nil {
		return nil, (&Client{address: u.Host}).broken(ctx, err)
	}
	return shown, nil
}
