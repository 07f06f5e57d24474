package daemon

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"netctl/api"
	"netctl/client"
)

func contains(b []byte, s string) bool { return bytes.Contains(b, []byte(s)) }

// A site is a bench that serves the API over HTTPS.
type site struct {
	*bench
	url         string
	fingerprint string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{bench: newBench(t)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	s.url = "https://" + addr
	s.applied(s.PatchServer(t.Context(), api.ServerPut{Config: map[string]string{"core.https_address": addr}}, ""))
	server, _, err := s.Server(t.Context())
	if err != nil || len(server.Environment.Addresses) != 1 || server.Environment.Addresses[0] != addr {
		t.Fatalf("server %+v, %v", server, err)
	}
	s.fingerprint = server.Environment.CertificateFingerprint
	return s
}

// key returns a key pair of a client.
func (s *site) key(name string) tls.Certificate {
	s.t.Helper()
	k, err := client.KeyPair(s.t.TempDir(), "client", name)
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

// over returns a client over HTTPS, whose requests and answers are checked.
func (s *site) over(k tls.Certificate) *client.Client {
	c := client.HTTPS(s.url, k, s.fingerprint)
	s.t.Cleanup(c.Close)
	return c.Through(func(next http.RoundTripper) http.RoundTripper { return newChecker(s.t, next) })
}

// trusting returns what puts a key's certificate into the trust store.
func trusting(name string, k tls.Certificate, restricted bool) api.CertificatesPost {
	return api.CertificatesPost{Name: name, Restricted: restricted, Certificate: base64.StdEncoding.EncodeToString(k.Certificate[0])}
}

// trusts adds a key to the trust store and returns its client.
func (s *site) trusts(name string, restricted bool) (*client.Client, string) {
	s.t.Helper()
	k := s.key(name)
	if _, err := s.CreateCertificate(s.t.Context(), trusting(name, k, restricted)); err != nil {
		s.t.Fatal(err)
	}
	return s.over(k), api.Fingerprint(k.Certificate[0])
}

func TestTrust(t *testing.T) {
	s := newSite(t)
	stranger := s.over(s.key("stranger"))
	if srv, _, err := stranger.Server(t.Context()); err != nil || srv.Auth != "untrusted" || srv.Environment.ServerName != "" || len(srv.Config) != 0 {
		t.Errorf("a stranger reads %+v, %v", srv, err)
	}
	if _, err := stranger.Networks(t.Context()); code(err) != api.Forbidden {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := stranger.Events(t.Context()); code(err) != api.Forbidden {
		t.Errorf("a stranger: %v", err)
	}
	admin, fp := s.trusts("admin", false)
	if _, err := admin.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0"}); err != nil {
		t.Errorf("an admin: %v", err)
	}
	reader, _ := s.trusts("reader", true)
	if n, err := reader.Networks(t.Context()); err != nil || len(n) != 1 {
		t.Errorf("a reader: %v, %v", n, err)
	}
	if _, err := reader.DeleteNetwork(t.Context(), "br0", ""); code(err) != api.Forbidden || !strings.Contains(err.Error(), `"reader" is restricted`) {
		t.Errorf("a reader deletes: %v", err)
	}
	if _, err := reader.CreateToken(t.Context(), api.CertificatesPost{Name: "more"}); code(err) != api.Forbidden {
		t.Errorf("a reader makes a token: %v", err)
	}
	c, tag, err := admin.Certificate(t.Context(), fp[:6])
	if err != nil || c.Name != "admin" || c.Fingerprint != fp || c.Type != "client" || c.Restricted {
		t.Errorf("certificate %+v, %v", c, err)
	}
	if _, err := admin.UpdateCertificate(t.Context(), fp, api.CertificatePut{Name: "root", Type: "client"}, tag); err != nil {
		t.Error(err)
	}
	if _, err := admin.UpdateCertificate(t.Context(), fp, api.CertificatePut{Name: "admin", Type: "client"}, tag); code(err) != api.Precondition {
		t.Errorf("an old ETag: %v", err)
	}
	if _, err := admin.DeleteCertificate(t.Context(), fp[:8], ""); err != nil {
		t.Errorf("a certificate that removes itself: %v", err)
	}
	if _, err := admin.Networks(t.Context()); code(err) != api.Forbidden {
		t.Errorf("after its removal: %v", err)
	}
}

func TestTrustStoreRefuses(t *testing.T) {
	s := newSite(t)
	_, fp := s.trusts("one", false)
	other := s.key("x")
	der := base64.StdEncoding.EncodeToString(other.Certificate[0])
	name, long, typ, cert := "", strings.Repeat("n", maxCertificateName+1), "metrics", "another"
	for what, do := range map[string]func() (int64, error){
		"no certificate": func() (int64, error) { return s.CreateCertificate(t.Context(), api.CertificatesPost{Name: "a"}) },
		"garbage": func() (int64, error) {
			return s.CreateCertificate(t.Context(), api.CertificatesPost{Name: "a", Certificate: "AAAA"})
		},
		"not base64": func() (int64, error) {
			return s.CreateCertificate(t.Context(), api.CertificatesPost{Name: "a", Certificate: "%"})
		},
		"type": func() (int64, error) {
			return s.CreateCertificate(t.Context(), api.CertificatesPost{Name: "a", Type: typ, Certificate: der})
		},
		"project": func() (int64, error) {
			return s.CreateCertificate(t.Context(), api.CertificatesPost{Name: "a", Projects: []string{"p"}, Certificate: der})
		},
		"control": func() (int64, error) {
			return s.CreateCertificate(t.Context(), api.CertificatesPost{Name: "a\x1b[2J", Certificate: der})
		},
		"token and both": func() (int64, error) {
			return s.CreateCertificate(t.Context(), api.CertificatesPost{Name: "a", Token: true, Certificate: der})
		},
		"expired": func() (int64, error) {
			return s.CreateCertificate(t.Context(), api.CertificatesPost{Name: "a", Certificate: base64.StdEncoding.EncodeToString(expired(t).Certificate[0])})
		},
		"unnamed": func() (int64, error) {
			return s.PatchCertificate(t.Context(), fp, api.CertificatePatch{Name: &name}, "")
		},
		"name too long": func() (int64, error) {
			return s.PatchCertificate(t.Context(), fp, api.CertificatePatch{Name: &long}, "")
		},
		"another type": func() (int64, error) {
			return s.PatchCertificate(t.Context(), fp, api.CertificatePatch{Type: &typ}, "")
		},
		"another content": func() (int64, error) {
			return s.PatchCertificate(t.Context(), fp, api.CertificatePatch{Certificate: &cert}, "")
		},
	} {
		if _, err := do(); code(err) != api.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.DeleteCertificate(t.Context(), "xyz", ""); code(err) != api.NotFound {
		t.Errorf("not there: %v", err)
	}
	// Seventeen certificates: two of them begin alike.
	for i := range 16 {
		s.trusts(fmt.Sprint("more", i), true)
	}
	alike := map[byte]bool{}
	all, err := s.Certificates(t.Context())
	if err != nil || len(all) != 17 {
		t.Fatal(len(all), err)
	}
	for _, c := range all {
		if alike[c.Fingerprint[0]] {
			if _, err := s.DeleteCertificate(t.Context(), c.Fingerprint[:1], ""); code(err) != api.Invalid {
				t.Errorf("a beginning that several have: %v", err)
			}
		}
		alike[c.Fingerprint[0]] = true
	}
}

// expired returns a key pair whose time is over.
func expired(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestToken(t *testing.T) {
	s := newSite(t)
	token, err := s.CreateToken(t.Context(), api.CertificatesPost{Name: "alice", Restricted: true})
	if err != nil || token.ClientName != "alice" || token.Fingerprint != s.fingerprint || "https://"+token.Addresses[0] != s.url {
		t.Fatalf("token %+v, %v", token, err)
	}
	if left := time.Until(token.ExpiresAt); left < 23*time.Hour || left > 24*time.Hour {
		t.Errorf("it expires in %s", left)
	}
	wrong := token
	wrong.Secret = strings.Repeat("0", 64)
	alice := s.over(s.key("alice"))
	join := func(c *client.Client, token string) error {
		// What it asks for itself does not count.
		_, err := c.CreateCertificate(t.Context(), api.CertificatesPost{Name: "root", TrustToken: token})
		return err
	}
	for _, bad := range []string{wrong.String(), "garbage", ""} {
		if err := join(alice, bad); code(err) != api.Forbidden {
			t.Errorf("token %q: %v", bad, err)
		}
	}
	if err := join(s.over(expired(t)), token.String()); code(err) != api.Invalid {
		t.Errorf("with a certificate that has expired: %v", err)
	}
	if err := join(alice, token.String()); err != nil {
		t.Fatalf("the token was not given back, or is refused: %v", err)
	}
	if srv, _, err := alice.Server(t.Context()); err != nil || srv.Auth != "trusted" {
		t.Errorf("%+v, %v", srv, err)
	}
	all, err := s.Certificates(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "alice" || !all[0].Restricted {
		t.Errorf("trust store %+v, %v", all, err)
	}
	if err := join(s.over(s.key("bob")), token.String()); code(err) != api.Forbidden {
		t.Errorf("a second time: %v", err)
	}
	for range throttleBurst {
		err = join(s.over(s.key("bob")), wrong.String())
	}
	if code(err) != api.TooMany || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("many tries: %v", err)
	}
}

// A stranger cannot find out by a dry run whether a token is good, and does not
// use it up.
func TestStrangersRehearseNothing(t *testing.T) {
	s := newSite(t)
	token, err := s.CreateToken(t.Context(), api.CertificatesPost{Name: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	alice := s.over(s.key("alice"))
	join := func(c *client.Client) error {
		_, err := c.CreateCertificate(t.Context(), api.CertificatesPost{TrustToken: token.String()})
		return err
	}
	if err := join(alice.DryRun(func(api.Plan) error { return nil })); code(err) != api.Forbidden {
		t.Errorf("a dry run: %v", err)
	}
	if err := join(alice); err != nil {
		t.Errorf("after a dry run: %v", err)
	}
}

// A right token is no wrong try.
func TestRightTokensAreNotCounted(t *testing.T) {
	s := newSite(t)
	for i := range 2 * throttleBurst {
		name := fmt.Sprint("client", i)
		token, err := s.CreateToken(t.Context(), api.CertificatesPost{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.over(s.key(name)).CreateCertificate(t.Context(), api.CertificatesPost{TrustToken: token.String()}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func TestOperationAPI(t *testing.T) {
	s := newSite(t)
	if ops, err := s.Operations(t.Context()); err != nil || len(ops) != 0 {
		t.Errorf("operations %v, %v", ops, err)
	}
	if _, err := s.CreateToken(t.Context(), api.CertificatesPost{Name: "alice"}); err != nil {
		t.Fatal(err)
	}
	ops, err := s.Operations(t.Context())
	if err != nil || len(ops["running"]) != 1 || !strings.Contains(s.get("/1.0/operations"), operationsPath+"/"+ops["running"][0].ID) {
		t.Fatalf("operations %v, %v", ops, err)
	}
	id := ops["running"][0].ID
	if op, err := s.WaitOperation(t.Context(), id, 0); err != nil || op.Status != "Running" {
		t.Errorf("%+v, %v", op, err)
	}
	reader, _ := s.trusts("reader", true)
	if _, err := reader.Operation(t.Context(), id); code(err) != api.NotFound {
		t.Errorf("a reader finds a token: %v", err)
	}
	if ops, err := reader.Operations(t.Context()); err != nil || len(ops) != 0 {
		t.Errorf("a reader finds %v, %v", ops, err)
	}
	ended := make(chan api.Operation)
	go func() {
		op, err := s.WaitOperation(t.Context(), id, -1)
		if err != nil {
			t.Error(err)
		}
		ended <- op
	}()
	if err := s.CancelOperation(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if op := <-ended; op.Status != "Cancelled" || op.StatusCode != api.StatusCancelled || op.Err == "" {
		t.Errorf("%+v", op)
	}
	if err := s.CancelOperation(t.Context(), id); code(err) != api.Invalid {
		t.Errorf("again: %v", err)
	}
	if _, err := s.Operation(t.Context(), "nosuch"); code(err) != api.NotFound {
		t.Errorf("not there: %v", err)
	}
}

// Whoever waits for an operation does not hold up the daemon's end.
func TestStopEndsWaiting(t *testing.T) {
	s := newSite(t)
	if _, err := s.CreateToken(t.Context(), api.CertificatesPost{Name: "alice"}); err != nil {
		t.Fatal(err)
	}
	ops, err := s.Operations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	admin, _ := s.trusts("admin", false)
	waiting := make(chan error)
	go func() {
		_, err := admin.WaitOperation(t.Context(), ops["running"][0].ID, -1)
		waiting <- err
	}()
	events, err := admin.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	start := time.Now()
	s.signals <- syscall.SIGTERM
	if err := <-s.ended; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > drainBound/2 {
		t.Errorf("the end took %s", took)
	}
	<-waiting
}

func TestRemovalEndsEverything(t *testing.T) {
	s := newSite(t)
	admin, fp := s.trusts("admin", false)
	events, err := admin.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	if _, err := s.CreateToken(t.Context(), api.CertificatesPost{Name: "alice"}); err != nil {
		t.Fatal(err)
	}
	ops, err := s.Operations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() {
		_, err := admin.WaitOperation(t.Context(), ops["running"][0].ID, -1)
		waiting <- err
	}()
	if _, err := s.DeleteCertificate(t.Context(), fp, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateNetwork(t.Context(), api.NetworksPost{Name: "unseen"}); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; code(err) != api.Forbidden {
		t.Errorf("a request under way ends with %v", err)
	}
	for {
		e, err := events.Next()
		if err != nil {
			break
		}
		if contains(e.Metadata, "unseen") {
			t.Errorf("event %s", e.Metadata)
		}
	}
}

func TestTLS(t *testing.T) {
	s := newSite(t)
	addr := strings.TrimPrefix(s.url, "https://")
	for _, tt := range []struct {
		name   string
		config *tls.Config
		ok     bool
	}{
		{"TLS 1.3", &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}, true},
		{"TLS 1.2", &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, false},
		{"HTTP/2 only", &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}, false},
	} {
		conn, err := (&tls.Dialer{Config: tt.config}).DialContext(t.Context(), "tcp", addr)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	if _, err := client.HTTPS(s.url, s.key("x"), strings.Repeat("0", 64)).Networks(t.Context()); err == nil {
		t.Error("another server's certificate was taken")
	} else if _, ok := errors.AsType[*client.CertificateError](err); !ok {
		t.Errorf("another server's certificate: %v", err)
	}
	// Each connection proves anew that the client has its key.
	again := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for range 2 {
		transport := &http.Transport{TLSClientConfig: again, DisableKeepAlives: true}
		r, err := (&http.Client{Transport: transport}).Get(s.url + "/1.0")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body) // a ticket would come before the answer
		r.Body.Close()
		if r.TLS.DidResume {
			t.Error("a connection was resumed")
		}
	}
	plain, err := http.Get("http://" + addr + "/1.0")
	if err == nil {
		plain.Body.Close()
		if plain.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP: %s", plain.Status)
		}
	}
}

// TestRestrictedReadsNoSecrets asks for a password in several ways.
func TestRestrictedReadsNoSecrets(t *testing.T) {
	s := newSite(t)
	s.applied(s.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0", Config: map[string]string{
		"ipv4.address": "10.1.0.1/24", "ipv6.address": "none",
		"bgp.peers.x.address": "192.0.2.1", "bgp.peers.x.asn": "65000", "bgp.peers.x.password": "hunter2",
	}}))
	k := s.key("reader")
	if _, err := s.CreateCertificate(t.Context(), trusting("reader", k, true)); err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{k}}
	reader := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	for path, status := range map[string]int{
		"/1.0/networks/br0": 200, "/1.0/networks/br0?secrets=1": 403, "/1.0/networks/br0?secrets=0&secrets=1": 403,
		"/1.0/networks?recursion=1&secrets=1": 403, "/1.0/networks/br0?%73ecrets=1": 403, "/1.0/networks/br0?x=;&secrets=1": 403,
		"/1.0/networks?recursion=1": 200, "/1.0/plan": 200, "/1.0/bgp/peers?recursion=1": 200,
		"/internal/testing/bgp": 200, "/1.0/metrics": 200, "/1.0/bgp/explain?prefix=10.1.0.0/24": 200,
	} {
		r, err := reader.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != status || contains(text, "hunter2") {
			t.Errorf("%s: %s, want %d; %s, %v", path, r.Status, status, text, err)
		}
	}
}

// A browser that has a trusted certificate shows it for every page; pages of
// other sites must not get anything done with it.
func TestBrowsers(t *testing.T) {
	s := newSite(t)
	k := s.key("browser")
	if _, err := s.CreateCertificate(t.Context(), api.CertificatesPost{Name: "browser", Certificate: base64.StdEncoding.EncodeToString(k.Certificate[0])}); err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{k}}
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	for _, tt := range []struct {
		origin string
		status int
	}{{"", 201}, {s.url, 201}, {"https://evil.example", 403}, {"null", 403}} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/1.0/networks", strings.NewReader(fmt.Sprintf(`{"name":"br%d"}`, len(tt.origin))))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "text/plain")
		if tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		r, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != tt.status {
			t.Errorf("a page of %q: %s, want %d", tt.origin, r.Status, tt.status)
		}
		conn, resp, err := (&websocket.Dialer{TLSClientConfig: config}).DialContext(t.Context(), "wss"+strings.TrimPrefix(s.url, "https")+"/1.0/events", http.Header{"Origin": req.Header["Origin"]})
		if (err == nil) != (tt.status == 201) {
			t.Errorf("events for a page of %q: %v", tt.origin, err)
		}
		if err == nil {
			conn.Close()
		}
		resp.Body.Close()
	}
}

// The certificate of the connection counts, not others that are sent along.
func TestOnlyTheFirstCertificateCounts(t *testing.T) {
	s := newSite(t)
	trusted := s.key("trusted")
	if _, err := s.CreateCertificate(t.Context(), api.CertificatesPost{Name: "trusted", Certificate: base64.StdEncoding.EncodeToString(trusted.Certificate[0])}); err != nil {
		t.Fatal(err)
	}
	thief := s.key("thief")
	thief.Certificate = append(thief.Certificate, trusted.Certificate...)
	if _, err := s.over(thief).Networks(t.Context()); code(err) != api.Forbidden {
		t.Errorf("somebody else's certificate: %v", err)
	}
}

func TestHTTPSAddressMoves(t *testing.T) {
	s := newSite(t)
	admin, _ := s.trusts("admin", false)
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	set := func(addr string) (int64, error) {
		return s.PatchServer(t.Context(), api.ServerPut{Config: map[string]string{"core.https_address": addr}}, "")
	}
	rev, err := set(occupied.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = s.WaitApplied(ctx, rev, time.Second)
	if err == nil || !strings.Contains(err.Error(), "waiting for https") || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a port in use: %v", err)
	}
	if _, err := admin.Networks(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("the old address: %v", err)
	}
	s.applied(s.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0"})) // is not held up
	if _, err := s.CreateToken(t.Context(), api.CertificatesPost{Name: "x"}); code(err) != api.Invalid || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a token: %v", err)
	}
	s.applied(set(""))
	if _, err := s.CreateToken(t.Context(), api.CertificatesPost{Name: "x"}); code(err) != api.Invalid || strings.Contains(err.Error(), "in use") {
		t.Errorf("a token while nothing should be served: %v", err)
	}
	if rev, err = set(occupied.Addr().String()); err != nil {
		t.Fatal(err)
	}
	occupied.Close()
	s.applied(rev, nil)
	s.applied(set(""))
	if srv, _, err := s.Server(t.Context()); err != nil || len(srv.Environment.Addresses) != 0 || srv.Environment.Certificate != "" {
		t.Errorf("turned off: %+v, %v", srv.Environment, err)
	}
}
