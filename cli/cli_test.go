package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestSocket finds the daemon by flags and environment, in the right order.
func TestSocket(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		env  map[string]string
		want string
	}{
		"default":     {want: "/var/lib/netctl/unix.socket"},
		"NETCTL_DIR":  {env: map[string]string{"NETCTL_DIR": "/nowhere/d"}, want: "/nowhere/d/unix.socket"},
		"NETCTL_BOTH": {env: map[string]string{"NETCTL_DIR": "/nowhere/d", "NETCTL_SOCKET": "/nowhere/s"}, want: "/nowhere/s"},
		"--dir":       {[]string{"--dir", "/nowhere/f"}, map[string]string{"NETCTL_SOCKET": "/nowhere/s"}, "/nowhere/f/unix.socket"},
		"--socket":    {[]string{"--dir", "/nowhere/f", "--socket", "/nowhere/x"}, nil, "/nowhere/x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var errs bytes.Buffer
			sys := System{
				In: strings.NewReader(""), Out: &errs, Err: &errs, Now: time.Now,
				Getenv: func(n string) string { return test.env[n] },
			}
			status := Run(t.Context(), sys, append(test.args, "network", "list"))
			if status != exitUnreachable || !strings.Contains(errs.String(), " at "+test.want+": ") {
				t.Errorf("status %d, %s; want %s to be unreachable", status, &errs, test.want)
			}
		})
	}
}

// TestForbidden has a socket that may not be used.
func TestForbidden(t *testing.T) {
	t.Parallel()
	p := newPlay(t, &txtar.Archive{Files: []txtar.File{{Name: "GET /1.0/networks?recursion=1", Data: []byte("403 not for you")}}})
	have := p.run(t, "netctl network list")
	want := `$ netctl network list
! Error: not for you
! Hint: run it as root, or as a member of the group that netctld was given with --group
[exit 1]
`
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
	if hint := (&app{}).unreachableHint(&os.PathError{Err: os.ErrPermission}); !strings.Contains(hint, "--group") {
		t.Errorf("hint %q", hint)
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := WriteReference(&want); err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../doc/reference/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(have)); diff != "" {
		t.Errorf("run go generate ./cli (-want +have):\n%s", diff)
	}
}

func TestAssignments(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args string
		want map[string]string
		err  string
	}{
		{"a.b=c", map[string]string{"a.b": "c"}, ""},
		{"a.b c", map[string]string{"a.b": "c"}, ""},
		{"a.b c=d", map[string]string{"a.b": "c=d"}, ""},
		{"a.b=c=d e=", map[string]string{"a.b": "c=d", "e": ""}, ""},
		{"", map[string]string{}, ""},
		{"a.b", nil, `"a.b" is not of the form key=value`},
		{"a=b c", nil, `"c" is not of the form key=value`},
		{"a b c", nil, `"a" is not of the form key=value`},
		{"=b", nil, `"=b" has no key before the =`},
		{"a=1 a=2", nil, `key "a" is given twice`},
	} {
		have, err := assignments(strings.Fields(test.args))
		if diff := cmp.Diff(test.want, have); diff != "" {
			t.Errorf("%q (-want +have):\n%s", test.args, diff)
		}
		if (err != nil || test.err != "") && (err == nil || err.Error() != test.err) {
			t.Errorf("%q: error %v, want %s", test.args, err, test.err)
		}
	}
}

func TestComments(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"config: {}\n", "# mine\nconfig: {}\n", "", "\nx: y\n### inside\n"} {
		text := append(comments("Help that\nhas lines.", "", "a problem"), body...)
		if !bytes.HasPrefix(text, []byte("### Help that\n### has lines.\n###\n### a problem\n###\n")) {
			t.Fatalf("text %q", text)
		}
		if have := withoutComments(text); string(have) != body {
			t.Errorf("body %q became %q", body, have)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{
		0: "0B", 999: "999B", 1000: "1.00kB", 1234567: "1.23MB", 999999: "1.00MB", 5e12: "5.00TB", 18446744073709551615: "18.45EB",
	} {
		if have := size(n); have != want {
			t.Errorf("%d bytes are %s, want %s", n, have, want)
		}
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a := &app{System: System{Now: func() time.Time { return now }}}
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m1s", 2*time.Hour + 3*time.Minute: "2h3m", 50 * time.Hour: "2d2h",
	} {
		if have := a.ago(now.Add(-d)); have != want {
			t.Errorf("%v ago is %s, want %s", d, have, want)
		}
	}
}

func TestIsTerminal(t *testing.T) {
	t.Parallel()
	for _, path := range []string{os.DevNull, filepath.Join(t.TempDir(), "file")} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if isTerminal(f) {
			t.Errorf("%s is taken for a terminal", path)
		}
		f.Close()
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if !isTerminal(master) {
		t.Error("a terminal is not taken for one")
	}
}
