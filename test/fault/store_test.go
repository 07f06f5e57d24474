package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"netctl/api"
	"netctl/client"
	"netctl/test/lab"
)

// A load writes numbered keys from several writers until its daemon is gone,
// and remembers what was acknowledged.
type load struct {
	mu    sync.Mutex
	acked []string
	done  sync.WaitGroup
}

// startLoad starts to write. The names of the keys begin with prefix.
func startLoad(d *lab.Netctld, prefix string) *load {
	l := &load{}
	for w := range 8 {
		l.done.Go(func() {
			c := client.Unix(d.Socket())
			defer c.Close()
			for i := 0; ; i++ {
				key := fmt.Sprintf("user.%s-%d-%d", prefix, w, i)
				if _, err := c.PatchServer(context.Background(), api.ServerPut{Config: map[string]string{key: "x"}}, ""); err != nil {
					return
				}
				l.mu.Lock()
				l.acked = append(l.acked, key)
				l.mu.Unlock()
			}
		})
	}
	return l
}

// so returns the keys that have been acknowledged so far.
func (l *load) so() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clip(l.acked)
}

// expectKeys fails the test when the daemon lacks one of keys.
func expectKeys(t *testing.T, d *lab.Netctld, keys []string) {
	t.Helper()
	c := client.Unix(d.Socket())
	defer c.Close()
	s, _, err := c.Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if s.Config[k] != "x" {
			t.Fatalf("%s was acknowledged and is lost; %d of %d keys are there", k, len(s.Config), len(keys))
		}
	}
}

// The daemon is killed in the middle of many writes, over and over. Nothing
// that it has acknowledged is lost; nor is it from a backup made meanwhile.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	d := lab.New(t, "curl").NS("host").Netctld()
	var all []string
	for round := range 5 {
		l := startLoad(d, fmt.Sprint("r", round))
		enough := func(n int) func() error {
			return func() error { return lab.Expect(len(l.so()) >= n, "%d writes", len(l.so())) }
		}
		d.NS.Lab.Eventually(30*time.Second, "load", enough(50))
		before := l.so()
		backup := filepath.Join(d.NS.Lab.Dir, fmt.Sprintf("backup%d.db", round))
		if out, err := d.TryNetctld("db", "backup", backup); err != nil {
			t.Fatalf("%s %v", out, err)
		}
		d.NS.Lab.Eventually(30*time.Second, "load", enough(len(before)+50))
		d.Stop(syscall.SIGKILL)
		l.done.Wait()
		all = append(all, l.so()...)
		d.Start()
		d.WaitReady()
		expectKeys(t, d, all)
		if out, err := d.TryNetctld("db", "check"); err != nil || !strings.Contains(out, "is sound") {
			t.Fatalf("%s %v", out, err)
		}
		spare := lab.New(t).NS("spare").Spare()
		if out, err := spare.TryNetctld("db", "restore", backup); err != nil {
			t.Fatalf("%s %v", out, err)
		}
		spare.Start()
		spare.WaitReady()
		expectKeys(t, spare, append(all[:len(all)-len(l.so()):len(all)-len(l.so())], before...))
		spare.Stop(syscall.SIGTERM)
	}
	t.Logf("%d writes acknowledged and kept", len(all))
	d.Settled()
}

// On a full disk writes are refused, with what to do about it; everything else
// goes on, and so do writes as soon as there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Daemon.Stop(syscall.SIGKILL)
	// The daemon moves, with what it has, to a small file system that only
	// it can see.
	backup := filepath.Join(s.Dir, "before.db")
	if out, err := s.Daemon.TryNetctld("db", "backup", backup); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	s.Daemon.Wrap = []string{
		"unshare", "--mount", "sh", "-ec",
		`mount -t tmpfs -o size=2m,mode=711 tmpfs "$1"; cp "$2" "$1/netctl.db"; shift 2; exec "$@"`, "sh", s.Daemon.Dir, backup,
	}
	since := time.Now()
	s.Daemon.Start()
	s.Daemon.WaitReady()
	s.back()
	c := client.Unix(s.Daemon.Socket())
	defer c.Close()
	write := func(value string) error {
		_, err := c.PatchServer(t.Context(), api.ServerPut{Config: map[string]string{"user.note": strings.Repeat(value, 10_000)}}, "")
		return err
	}
	if err := write("a"); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(filepath.Dir(s.Daemon.Socket()), "ballast")
	fillDisk(t, ballast)
	var refused error
	s.Soon("refusal", func() error { // the WAL may have had some room left
		refused = write(string('b' + rune(time.Now().UnixNano()%20)))
		return lab.Expect(refused != nil, "a write was accepted")
	})
	var e *api.Error
	if !errors.As(refused, &e) || e.Code != api.Unavailable || !strings.Contains(e.Message, "disk has room") {
		t.Errorf("a write on a full disk: %v", refused)
	}
	if _, err := s.Daemon.TryCLI("network", "create", "br1", "ipv4.address=198.51.101.1/24"); err == nil || !strings.Contains(err.Error(), "room") {
		t.Errorf("a network on a full disk: %v", err)
	}
	if _, _, err := c.Network(t.Context(), "br0"); err != nil {
		t.Errorf("reading on a full disk: %v", err)
	}
	s.Established()
	s.Undisturbed(since, subnet4, subnet6)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.within("a write with room again", func() {}, func() error { return write("z") })
	s.Network("br1", "198.51.101.1/24", "none")
	s.WaitRoutes(1, "198.51.101.0/24")
	s.Undisturbed(since, subnet4, subnet6)
}

