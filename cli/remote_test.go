package cli

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"netctl/api"
	"netctl/client"
)

func TestRemoteURL(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1":                     "https://192.0.2.1:8443",
		"192.0.2.1:443":                 "https://192.0.2.1:443",
		"2001:db8::1":                   "https://[2001:db8::1]:8443",
		"[2001:db8::1]":                 "https://[2001:db8::1]:8443",
		"[2001:db8::1]:443":             "https://[2001:db8::1]:443",
		"host.example.net":              "https://host.example.net:8443",
		"host.example.net:443":          "https://host.example.net:443",
		"https://host.example.net":      "https://host.example.net:8443",
		"https://host.example.net:443/": "https://host.example.net:443",
		"https://[2001:db8::1]:443":     "https://[2001:db8::1]:443",
	} {
		if have, err := remoteURL(address); err != nil || have != want {
			t.Errorf("%q is %q, %v; want %q", address, have, err, want)
		}
	}
	for _, bad := range []string{"", "http://host", "https://", "https://host/path", "https://user@host", "https://host?x", "a b", "host/path", "2001:db8::1::"} {
		if have, err := remoteURL(bad); err == nil {
			t.Errorf("%q is %q", bad, have)
		}
	}
}

// A distant is a daemon on another host, as far as commands see of it.
type distant struct {
	t     *testing.T
	url   string
	token string // that lets clients in
	key   tls.Certificate

	mu      sync.Mutex
	trusted map[string]bool
}

func newDistant(t *testing.T) *distant {
	t.Helper()
	key, err := client.KeyPair(t.TempDir(), "server", "host")
	if err != nil {
		t.Fatal(err)
	}
	d := &distant{t: t, key: key, trusted: map[string]bool{}}
	s := httptest.NewUnstartedServer(http.HandlerFunc(d.answer))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{key}, ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	d.url = s.URL
	d.token = d.tokenFor(strings.TrimPrefix(d.url, "https://"))
	return d
}

// tokenFor returns a token that says that the daemon is at some addresses.
func (d *distant) tokenFor(addrs ...string) string {
	return api.CertificateAddToken{ClientName: "me", Fingerprint: d.fingerprint(), Addresses: addrs, Secret: "s3cret"}.String()
}

func (d *distant) fingerprint() string { return api.Fingerprint(d.key.Certificate[0]) }

func (d *distant) answer(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	who := api.Fingerprint(r.TLS.PeerCertificates[0].Raw)
	meta, status, text := "null", 200, ""
	switch request := r.Method + " " + r.URL.Path; {
	case request == "GET /1.0":
		meta = fmt.Sprintf(`{"auth":%q}`, map[bool]string{true: "trusted", false: "untrusted"}[d.trusted[who]])
	case request == "POST /1.0/certificates":
		var p api.CertificatesPost
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
			d.t.Error(err)
		}
		given, err := api.ParseCertificateAddToken(p.TrustToken)
		if err != nil || given.Secret != "s3cret" {
			status, text = 403, "No matching certificate add operation found"
			break
		}
		d.trusted[who] = true
	case !d.trusted[who]:
		status, text = 403, "not authorized"
	case request == "GET /1.0/networks":
		meta = `[{"name":"distant0"}]`
	default:
		status, text = 403, "the certificate is restricted"
	}
	env := api.Envelope{Type: api.TypeSync, StatusCode: status, Metadata: json.RawMessage(meta)}
	if text != "" {
		env = api.Envelope{Type: api.TypeError, ErrorCode: status, Error: text}
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(env)
}

// A user is somebody with a home.
type user struct {
	t    *testing.T
	home string
}

func newUser(t *testing.T) *user {
	t.Helper()
	return &user{t, t.TempDir()}
}

