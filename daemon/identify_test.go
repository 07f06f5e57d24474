package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// A slowDirectory answers when it is told to.
type slowDirectory struct {
	mu     sync.Mutex
	asked  int
	answer chan struct{}
	found  []string
	err    error
}

func (d *slowDirectory) name(string) (string, error) { return "alice", d.err }

func (d *slowDirectory) groups(string) ([]string, error) {
	d.mu.Lock()
	d.asked++
	d.mu.Unlock()
	<-d.answer
	return d.found, d.err
}

// TestCred shows who is let in on the unix socket, and that the directory of
// users is asked only about those of whom it is not clear, when they send a
// request, and once.
func TestCred(t *testing.T) {
	const group = 1234
	me := uint32(os.Geteuid())
	for _, tt := range []struct {
		name    string
		u       unix.Ucred
		group   int
		found   []string
		err     error
		asked   int
		trusted bool
	}{
		{"root", unix.Ucred{Uid: 0, Gid: 7}, group, nil, nil, 0, true},
		{"the daemon's own user", unix.Ucred{Uid: me, Gid: 7}, group, nil, nil, 0, true},
		{"primary group", unix.Ucred{Uid: 4711, Gid: group}, group, nil, nil, 0, true},
		{"supplementary group", unix.Ucred{Uid: 4711, Gid: 7}, group, []string{"7", "1234"}, nil, 1, true},
		{"another group", unix.Ucred{Uid: 4711, Gid: 7}, group, []string{"7", "123"}, nil, 1, false},
		{"the directory is away", unix.Ucred{Uid: 4711, Gid: 7}, group, []string{"1234"}, errors.New("timeout"), 1, false},
		{"no group", unix.Ucred{Uid: 4711, Gid: 7}, -1, []string{"1234"}, nil, 0, false},
	} {
		users := &slowDirectory{answer: make(chan struct{}), found: tt.found, err: tt.err}
		c := newCred(tt.u, tt.group, users)
		if users.asked != 0 {
			t.Errorf("%s: the directory is asked before there is a request", tt.name)
		}
		close(users.answer)
		for range 2 {
			if got := c.trusted(); got != tt.trusted {
				t.Errorf("%s: trusted %t", tt.name, got)
			}
		}
		if users.asked != tt.asked {
			t.Errorf("%s: the directory is asked %d times", tt.name, users.asked)
		}
		want := "alice"
		if tt.err != nil {
			want = fmt.Sprint(tt.u.Uid)
		}
		if got := c.name(); got != want {
			t.Errorf("%s: called %s", tt.name, got)
		}
	}
}

// TestNoCred has a request of which the kernel has not said who sends it.
func TestNoCred(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/1.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := (&Daemon{}).identify(r); err != nil || id.trusted {
		t.Errorf("%+v, %v", id, err)
	}
}

// TestSlowDirectory holds that a user whom the directory takes its time over
// keeps nobody else waiting.
func TestSlowDirectory(t *testing.T) {
	users := &slowDirectory{answer: make(chan struct{}), found: []string{"1234"}}
	d := &Daemon{}
	trusted := func(c cred) bool {
		r, err := http.NewRequestWithContext(context.WithValue(t.Context(), credKey{}, c), http.MethodGet, "/1.0", nil)
		if err != nil {
			t.Error(err)
			return false
		}
		id, err := d.identify(r)
		return err == nil && id.trusted
	}
	slow := make(chan bool)
	go func() { slow <- trusted(newCred(unix.Ucred{Uid: 4711, Gid: 7}, 1234, users)) }()
	if !trusted(newCred(unix.Ucred{}, 1234, users)) {
		t.Error("root is not let in")
	}
	close(users.answer)
	if !<-slow {
		t.Error("the user is not let in")
	}
}
