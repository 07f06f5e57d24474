package daemon

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"netctl/api"
	"netctl/db"
)

// tokens are the secrets that let strangers into the trust store, each one
// once. They are kept in memory only: a restart of the daemon makes them
// useless, as it does in LXD. The zero tokens are ready for use.
type tokens struct {
	mu      sync.Mutex
	pending map[string]*pendingToken // by the id of the operation that stands for it
}

// A pendingToken is one of them, kept by the digest of its secret.
type pendingToken struct {
	digest  [sha256.Size]byte
	expires time.Time
	request api.CertificatesPost
	taken   bool // somebody is being let in with it
}

func (t *tokens) add(id, secret string, expires time.Time, req api.CertificatesPost) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending == nil {
		t.pending = map[string]*pendingToken{}
	}
	// Round takes the monotonic clock away, which stands still while the host
	// is suspended.
	t.pending[id] = &pendingToken{digest: sha256.Sum256([]byte(secret)), expires: expires.Round(0), request: req}
}

// take reserves the token with a secret. It looks at all of them, and compares
// digests in constant time, so that the time it takes tells nothing.
func (t *tokens) take(secret string, now time.Time) (id string, req api.CertificatesPost, ok bool) {
	digest := sha256.Sum256([]byte(secret))
	t.mu.Lock()
	defer t.mu.Unlock()
	var found *pendingToken
	for i, one := range t.pending {
		if subtle.ConstantTimeCompare(one.digest[:], digest[:]) == 1 {
			id, found = i, one
		}
	}
	if found == nil || found.taken || !now.Round(0).Before(found.expires) {
		return "", api.CertificatesPost{}, false
	}
	found.taken = true
	return id, found.request, true
}

// giveBack makes a token that was taken usable again.
func (t *tokens) giveBack(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one := t.pending[id]; one != nil {
		one.taken = false
	}
}

// drop makes a token useless.
func (t *tokens) drop(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pending, id)
}

// maxTokenAddresses is how many addresses a token lists at most: clients try one
// after the other.
const maxTokenAddresses = 32

// postToken makes a token, which an operation stands for.
func (d *Daemon) postToken(r *http.Request, req api.CertificatesPost) (reply, error) {
	wanted := storedCertificate{Name: req.Name, Type: req.Type, Restricted: req.Restricted, Projects: req.Projects}
	if err := wanted.check(); err != nil {
		return reply{}, err
	}
	req = api.CertificatesPost{Name: wanted.Name, Type: wanted.Type, Restricted: wanted.Restricted, Projects: wanted.Projects, Token: true}
	if dryRun(r) {
		return d.rehearse(r.Context(), func(*db.Tx) error { return nil })
	}
	served := d.https.served()
	addresses, err := d.addresses(r.Context(), served)
	if err != nil {
		return reply{}, err
	}
	if len(addresses) == 0 {
		return reply{}, api.Errorf(api.Invalid, "Can't issue token when server isn't listening on network: set core.https_address%s", served.trouble())
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	server, err := decodeServer(objs)
	if err != nil {
		return reply{}, err
	}
	addresses = addresses[:min(len(addresses), maxTokenAddresses)]
	secret, expires := newSecret(), time.Now().Add(server.TokenExpiry)
	meta, err := toMap(api.TokenMetadata{Secret: secret, Fingerprint: served.fingerprint, Addresses: addresses, ExpiresAt: expires, Request: req})
	if err != nil {
		return reply{}, err
	}
	id := newOperationID()
	d.tokens.add(id, secret, expires, req)
	op := d.operations.add(api.Operation{
		ID: id, Class: api.OperationToken, Description: "Certificate add token", Metadata: meta,
	}, func() { d.tokens.drop(id) })
	time.AfterFunc(server.TokenExpiry, func() {
		d.tokens.drop(id)
		d.operations.end(id, api.StatusCancelled, "the token has expired")
	})
	d.hub.send(api.EventLifecycle, api.EventLifecycleBody{
		Action: "certificate-token-created", Source: operationURL(id), Requestor: requestor(r),
		Context: map[string]any{"name": req.Name, "restricted": req.Restricted, "expires_at": expires},
	})
	return reply{operation: &op}, nil
}

// newSecret returns 256 random bits.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails, crypto/rand says
	return hex.EncodeToString(b)
}

// toMap returns v as its JSON has it.
func toMap(v any) (map[string]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(raw, &out)
}

// join lets a stranger in who has a token. All that it may say is the token:
// how it is known here, and what it may do, was said when that was made.
func (d *Daemon) join(r *http.Request, req api.CertificatesPost) (reply, error) {
	if req.TrustToken == "" {
		req.TrustToken = req.Password
	}
	if req.TrustToken == "" || len(r.TLS.PeerCertificates) == 0 || dryRun(r) {
		return reply{}, api.Errorf(api.Forbidden, "not authorized: a client that is not trusted yet must show a certificate, and send a token as trust_token")
	}
	source := sourceOf(r.RemoteAddr)
	if wait := d.throttle.try(source, time.Now()); wait > 0 {
		return reply{}, api.Errorf(api.TooMany, "too many wrong tokens from %s: try again in %s", sourceText(source), wait.Round(time.Second)+time.Second)
	}
	var id string
	var granted api.CertificatesPost
	given, err := api.ParseCertificateAddToken(req.TrustToken)
	ok := err == nil
	if ok {
		id, granted, ok = d.tokens.take(given.Secret, time.Now())
	}
	if !ok {
		d.log.Warn("wrong token refused", "address", r.RemoteAddr)
		return reply{}, api.Errorf(api.Forbidden, "No matching certificate add operation found: the token was used already, has expired, was revoked, or is not from this server")
	}
	d.throttle.forgive(source)
	r = withIdentity(r, identity{tls: true, address: r.RemoteAddr, certificate: &storedCertificate{Name: granted.Name}})
	rep, err := d.addCertificate(r, r.TLS.PeerCertificates[0], granted)
	if err != nil {
		d.tokens.giveBack(id)
		return reply{}, err
	}
	d.operations.end(id, api.StatusSuccess, "")
	d.tokens.drop(id)
	d.log.Info("client trusted", "name", granted.Name, "address", r.RemoteAddr)
	return rep, nil
}
