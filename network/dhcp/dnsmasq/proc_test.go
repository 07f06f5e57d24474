package dnsmasq

import (
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// TestMain makes the test binary a process that does nothing when it is called
// dnsmasq.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "dnsmasq" {
		_, _ = os.Stdout.WriteString("!")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestImpostor starts processes with the arguments of one of ours. Users of the
// host can do that too, to have the real one stopped, or theirs in its place.
func TestImpostor(t *testing.T) {
	const server, stranger = 54321, 54322
	s := &Servers{dir: t.TempDir(), uids: []string{"0", strconv.Itoa(server)}}
	conf := filepath.Join(s.dir, "networks", "br0", "dnsmasq-1.conf")
	if err := os.MkdirAll(filepath.Dir(conf), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte("user=dnsmasq\nuser=games\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	games, err := user.Lookup("games")
	if err != nil {
		t.Fatal(err)
	}
	named, err := strconv.Atoi(games.Uid)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		uid  uint32
		ours bool
	}{{0, true}, {server, true}, {uint32(named), true}, {stranger, false}} {
		exe, err := os.Open("/proc/self/exe") // others cannot enter its directory
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3")
		cmd.Args = []string{"dnsmasq", "--conf-file=" + conf}
		cmd.ExtraFiles = []*os.File{exe}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tt.uid, Gid: tt.uid}}
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if got, ok := confOf(cmd.Process.Pid); !ok || got != conf {
			t.Errorf("user %d: %q, %t", tt.uid, got, ok)
		}
		if got := s.trusts(cmd.Process.Pid, conf); got != tt.ours {
			t.Errorf("user %d: ours: %t", tt.uid, got)
		}
		found, err := s.running()
		if err != nil || len(found) > 0 != tt.ours {
			t.Errorf("user %d: found %d, %v", tt.uid, len(found), err)
		}
		for _, p := range found {
			p.close()
		}
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		_ = exe.Close()
	}
}
