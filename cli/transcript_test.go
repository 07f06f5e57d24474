package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"github.com/rogpeppe/go-internal/txtar"

	"netctl/api"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// TestTranscripts runs the commands in the comment of each testdata/*.txtar
// against a daemon with canned answers, and compares what they print, write
// and return with the section "transcript".
//
// A section "GET /1.0/networks" has the metadata of an answer, or a status and
// a text as in "404 no such network". Writes succeed with revision 7 unless
// they have a section. A section "editor" is the script that is the editor,
// with somebody at the terminal; "stdin" is what they type, or what is piped
// in; "env" holds variables.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := newPlay(t, archive)
			var have strings.Builder
			for line := range strings.Lines(string(archive.Comment)) {
				line = strings.TrimSpace(line)
				if line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				have.WriteString(p.run(t, line))
			}
			want := section(archive, "transcript")
			if *update {
				*want = []byte(have.String())
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(*want), have.String()); diff != "" {
				t.Errorf("transcript (-want +have); go test ./cli -update writes it anew:\n%s", diff)
			}
		})
	}
}

// section returns the data of a section, which it adds when it is not there.
func section(a *txtar.Archive, name string) *[]byte {
	i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == name })
	if i < 0 {
		a.Files = append(a.Files, txtar.File{Name: name})
		i = len(a.Files) - 1
	}
	return &a.Files[i].Data
}

// A play is a canned daemon and what is around the command.
type play struct {
	sections map[string]string
	socket   string
	env      map[string]string

	mu     sync.Mutex
	writes strings.Builder // requests that change something
}

func newPlay(t *testing.T, a *txtar.Archive) *play {
	t.Helper()
	dir := t.TempDir()
	p := &play{sections: map[string]string{}, socket: filepath.Join(dir, socketName), env: map[string]string{}}
	for _, f := range a.Files {
		p.sections[f.Name] = string(f.Data)
	}
	for line := range strings.Lines(p.sections["env"]) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		p.env[name] = value
	}
	if script, ok := p.sections["editor"]; ok {
		p.env["EDITOR"] = filepath.Join(dir, "editor")
		// What is forked meanwhile would have the file open for writing, and it
		// could not be executed for that long.
		syscall.ForkLock.RLock()
		err := os.WriteFile(p.env["EDITOR"], []byte("#!/bin/sh\ncd "+dir+"\n"+script), 0o700)
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(p.answer)}}
	s.Start()
	t.Cleanup(s.Close)
	return p
}

// answer is the canned daemon.
func (p *play) answer(w http.ResponseWriter, r *http.Request) {
	request := r.Method + " " + r.URL.RequestURI()
	body, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodGet {
		line := "> " + request
		if tag := r.Header.Get("If-Match"); tag != "" {
			line += " If-Match: " + tag
		}
		p.mu.Lock()
		fmt.Fprintf(&p.writes, "%s %s\n", line, body)
		p.mu.Unlock()
	}
	canned, ok := p.sections[request]
	canned = strings.TrimSpace(canned)
	if strings.HasPrefix(r.URL.Path, "/1.0/events") {
		serveEvents(w, r, canned)
		return
	}
	status, text := http.StatusOK, ""
	switch code, rest, _ := strings.Cut(canned, " "); {
	case len(code) == 3 && code >= "400":
		status, _ = strconv.Atoi(code)
		text = rest
	case ok:
	case r.Method != http.MethodGet:
		canned = "null"
	case r.URL.Path == "/1.0/status":
		canned = `{"applied":7}`
	default:
		status, text = http.StatusNotFound, "nothing is canned for "+request
	}
	env := api.Envelope{Type: api.TypeSync, StatusCode: status, Metadata: json.RawMessage(canned)}
	if text != "" {
		env = api.Envelope{Type: api.TypeError, ErrorCode: status, Error: text}
	}
	w.Header().Set("ETag", "tag-1")
	w.Header().Set(api.HeaderRevision, "7")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(env)
}

// serveEvents sends each line as an event and ends the stream.
func serveEvents(w http.ResponseWriter, r *http.Request, lines string) {
	conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for line := range strings.Lines(lines) {
		_ = conn.WriteMessage(websocket.TextMessage, []byte(line))
	}
	_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""))
}

// kept finds the texts that an editor leaves behind.
var kept = regexp.MustCompile(regexp.QuoteMeta(os.TempDir()) + `/netctl-[0-9]+\.yaml`)

// run runs one command and returns what happened.
func (p *play) run(t *testing.T, line string) string {
	t.Helper()
	var out, errs bytes.Buffer
	words := split(line)
	_, terminal := p.sections["editor"]
	if p.env["TERMINAL"] == "no" {
		terminal = false
	}
	sys := System{
		In: strings.NewReader(p.sections["stdin"]), Out: &out, Err: &errs, Terminal: terminal,
		Getenv: func(name string) string {
			if name == "NETCTL_SOCKET" {
				return p.socket
			}
			return p.env[name]
		},
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	}
	status := Run(t.Context(), sys, words[1:])
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "$ %s\n%s", line, out.String())
	for l := range strings.Lines(strings.TrimSuffix(errs.String(), "\n")) {
		b.WriteString("! " + l)
	}
	if errs.Len() > 0 {
		b.WriteString("\n")
	}
	b.WriteString(p.writes.String())
	p.writes.Reset()
	if status != 0 {
		fmt.Fprintf(&b, "[exit %d]\n", status)
	}
	text := b.String()
	for _, path := range slices.Compact(kept.FindAllString(text, -1)) {
		if _, err := os.Stat(path); err == nil {
			text = strings.ReplaceAll(text, path, "$KEPT")
			os.Remove(path)
		} else {
			text = strings.ReplaceAll(text, path, "$GONE")
		}
	}
	if editor := p.env["EDITOR"]; editor != "" {
		text = strings.ReplaceAll(text, editor, "$EDITOR")
	}
	return strings.ReplaceAll(text, p.socket, "$SOCKET")
}

// split splits a line into words as a shell does, as far as single quotes go.
func split(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}

func TestSplit(t *testing.T) {
	t.Parallel()
	want := []string{"netctl", "x", "a b", "c"}
	if diff := cmp.Diff(want, split("netctl x 'a b' c")); diff != "" {
		t.Error(diff)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := newPlay(t, &txtar.Archive{})
	var errs bytes.Buffer
	sys := System{In: strings.NewReader(""), Out: io.Discard, Err: &errs, Getenv: func(string) string { return p.socket }, Now: time.Now}
	if status := Run(ctx, sys, []string{"network", "list"}); status != exitFailed || errs.String() != "Error: interrupted\n" {
		t.Errorf("status %d, %q", status, &errs)
	}
	if status := Run(ctx, sys, []string{"monitor"}); status != exitOK {
		t.Errorf("monitor: status %d, %q", status, &errs)
	}
}