// run runs a command, with what is typed when a person sits at the terminal,
// and returns all that it prints, and how it ends.
func (u *user) run(typed string, args ...string) string {
	u.t.Helper()
	var out bytes.Buffer
	status := Run(u.t.Context(), System{
		In: strings.NewReader(typed), Out: &out, Err: &out, Terminal: typed != "", Now: time.Now,
		Getenv: func(name string) string { return map[string]string{"HOME": u.home}[name] },
	}, args)
	fmt.Fprintf(&out, "[exit %d]", status)
	return out.String()
}

// expect runs a command and compares the end of what it prints.
func (u *user) expect(want, typed string, args ...string) {
	u.t.Helper()
	if have := u.run(typed, args...); !strings.Contains(have, want) {
		u.t.Errorf("netctl %s: %s\nwant %s", strings.Join(args, " "), have, want)
	}
}

func (u *user) dir(names ...string) string {
	return filepath.Join(append([]string{u.home, ".config", "netctl"}, names...)...)
}

func TestRemoteWithToken(t *testing.T) {
	t.Parallel()
	d, u := newDistant(t), newUser(t)
	u.expect("Remote far added, at "+d.url+"\n[exit 0]", "", "remote", "add", "far", d.token)
	u.expect("distant0", "", "--remote", "far", "network", "list", "-f", "csv")
	u.expect("is known already, at "+d.url, "", "remote", "add", "far", d.token)
	u.expect("local\n[exit 0]", "", "remote", "get-default")
	u.expect("[exit 0]", "", "remote", "switch", "far")
	u.expect("far\n[exit 0]", "", "remote", "get-default")
	u.expect("distant0", "", "network", "list", "-f", "csv")
	u.expect("/nonexistent/unix.socket", "", "--dir", "/nonexistent", "network", "list")
	u.expect("/var/lib/netctl/unix.socket", "", "--remote", "local", "network", "show", "nosuch")
	u.expect("far,"+d.url+","+d.fingerprint()[:12]+",yes", "", "remote", "list", "-f", "csv")
	u.expect("local,unix:///var/lib/netctl/unix.socket,,\n", "", "remote", "list", "-f", "csv")
	u.expect(`the certificate is restricted
Hint: "netctl config trust list" on the host of the daemon`, "", "network", "delete", "distant0")
	u.expect("far\nlocal\n:4", "", "__complete", "--remote", "")
	u.expect("far\nlocal\n:4", "", "__complete", "remote", "switch", "")
	u.expect("distant0\n:4", "", "__complete", "network", "show", "")
	for _, name := range []string{"config.yml", "client.key", "client.crt", "servercerts/far.crt"} {
		if info, err := os.Stat(u.dir(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	u.expect("cannot be removed", "", "remote", "remove", "local")
	u.expect("Remote far removed\n[exit 0]", "", "remote", "remove", "far")
	u.expect("local\n[exit 0]", "", "remote", "get-default")
	u.expect(`remote "far" is not known`, "", "remote", "remove", "far")
	u.expect(`remote "far" is not known`, "", "remote", "switch", "far")
	u.expect(`remote "far" is not known: "netctl remote list" shows those that are`, "", "--remote", "far", "network", "list")
	if _, err := os.Stat(u.dir("servercerts/far.crt")); err == nil {
		t.Error("the certificate is still there")
	}
}

func TestRemoteWithQuestions(t *testing.T) {
	t.Parallel()
	d := newDistant(t)
	for _, tt := range []struct {
		name, typed, want string
		flags             []string
	}{
		{"yes and token", "yes\n" + d.token + "\n", "Remote far added", nil},
		{"fingerprint", strings.ToUpper(d.fingerprint()) + "\n" + d.token + "\n", "Remote far added", nil},
		{"another fingerprint", strings.Repeat("0", 64) + "\n", "the certificate was not taken", nil},
		{"no", "no\n", "the certificate was not taken", nil},
		{"nothing", "\n", "the certificate was not taken", nil},
		{"gone", "\x00", "no answer, so the certificate was not taken", nil},
		{"no token", "y\n\n", "does not trust your key yet", nil},
		{"unattended", "", "there is nobody to ask: use a token or --accept-certificate", nil},
		{"accepted", "", "does not trust your key yet", []string{"--accept-certificate"}},
		{"accepted with token", "", "Remote far added", []string{"--token", d.token}},
		{"wrong token", "y\ngarbage\n", "the daemon does not take the token: No matching certificate add operation found\nHint: \"netctl config trust add\" on the host", nil},
		{"no token at all", "", "[exit 2]", []string{"--token", "garbage"}},
	} {
		u := newUser(t)
		have := u.run(tt.typed, append([]string{"remote", "add", "far", d.url}, tt.flags...)...)
		if !strings.Contains(have, tt.want) {
			t.Errorf("%s: %s\nwant %s", tt.name, have, tt.want)
		}
		if strings.Contains(have, d.fingerprint()) != (len(tt.flags) == 0) {
			t.Errorf("%s: the fingerprint is shown, or not: %s", tt.name, have)
		}
		added := strings.Contains(tt.want, "added")
		for _, name := range []string{"config.yml", "servercerts/far.crt"} {
			if _, err := os.Stat(u.dir(name)); (err == nil) != added {
				t.Errorf("%s: %s: %v", tt.name, name, err)
			}
		}
	}
}

// A token lists many addresses. Some cannot be reached, and at some is
// somebody else, who does not get to see the token.
func TestRemoteAtOneOfManyAddresses(t *testing.T) {
	t.Parallel()
	d, other, u := newDistant(t), newDistant(t), newUser(t)
	elsewhere := strings.TrimPrefix(other.url, "https://")
	u.expect("Remote far added, at "+d.url, "", "remote", "add", "far", d.tokenFor("127.0.0.1:1", elsewhere, strings.TrimPrefix(d.url, "https://")))
	have := u.run("", "remote", "add", "far2", d.tokenFor("127.0.0.1:1", elsewhere))
	for _, want := range []string{"127.0.0.1:1", other.fingerprint(), "[exit"} {
		if !strings.Contains(have, want) {
			t.Errorf("%s\nwant %s", have, want)
		}
	}
	if len(other.trusted) != 0 {
		t.Error("somebody else was sent the token")
	}
	u.expect("[exit 3]", "", "remote", "add", "far3", "127.0.0.1:1")
}

func TestRemoteIsPinned(t *testing.T) {
	t.Parallel()
	d, other, u := newDistant(t), newDistant(t), newUser(t)
	u.expect("added", "", "remote", "add", "far", d.token)
	text := fmt.Sprintf("default: far\nremotes:\n  far:\n    address: %s\n", other.url)
	if err := os.WriteFile(u.dir("config.yml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	u.expect("is not the one remembered: its fingerprint is "+other.fingerprint()+", expected "+d.fingerprint(), "", "network", "list")
	u.expect("Hint: when the daemon was set up anew", "", "monitor")
}

func TestRemoteFiles(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for _, name := range []string{"local", "../x", "a/b", "", ".hidden", "a:b", "ä", strings.Repeat("x", 64)} {
		u.expect("cannot be called so", "", "remote", "add", name, "127.0.0.1:1")
	}
	if err := os.MkdirAll(u.dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"default: far\n":                 `the default is "far", which is not one of the remotes`,
		"remote: local\n":                "config.yml",
		"\tx":                            "config.yml",
		"remotes: {far: {address: x}}\n": "certificate of remote \"far\"",
	} {
		if err := os.WriteFile(u.dir("config.yml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		u.expect(want, "", "--remote", "far", "network", "list")
		u.expect("[exit 0]", "", "completion", "bash")
		u.expect("[exit 0]", "", "help", "network")
		u.expect("[exit 0]", "", "network")
		u.expect(":4", "", "__complete", "network", "show", "")
	}
	homeless := &user{t, ""}
	homeless.expect("set HOME or XDG_CONFIG_HOME", "", "remote", "add", "far", "127.0.0.1:1")
	homeless.expect("local,", "", "remote", "list", "-f", "csv")
	homeless.expect("does not go with --socket or --dir", "", "--remote", "x", "--dir", "y", "network", "list")
}
