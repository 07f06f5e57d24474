package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// CertificateClient is the type of the certificates of clients, the only one
// that there is.
const CertificateClient = "client"

// A Certificate is one entry of the trust store: a client that may use the API
// over HTTPS.
type Certificate struct {
	Name        string   `json:"name" yaml:"name"`
	Type        string   `json:"type" yaml:"type"`             // client
	Restricted  bool     `json:"restricted" yaml:"restricted"` // may only read
	Projects    []string `json:"projects" yaml:"projects"`
	Certificate string   `json:"certificate" yaml:"certificate"` // PEM
	Fingerprint string   `json:"fingerprint" yaml:"fingerprint"` // see Fingerprint
}

// A CertificatesPost is the body of POST /1.0/certificates. A trusted client
// sends the certificate of another, or asks for a token. A stranger sends the
// token that it was given, over the connection that has its certificate.
type CertificatesPost struct {
	Name        string   `json:"name" yaml:"name"`
	Type        string   `json:"type" yaml:"type"`
	Restricted  bool     `json:"restricted" yaml:"restricted"`
	Projects    []string `json:"projects" yaml:"projects"`
	Certificate string   `json:"certificate" yaml:"certificate"` // base64 of its DER form, or PEM
	Token       bool     `json:"token" yaml:"token"`             // make a token instead
	// TrustToken is the token of a stranger, in the form of CertificateAddToken's
	// String. Older clients send it as Password.
	TrustToken string `json:"trust_token,omitempty" yaml:"trust_token,omitempty"`
	Password   string `json:"password,omitempty" yaml:"password,omitempty"`
}

// A CertificatePut is the body of PUT /1.0/certificates/{fingerprint}.
type CertificatePut struct {
	Name        string   `json:"name" yaml:"name"`
	Type        string   `json:"type" yaml:"type"`
	Restricted  bool     `json:"restricted" yaml:"restricted"`
	Projects    []string `json:"projects" yaml:"projects"`
	Certificate string   `json:"certificate" yaml:"certificate"` // as it is, or empty
}

// A CertificatePatch is a CertificatePut whose fields may be left alone.
type CertificatePatch struct {
	Name        *string   `json:"name,omitempty" yaml:"name,omitempty"`
	Type        *string   `json:"type,omitempty" yaml:"type,omitempty"`
	Restricted  *bool     `json:"restricted,omitempty" yaml:"restricted,omitempty"`
	Projects    *[]string `json:"projects,omitempty" yaml:"projects,omitempty"`
	Certificate *string   `json:"certificate,omitempty" yaml:"certificate,omitempty"`
}

// Fingerprint returns the name of a certificate: the SHA-256 digest of its DER
// form, in hexadecimal.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// A CertificateAddToken lets whoever has it into the trust store, once. It
// carries what a client needs to find the daemon and to know it again.
type CertificateAddToken struct {
	ClientName  string    `json:"client_name"`
	Fingerprint string    `json:"fingerprint"` // of the daemon's certificate
	Addresses   []string  `json:"addresses"`   // of the daemon, with ports
	Secret      string    `json:"secret"`
	ExpiresAt   time.Time `json:"expires_at"`
}

// String returns the token as it is handed on: base64 of its JSON.
func (t CertificateAddToken) String() string {
	raw, err := json.Marshal(t)
	if err != nil { // a year beyond 9999
		return ""
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// ParseCertificateAddToken is the inverse of CertificateAddToken's String.
func ParseCertificateAddToken(s string) (CertificateAddToken, error) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return CertificateAddToken{}, fmt.Errorf("token: %w", err)
	}
	var t CertificateAddToken
	if err := json.Unmarshal(raw, &t); err != nil {
		return CertificateAddToken{}, fmt.Errorf("token: %w", err)
	}
	if t.ClientName == "" || t.Fingerprint == "" || t.Secret == "" || len(t.Addresses) == 0 {
		return CertificateAddToken{}, errors.New("token: it is not complete")
	}
	return t, nil
}

// A TokenMetadata is the metadata of an operation of class token that lets a
// client into the trust store.
type TokenMetadata struct {
	Secret      string           `json:"secret"`
	Fingerprint string           `json:"fingerprint"`
	Addresses   []string         `json:"addresses"`
	ExpiresAt   time.Time        `json:"expiresAt"`
	Request     CertificatesPost `json:"request"`
}

// Token returns the token that an operation stands for; ok is false for any
// other operation.
func (o Operation) Token() (t CertificateAddToken, ok bool) {
	raw, err := json.Marshal(o.Metadata)
	if err != nil || o.Class != OperationToken {
		return CertificateAddToken{}, false
	}
	var m TokenMetadata
	if err := json.Unmarshal(raw, &m); err != nil || m.Secret == "" {
		return CertificateAddToken{}, false
	}
	return CertificateAddToken{
		ClientName: m.Request.Name, Fingerprint: m.Fingerprint, Addresses: m.Addresses, Secret: m.Secret, ExpiresAt: m.ExpiresAt,
	}, true
}
