package client

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"netctl/api"
)

func keyPair(t *testing.T, name string) tls.Certificate {
	t.Helper()
	k, err := KeyPair(t.TempDir(), name, name, netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// serveTLS answers requests over TLS with handle.
func serveTLS(t *testing.T, own tls.Certificate, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(handle)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	server, own := keyPair(t, "server"), keyPair(t, "client")
	url := serveTLS(t, server, func(w http.ResponseWriter, r *http.Request) {
		if have := api.Fingerprint(r.TLS.PeerCertificates[0].Raw); have != api.Fingerprint(own.Certificate[0]) {
			t.Errorf("the client shows %s", have)
		}
		if r.URL.Path == "/1.0/events" {
			conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"lifecycle"}`)); err != nil {
				t.Error(err)
			}
			return
		}
		answerWith(w, `[{"name":"br0"}]`)
	})
	cert, err := ServerCertificate(t.Context(), url)
	if err != nil || api.Fingerprint(cert.Raw) != api.Fingerprint(server.Certificate[0]) {
		t.Fatalf("%+v, %v", cert, err)
	}
	c := HTTPS(url, own, api.Fingerprint(cert.Raw))
	defer c.Close()
	if n, err := c.Networks(t.Context()); err != nil || len(n) != 1 {
		t.Errorf("%v, %v", n, err)
	}
	events, err := c.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	if e, err := events.Next(); err != nil || e.Type != "lifecycle" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestAnotherServer(t *testing.T) {
	t.Parallel()
	url := serveTLS(t, keyPair(t, "server"), func(_ http.ResponseWriter, r *http.Request) { t.Errorf("a request went out: %s", r.URL) })
	c := HTTPS(url, keyPair(t, "client"), strings.Repeat("0", 64))
	defer c.Close()
	for what, do := range map[string]func() error{
		"request": func() error { _, err := c.Networks(t.Context()); return err },
		"events":  func() error { _, err := c.Events(t.Context()); return err },
	} {
		err := do()
		other, ok := errors.AsType[*CertificateError](err)
		if !ok || errors.Is(err, ErrUnreachable) || other.Want != strings.Repeat("0", 64) || !strings.Contains(err.Error(), strings.TrimPrefix(url, "https://")) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for _, url := range []string{"https://127.0.0.1:1", "https" + strings.TrimPrefix(plain.URL, "http")} {
		if cert, err := ServerCertificate(t.Context(), url); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v, %v", url, cert, err)
		}
		c := HTTPS(url, keyPair(t, "client"), "x")
		if _, err := c.Networks(t.Context()); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v", url, err)
		}
		c.Close()
	}
}

func TestKeyPair(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	crt, key := filepath.Join(dir, "x.crt"), filepath.Join(dir, "x.key")
	first, err := KeyPair(dir, "x", "host", netip.MustParseAddr("2001:db8::1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Leaf.VerifyHostname("host"); err != nil {
		t.Error(err)
	}
	if err := first.Leaf.VerifyHostname("2001:db8::1"); err != nil {
		t.Error(err)
	}
	for _, path := range []string{crt, key} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	again, err := KeyPair(dir, "x", "other")
	if err != nil || !again.Leaf.Equal(first.Leaf) {
		t.Errorf("it is not the same the second time: %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	// A key whose certificate was never written is nothing.
	if err := os.Remove(crt); err != nil {
		t.Fatal(err)
	}
	if renewed, err := KeyPair(dir, "x", "host"); err != nil || renewed.Leaf.Equal(first.Leaf) {
		t.Errorf("without a certificate: %v", err)
	}
	// A certificate without its key is somebody's identity: it is left alone.
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := KeyPair(dir, "x", "host"); err == nil || !strings.Contains(err.Error(), key) {
		t.Errorf("a broken key: %v", err)
	}
	if _, err := KeyPair(filepath.Join(dir, "none"), "x", "host"); err == nil {
		t.Error("a directory that does not exist")
	}
}
