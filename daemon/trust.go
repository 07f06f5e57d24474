package daemon

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"netctl/api"
	"netctl/db"
)

const (
	certificatesPath   = "/1.0/certificates"
	certificatesPrefix = "/certificate/"
)

// maxCertificateName is the longest name of a certificate, in bytes.
const maxCertificateName = 200

// A storedCertificate is the value of /certificate/<fingerprint>.
type storedCertificate struct {
	Name        string   `json:"name"`
	Type        string   `json:"type"`
	Restricted  bool     `json:"restricted"`
	Projects    []string `json:"projects"`
	Certificate string   `json:"certificate"` // PEM
}

func certificateKey(fingerprint string) string { return db.Key("certificate", fingerprint) }

func certificateURL(fingerprint string) string { return certificatesPath + "/" + fingerprint }

// check refuses what no entry of the trust store can be.
func (c *storedCertificate) check() error {
	if c.Type == "" {
		c.Type = api.CertificateClient
	}
	if c.Type != api.CertificateClient {
		return api.Errorf(api.Invalid, "certificate %q: type %q is not supported: use \"client\"", c.Name, c.Type)
	}
	control := func(r rune) bool { return !unicode.IsPrint(r) }
	if c.Name == "" || len(c.Name) > maxCertificateName || !utf8.ValidString(c.Name) || strings.ContainsFunc(c.Name, control) {
		return api.Errorf(api.Invalid, "certificate name %q: want 1 to %d bytes of text that can be printed", c.Name, maxCertificateName)
	}
	if c.Projects == nil {
		c.Projects = []string{}
	}
	slices.Sort(c.Projects)
	c.Projects = slices.Compact(c.Projects)
	for _, p := range c.Projects {
		if p != "default" {
			return api.Errorf(api.Invalid, "certificate %q: project %q not found: there is only \"default\"", c.Name, p)
		}
	}
	return nil
}

// certificateOf returns an entry of the trust store as the API shows it.
func certificateOf(o *db.Object) (api.Certificate, error) {
	var c storedCertificate
	if err := decode(o, &c); err != nil {
		return api.Certificate{}, err
	}
	return api.Certificate{
		Name: c.Name, Type: c.Type, Restricted: c.Restricted, Projects: c.Projects, Certificate: c.Certificate,
		Fingerprint: strings.TrimPrefix(o.Key, certificatesPrefix),
	}, nil
}

// findCertificate returns the entry of the trust store whose fingerprint
// begins as given.
func findCertificate(list func(prefix string) []*db.Object, start string) (api.Certificate, error) {
	found := list(certificatesPrefix + strings.ToLower(start))
	switch {
	case len(found) == 0 || start == "":
		return api.Certificate{}, api.Errorf(api.NotFound, "certificate %q not found", start)
	case len(found) > 1:
		return api.Certificate{}, api.Errorf(api.Invalid, "certificate %q: %d fingerprints begin so: give more of it", start, len(found))
	}
	return certificateOf(found[0])
}

// getCertificates is GET /1.0/certificates.
func (d *Daemon) getCertificates(r *http.Request) (reply, error) {
	match, err := parseFilter(r.URL.Query().Get("filter"))
	if err != nil {
		return reply{}, err
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	urls, all := []string{}, []api.Certificate{}
	for _, o := range objs.List(certificatesPrefix) {
		c, err := certificateOf(o)
		if err != nil {
			return reply{}, err
		}
		if match(c) {
			urls, all = append(urls, certificateURL(c.Fingerprint)), append(all, c)
		}
	}
	rev := int64(objs.Revision())
	if recursive(r) {
		return reply{revision: rev, metadata: all}, nil
	}
	return reply{revision: rev, metadata: urls}, nil
}

// getCertificate is GET /1.0/certificates/{fingerprint}.
func (d *Daemon) getCertificate(r *http.Request) (reply, error) {
	start, err := pathVar(r, "fingerprint")
	if err != nil {
		return reply{}, err
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	c, err := findCertificate(objs.List, start)
	return reply{revision: int64(objs.Revision()), etag: c, metadata: c}, err
}

// postCertificates is POST /1.0/certificates: a trusted client adds another or
// asks for a token, a stranger with a token adds itself.
func (d *Daemon) postCertificates(r *http.Request) (reply, error) {
	var req api.CertificatesPost
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	switch {
	case !identityOf(r).trusted:
		return d.join(r, req)
	case req.Token && req.Certificate != "":
		return reply{}, api.Errorf(api.Invalid, "certificate %q: a token is for a certificate that is not known yet: send one or the other", req.Name)
	case req.Token:
		return d.postToken(r, req)
	case req.Certificate == "":
		return reply{}, api.Errorf(api.Invalid, "client is already trusted: to add another, send its certificate or ask for a token")
	}
	cert, err := parseCertificate(req.Certificate)
	if err != nil {
		return reply{}, api.Errorf(api.Invalid, "certificate %q: %w", req.Name, err)
	}
	if req.Name == "" {
		req.Name = cert.Subject.CommonName
	}
	return d.addCertificate(r, cert, req)
}

// parseCertificate reads a certificate that a client sends: the base64 form of
// its DER, or PEM.
func parseCertificate(s string) (*x509.Certificate, error) {
	if block, _ := pem.Decode([]byte(s)); block != nil {
		return x509.ParseCertificate(block.Bytes)
	}
	der, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// addCertificate puts a certificate into the trust store.
func (d *Daemon) addCertificate(r *http.Request, cert *x509.Certificate, req api.CertificatesPost) (reply, error) {
	if now := time.Now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return reply{}, api.Errorf(api.Invalid, "certificate %q: it is good from %s to %s only", req.Name, cert.NotBefore, cert.NotAfter)
	}
	fingerprint := api.Fingerprint(cert.Raw)
	c := storedCertificate{
		Name: req.Name, Type: req.Type, Restricted: req.Restricted, Projects: req.Projects,
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})),
	}
	if err := c.check(); err != nil {
		return reply{}, err
	}
	create := func(tx *db.Tx) error {
		if tx.Get(certificateKey(fingerprint)) != nil {
			return api.Errorf(api.Conflict, "Certificate already in trust store: its fingerprint is %s", fingerprint)
		}
		return tx.Put(certificateKey(fingerprint), schemaVersion, c)
	}
	return d.write(r, create, api.EventLifecycleBody{
		Action: "certificate-created", Source: certificateURL(fingerprint), Context: map[string]any{"name": c.Name, "restricted": c.Restricted},
	}, reply{status: http.StatusCreated, location: certificateURL(fingerprint)})
}

