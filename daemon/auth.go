package daemon

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"netctl/api"
)

type identityKey struct{}

// maxStranger is the longest body that is read of a stranger, in bytes: more
// than any token has.
const maxStranger = 64 << 10

// An identity is who sends a request, and what it may do.
type identity struct {
	peer        cred               // on the unix socket
	tls         bool               // not on the unix socket
	address     string             // on the network
	certificate *storedCertificate // that is trusted; nil for a stranger
	trusted     bool               // may use the API
	restricted  bool               // may only read
}

// identify finds out who sends a request. A certificate counts while it is in
// the trust store and has not expired; that the client has its key was proven
// when the connection was opened.
func (d *Daemon) identify(r *http.Request) (identity, error) {
	if r.TLS == nil {
		c, ok := r.Context().Value(credKey{}).(cred)
		return identity{peer: c, trusted: ok && c.trusted()}, nil
	}
	id := identity{tls: true, address: r.RemoteAddr}
	if len(r.TLS.PeerCertificates) == 0 {
		return id, nil
	}
	shown := r.TLS.PeerCertificates[0]
	if now := time.Now(); now.Before(shown.NotBefore) || now.After(shown.NotAfter) {
		return id, nil
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return id, err
	}
	o := objs.Get(certificateKey(api.Fingerprint(shown.Raw)))
	if o == nil {
		return id, nil
	}
	var c storedCertificate
	if err := decode(o, &c); err != nil {
		return id, err
	}
	id.certificate, id.trusted, id.restricted = &c, true, c.Restricted
	return id, nil
}

func identityOf(r *http.Request) identity {
	id, _ := r.Context().Value(identityKey{}).(identity)
	return id
}

func withIdentity(r *http.Request, id identity) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), identityKey{}, id))
}

// requestor describes the client for the events that its request causes.
func requestor(r *http.Request) *api.Requestor {
	id := identityOf(r)
	if id.tls {
		out := &api.Requestor{Protocol: "tls", Address: id.address}
		if id.certificate != nil {
			out.Username = id.certificate.Name
		}
		return out
	}
	return &api.Requestor{Username: id.peer.name(), Protocol: "unix", Address: fmt.Sprintf("pid %d", id.peer.Pid)}
}

// authorized lets everybody do what they may, and nothing else. A request ends
// when the certificate that it came with is not trusted any more.
func (d *Daemon) authorized(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	refuse := func(w http.ResponseWriter, r *http.Request, start time.Time, e *api.Error) {
		d.metrics.request(r, api.HTTPStatus[e.Code], start)
		writeError(w, e)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		held, release := r.Context(), func() {}
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			// Before the look into the trust store, so that no change of it is
			// missed.
			held, release = d.guards.hold(held, api.Fingerprint(r.TLS.PeerCertificates[0].Raw))
		}
		defer release()
		id, err := d.identify(r)
		if err != nil {
			refuse(w, r, start, d.explain(r, err))
			return
		}
		why := id.mayNot(r)
		if id.tls && why == "" && crossOrigin.Check(r) != nil {
			// A browser shows its user's certificate for any page that asks.
			why = "the request comes from a page of another site"
		}
		if id.tls && !id.trusted { // strangers hold neither connections nor memory
			w.Header().Set("Connection", "close")
			r.Body = http.MaxBytesReader(w, r.Body, maxStranger)
		}
		if why != "" {
			refuse(w, r, start, &api.Error{Code: api.Forbidden, Message: "not authorized: " + why})
			return
		}
		if id.trusted {
			r = r.WithContext(held)
		}
		next.ServeHTTP(w, withIdentity(r, id))
	})
}

// mayNot says why a client may not send a request, or nothing. Strangers may
// read GET /1.0, and show a token for their certificate.
func (id identity) mayNot(r *http.Request) string {
	get := r.Method == http.MethodGet
	open := get && (r.URL.Path == "/" || r.URL.Path == "/1.0") || id.tls && r.Method == http.MethodPost && r.URL.Path == certificatesPath
	switch {
	case open && !id.restricted, id.trusted && !id.restricted:
		return ""
	case !id.trusted && id.tls:
		return "the client's certificate is not trusted by this server, or none was shown"
	case !id.trusted:
		return "be root or a member of the daemon's group"
	case !get:
		return fmt.Sprintf("the certificate %q is restricted: it may only read", id.certificate.Name)
	case r.URL.Query().Has("secrets"):
		return fmt.Sprintf("the certificate %q is restricted: it may not read secrets", id.certificate.Name)
	}
	return ""
}
