package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// keyYears is for how long a key pair is good. Nobody but its fingerprint
// vouches for it, so there is nothing to renew it with; it is removed from the
// trust store when it must not be used any more.
const keyYears = 10

// KeyPair returns the key and the certificate in the files name.key and
// name.crt of a directory. When there is no certificate yet it makes both,
// ECDSA P-384 and signed by itself, for a host with some addresses.
func KeyPair(dir, name, host string, addrs ...netip.Addr) (tls.Certificate, error) {
	crt, key := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	if _, err := os.Stat(crt); errors.Is(err, fs.ErrNotExist) {
		if err := makeKeyPair(crt, key, host, addrs); err != nil {
			return tls.Certificate{}, fmt.Errorf("make %s: %w", crt, err)
		}
	}
	pair, err := tls.LoadX509KeyPair(crt, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s and %s: %w", crt, key, err)
	}
	return pair, nil
}

// makeKeyPair writes the key first: without its certificate it is nothing, and
// is made again.
func makeKeyPair(crt, key, host string, addrs []netip.Addr) error {
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"netctl"}, CommonName: host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(keyYears, 0, 0), // an hour, for clocks that differ
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{host},
	}
	for _, a := range addrs {
		template.IPAddresses = append(template.IPAddresses, a.AsSlice())
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	if err := writeFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return err
	}
	return writeFile(crt, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
}

// writeFile writes a file for its owner alone, all of it or nothing.
func writeFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