// fillDisk writes a file until nothing more fits onto its file system.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 16; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			size /= 2
		}
	}
}

// A database that cannot be used is refused with what to do, and left as it
// is. The router keeps what it knows, until a backup is back in place.
func TestUnusableDatabase(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	backup := filepath.Join(s.Dir, "good.db")
	if out, err := s.Daemon.TryNetctld("db", "backup", backup); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	path := filepath.Join(s.Daemon.Dir, "netctl.db")
	since := time.Now()
	for _, tt := range []struct {
		name, says string
		damage     func() error
	}{
		{"newer", "written by a newer version", func() error {
			_, err := s.Host.Try("sqlite3", path, "PRAGMA user_version = 99")
			return err
		}},
		{"cut off", "damaged", func() error { return os.Truncate(path, 6000) }},
		{"empty", "damaged", func() error { return os.Truncate(path, 0) }},
		{"junk", "damaged", func() error { return os.WriteFile(path, []byte(strings.Repeat("junk", 5000)), 0o600) }},
		{"overwritten", "damaged", func() error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			size, err := f.Seek(0, io.SeekEnd)
			for at := int64(4096); at < size; at += 4096 {
				_, werr := f.WriteAt([]byte(strings.Repeat("\xa5", 512)), at)
				err = errors.Join(err, werr)
			}
			return err
		}},
	} {
		s.Daemon.Stop(syscall.SIGTERM)
		if err := tt.damage(); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(path)
		s.Daemon.Start()
		if err := s.Daemon.Proc.Wait(20 * time.Second); err == nil || !s.Daemon.Proc.Exited() {
			t.Fatalf("%s: the daemon did not refuse: %v", tt.name, err)
		}
		out := s.Daemon.Proc.Output()
		for _, want := range []string{tt.says, path, "netctld --dir " + s.Daemon.Dir + " db restore FILE"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: it does not say %q: %s", tt.name, want, out)
			}
		}
		if after, _ := os.ReadFile(path); string(after) != string(before) {
			t.Errorf("%s: the file was changed", tt.name)
		}
		if out, err := s.Daemon.TryNetctld("db", "check"); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: check: %s %v", tt.name, out, err)
		}
		if out, err := s.Daemon.TryNetctld("db", "restore", backup); err != nil || !strings.Contains(out, "kept as") {
			t.Fatalf("%s: restore: %s %v", tt.name, out, err)
		}
		s.Daemon.Start()
		s.Daemon.WaitReady()
		s.back()
	}
	s.Undisturbed(since, subnet4, subnet6)
}

// A restore below a running daemon changes what differs and nothing else.
func TestRestoreWhileRunning(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Network("br1", "198.51.101.1/24", "none")
	s.WaitRoutes(1, "198.51.101.0/24")
	backup := filepath.Join(s.Dir, "good.db")
	if out, err := s.Daemon.TryNetctld("db", "backup", backup); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	since := time.Now()
	s.Daemon.CLI("network", "delete", "br1")
	s.Network("br2", "198.51.102.1/24", "none")
	s.WaitRoutes(0, "198.51.101.0/24")
	s.WaitRoutes(1, "198.51.102.0/24")
	if out, err := s.Daemon.TryNetctld("db", "restore", backup); err != nil || !strings.Contains(out, "restored 2 networks") {
		t.Fatalf("%s %v", out, err)
	}
	s.WaitRoutes(1, "198.51.101.0/24")
	s.WaitRoutes(0, "198.51.102.0/24")
	s.Undisturbed(since, subnet4, subnet6)
	if n := s.peers()[lab.Router4].Flaps; n != 0 {
		t.Errorf("the session went down %d times", n)
	}
}
