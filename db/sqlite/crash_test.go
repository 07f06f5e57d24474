package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"netctl/db"
)

// The test binary runs itself again as one of these children.
const childEnv = "NETCTL_SQLITE_TEST_CHILD"

var children = map[string]func(path string) error{"write": writeForever, "fill": fillDisk}

func TestMain(m *testing.M) {
	if name, path, ok := strings.Cut(os.Getenv(childEnv), ":"); ok {
		if err := children[name](path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(t *testing.T, name, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childEnv+"="+name+":"+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// writeForever has eight writers put numbers, each printed once it is
// acknowledged, until it is killed.
func writeForever(path string) error {
	ctx := context.Background()
	s, err := Open(ctx, path, nil, discard)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				// Two objects in one update, to see that they stay together.
				_, err := s.Update(ctx, func(tx *db.Tx) error {
					return errors.Join(tx.Put(fmt.Sprintf("/w%d/%d", w, i), 1, i), tx.Put(fmt.Sprintf("/last/%d", w), 1, i))
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				fmt.Printf("%d %d\n", w, i)
			}
		})
	}
	wg.Wait()
	return errors.New("writers ended")
}

// TestKill kills a process in the middle of its writes, several times over on
// the same file, and finds every write that it has acknowledged.
func TestKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kill.db")
	for round := range 5 {
		acked := writeAndKill(t, path, 200+50*round)
		s := openAt(t, path, nil)
		o, err := s.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for w, n := range acked {
			for i := range n + 1 {
				if o.Get(fmt.Sprintf("/w%s/%d", w, i)) == nil {
					t.Fatalf("round %d: write %d of writer %s was acknowledged up to %d and is lost", round, i, w, n)
				}
			}
			last, err := strconv.Atoi(string(o.Get("/last/" + w).Value))
			if err != nil || last < n {
				t.Fatalf("round %d: the last write of writer %s is %d, acknowledged %d (%v)", round, w, last, n, err)
			}
			if o.Get(fmt.Sprintf("/w%s/%d", w, last)) == nil || o.Get(fmt.Sprintf("/w%s/%d", w, last+1)) != nil && round == 0 {
				t.Fatalf("round %d: half of write %d of writer %s", round, last, w)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// writeAndKill kills a writing process after it has acknowledged n writes and
// returns the last that each writer did.
func writeAndKill(t *testing.T, path string, n int) map[string]int {
	t.Helper()
	cmd := child(t, "write", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked := map[string]int{}
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); seen++ {
		if seen == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		// A line that was cut off by the kill acknowledges nothing; the
		// kernel writes such short ones whole.
		w, i, _ := strings.Cut(lines.Text(), " ")
		if acked[w], err = strconv.Atoi(i); err != nil {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process was not killed: %v", err)
	}
	if len(acked) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	return acked
}

// TestDiskFull fills a file system of its own.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	cmd := child(t, "fill", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // nothing of it reaches the host
	if os.Getuid() != 0 {                                                     // may mount in a user namespace of its own only
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
}

// fillDisk mounts a small file system at dir, writes until it is full, and
// finds the store working again once there is room.
func fillDisk(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	ctx := context.Background()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 256<<10), 0o600); err != nil {
		return err
	}
	s, err := Open(ctx, filepath.Join(dir, "full.db"), nil, discard)
	if err != nil {
		return err
	}
	write := func(i int) error {
		_, err := s.Update(ctx, func(tx *db.Tx) error { return tx.Put(fmt.Sprintf("/n/%d", i), 1, strings.Repeat("x", 4000)) })
		return err
	}
	n := 0
	for err == nil && n < 1000 {
		if err = write(n); err == nil {
			n++
		}
	}
	if !errors.Is(err, db.ErrUnavailable) || n == 0 {
		return fmt.Errorf("after %d writes: %w; want db.ErrUnavailable", n, err)
	}
	if o, err := s.Snapshot(ctx); err != nil || o.Len() != n || o.Revision() != db.Revision(n) {
		return fmt.Errorf("snapshot on a full disk: revision %d, %d objects, %w; want %d", o.Revision(), o.Len(), err, n)
	}
	if _, err := s.Watch(ctx, 0); err != nil {
		return fmt.Errorf("watch on a full disk: %w", err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if err := write(n); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	if s, err = Open(ctx, filepath.Join(dir, "full.db"), nil, discard); err != nil {
		return fmt.Errorf("reopen: %w", err)
	}
	if o, _ := s.Snapshot(ctx); o.Len() != n+1 {
		return fmt.Errorf("%d objects after a reopen, want %d", o.Len(), n+1)
	}
	return s.Close()
}
