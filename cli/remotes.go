package cli

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"netctl/api"
	"netctl/client"
)

// local is the name of the daemon on this host, which is always there.
const local = "local"

// defaultPort is where daemons serve their API unless told otherwise.
const defaultPort = "8443"

// remotes are the daemons that a user knows. They are kept in the user's own
// directory, with the key that the user has for all of them and the certificate
// of each.
type remotes struct {
	dir     string
	Default string            `yaml:"default"`
	Remotes map[string]remote `yaml:"remotes"`
}

// A remote is a daemon on the network.
type remote struct {
	Address string `yaml:"address"` // URL
}

// remotes reads what the user knows. Without a directory of the user's that is
// nothing.
func (a *app) remotes() (*remotes, error) {
	r := &remotes{Default: local, Remotes: map[string]remote{}}
	home := cmp.Or(a.Getenv("HOME"), a.Getenv("USERPROFILE"))
	switch {
	case a.Getenv("XDG_CONFIG_HOME") != "":
		r.dir = filepath.Join(a.Getenv("XDG_CONFIG_HOME"), "netctl")
	case home != "":
		r.dir = filepath.Join(home, ".config", "netctl")
	default:
		return r, nil
	}
	text, err := os.ReadFile(r.file())
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("%s: %w", r.file(), err)
	}
	if _, ok := r.Remotes[r.Default]; !ok && r.Default != local {
		return nil, fmt.Errorf("%s: the default is %q, which is not one of the remotes", r.file(), r.Default)
	}
	return r, nil
}

func (r *remotes) file() string { return filepath.Join(r.dir, "config.yml") }

// certificate returns the path of the certificate of a remote.
func (r *remotes) certificate(name string) string {
	return filepath.Join(r.dir, "servercerts", name+".crt")
}

// save writes what the user knows.
func (r *remotes) save() error {
	text, err := toYAML(r)
	if err != nil {
		return err
	}
	return replaceFile(r.file(), []byte(text))
}

// replaceFile writes a file for its owner alone, all of it or nothing, and
// makes the directory that it is in.
func replaceFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// key returns the key that the user has for all remotes, which is made when it
// is needed for the first time.
func (r *remotes) key() (tls.Certificate, error) {
	if r.dir == "" {
		return tls.Certificate{}, errors.New("there is no place for keys and remotes: set HOME or XDG_CONFIG_HOME")
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return tls.Certificate{}, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "client"
	}
	return client.KeyPair(r.dir, "client", host)
}

// fingerprint returns the fingerprint of the certificate that is remembered of
// a remote.
func (r *remotes) fingerprint(name string) (string, error) {
	text, err := os.ReadFile(r.certificate(name))
	if err != nil {
		return "", fmt.Errorf("certificate of remote %q: %w", name, err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", fmt.Errorf("certificate of remote %q: %s is not a certificate", name, r.certificate(name))
	}
	return api.Fingerprint(block.Bytes), nil
}

// remember keeps the certificate of a remote.
func (r *remotes) remember(name string, cert *x509.Certificate) error {
	return replaceFile(r.certificate(name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// client returns a client of a remote.
func (r *remotes) client(name string) (*client.Client, error) {
	to, ok := r.Remotes[name]
	if !ok {
		return nil, fmt.Errorf("remote %q is not known: \"netctl remote list\" shows those that are", name)
	}
	fingerprint, err := r.fingerprint(name)
	if err != nil {
		return nil, err
	}
	key, err := r.key()
	if err != nil {
		return nil, err
	}
	return client.HTTPS(to.Address, key, fingerprint), nil
}

// remoteName is what a remote may be called: it becomes the name of a file.
var remoteName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// remoteURL completes the address of a daemon: an IP address or a name, with
// or without a port, or a whole URL.
func remoteURL(address string) (string, error) {
	bad := func(why string) (string, error) { return "", fmt.Errorf("address %q: %s", address, why) }
	host := address
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		switch {
		case err != nil:
			return bad("not a URL")
		case u.Scheme != "https":
			return bad("only https:// is supported")
		case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
			return bad("only a host and a port are wanted")
		}
		host = u.Host
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), defaultPort
	}
	if _, err := netip.ParseAddr(name); err != nil && (name == "" || strings.ContainsAny(name, ":/?#@[] \t")) {
		return bad("not an IP address or the name of a host, with or without a port")
	}
	return "https://" + net.JoinHostPort(name, port), nil
}