// putCertificate is PUT /1.0/certificates/{fingerprint}.
func (d *Daemon) putCertificate(r *http.Request) (reply, error) {
	var req api.CertificatePut
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	return d.updateCertificate(r, api.CertificatePatch{
		Name: &req.Name, Type: &req.Type, Restricted: &req.Restricted, Projects: &req.Projects, Certificate: &req.Certificate,
	})
}

// patchCertificate is PATCH /1.0/certificates/{fingerprint}.
func (d *Daemon) patchCertificate(r *http.Request) (reply, error) {
	var req api.CertificatePatch
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	return d.updateCertificate(r, req)
}

func (d *Daemon) updateCertificate(r *http.Request, req api.CertificatePatch) (reply, error) {
	change := func(tx *db.Tx, c api.Certificate) error {
		if s := req.Certificate; s != nil && *s != "" && strings.TrimSpace(*s) != strings.TrimSpace(c.Certificate) {
			return api.Errorf(api.Invalid, "certificate %q cannot be exchanged: add the new one, and delete this", c.Name)
		}
		next := storedCertificate{c.Name, c.Type, c.Restricted, c.Projects, c.Certificate}
		set(&next.Name, req.Name)
		set(&next.Type, req.Type)
		set(&next.Restricted, req.Restricted)
		set(&next.Projects, req.Projects)
		if err := next.check(); err != nil {
			return err
		}
		return tx.Put(certificateKey(c.Fingerprint), schemaVersion, next)
	}
	return d.writeCertificate(r, "certificate-updated", change)
}

// set changes a field when there is a new value for it.
func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// deleteCertificate is DELETE /1.0/certificates/{fingerprint}. What is under
// way with the certificate ends before the answer.
func (d *Daemon) deleteCertificate(r *http.Request) (reply, error) {
	rep, err := d.writeCertificate(r, "certificate-deleted", func(tx *db.Tx, c api.Certificate) error {
		tx.Delete(certificateKey(c.Fingerprint))
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	// The answer is under way: it does not end with a certificate that removes
	// itself.
	objs, err := d.store.Snapshot(context.WithoutCancel(r.Context()))
	if err != nil {
		return reply{}, err
	}
	d.guards.sweep(objs)
	return rep, nil
}

// writeCertificate changes the entry of the trust store that a path names.
func (d *Daemon) writeCertificate(r *http.Request, action string, change func(*db.Tx, api.Certificate) error) (reply, error) {
	start, err := pathVar(r, "fingerprint")
	if err != nil {
		return reply{}, err
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	found, err := findCertificate(objs.List, start)
	if err != nil {
		return reply{}, err
	}
	fn := func(tx *db.Tx) error {
		c, err := findCertificate(tx.List, found.Fingerprint)
		if err != nil {
			return err
		}
		if err := ifMatch(r, c); err != nil {
			return err
		}
		return change(tx, c)
	}
	return d.write(r, fn, api.EventLifecycleBody{
		Action: action, Source: certificateURL(found.Fingerprint), Context: map[string]any{"name": found.Name},
	}, reply{})
}
