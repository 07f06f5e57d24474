package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"netctl/api"
	"netctl/client"
	"netctl/db"
)

// TestTrustEnds shows a trusted certificate before, while and after it is good.
func TestTrustEnds(t *testing.T) {
	pair, err := client.KeyPair(t.TempDir(), "client", "laptop")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	objs, _, err := db.Apply(t.Context(), db.NewObjects(0, nil), nil, func(tx *db.Tx) error {
		return tx.Put(certificateKey(api.Fingerprint(cert.Raw)), schemaVersion, storedCertificate{Name: "laptop", Type: api.CertificateClient})
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{store: stillStore{objs: objs}}
	now := time.Now()
	for _, tt := range []struct {
		from, to time.Time
		trusted  bool
	}{
		{now.Add(-time.Hour), now.Add(time.Hour), true},
		{now.Add(time.Hour), now.Add(2 * time.Hour), false},
		{now.Add(-2 * time.Hour), now.Add(-time.Hour), false},
	} {
		cert.NotBefore, cert.NotAfter = tt.from, tt.to
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/1.0", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
		if id, err := d.identify(r); err != nil || id.trusted != tt.trusted || !id.tls {
			t.Errorf("good from %s to %s: %+v, %v", tt.from, tt.to, id, err)
		}
	}
}
