package dnsmasq

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A scene is where a file is followed.
type scene struct {
	*testing.T

	dir, path string
}

func (s scene) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// put writes a file.
func (s scene) put(path, text string) {
	s.Helper()
	s.check(os.MkdirAll(filepath.Dir(path), 0o755))
	s.check(os.WriteFile(path, []byte(text), 0o600))
}

// replace puts another file in the place of one.
func (s scene) replace(path, text string) {
	s.Helper()
	s.put(path+".new", text)
	s.check(os.Rename(path+".new", path))
}

// link puts a symbolic link in the place of what is at path.
func (s scene) link(to, path string) {
	s.Helper()
	s.check(os.Symlink(to, path+".new"))
	s.check(os.Rename(path+".new", path))
}

// follows changes the file twice and wants each noticed.
func (s scene) follows(change func(scene, string)) {
	s.Helper()
	f, err := follow(s.path)
	s.check(err)
	ctx, cancel := context.WithCancel(s.Context())
	seen, ended := make(chan string, 100), make(chan error, 1)
	go func() {
		ended <- f.run(ctx, func() {
			text, _ := os.ReadFile(s.path)
			seen <- string(text)
		})
	}()
	for _, want := range []string{"first", "second"} {
		change(s, want)
		deadline := time.After(10 * time.Second)
		for got := ""; got != want; { // others are on the way there
			select {
			case got = <-seen:
			case <-deadline:
				s.Errorf("%s: not noticed", want)
				got = want
			}
		}
	}
	cancel()
	s.check(<-ended)
	s.check(f.close())
}

// TestFollow changes a file in the ways in which hosts change their
// resolv.conf, each twice: after the first it is followed still.
func TestFollow(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		before func(s scene)
		change func(s scene, text string)
	}{
		"written": {
			func(s scene) { s.put(s.path, "old") },
			func(s scene, text string) { s.put(s.path, text) },
		},
		"replaced": {
			func(s scene) { s.put(s.path, "old") },
			func(s scene, text string) { s.replace(s.path, text) },
		},
		"made": {
			func(scene) {},
			func(s scene, text string) { s.put(s.path, text) },
		},
		"gone and back": {
			func(s scene) { s.put(s.path, "old") },
			func(s scene, text string) {
				s.check(os.Remove(s.path))
				s.put(s.path, text)
			},
		},
		"written behind links": {
			func(s scene) {
				s.put(s.dir+"/run/resolve/stub.conf", "old")
				s.link("resolve/stub.conf", s.dir+"/run/resolv.conf")
				s.link("../run/resolv.conf", s.path)
			},
			func(s scene, text string) { s.put(s.dir+"/run/resolve/stub.conf", text) },
		},
		"replaced behind links": {
			func(s scene) {
				s.put(s.dir+"/run/resolve/stub.conf", "old")
				s.link("resolve/stub.conf", s.dir+"/run/resolv.conf")
				s.link("../run/resolv.conf", s.path)
			},
			func(s scene, text string) { s.replace(s.dir+"/run/resolve/stub.conf", text) },
		},
		"another link": {
			func(s scene) {
				s.put(s.dir+"/run/a/conf", "old")
				s.link(s.dir+"/run/a/conf", s.path)
			},
			func(s scene, text string) {
				s.put(s.dir+"/run/"+text+"/conf", text)
				s.link(s.dir+"/run/"+text+"/conf", s.path)
			},
		},
		"behind another link": {
			func(s scene) {
				s.put(s.dir+"/run/a/conf", "old")
				s.put(s.dir+"/run/b/conf", "old")
				s.link(s.dir+"/run/a/conf", s.path)
			},
			func(s scene, text string) {
				if text == "first" {
					s.link(s.dir+"/run/b/conf", s.path)
				}
				s.put(s.dir+"/run/b/conf", text)
			},
		},
		"made behind a link": {
			func(s scene) {
				s.put(s.dir+"/run/other", "")
				s.link("../run/resolv.conf", s.path)
			},
			func(s scene, text string) { s.put(s.dir+"/run/resolv.conf", text) },
		},
		"a link to itself": {
			func(s scene) { s.link("resolv.conf", s.path) },
			func(s scene, text string) { s.replace(s.path, text) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := scene{t, dir, filepath.Join(dir, "etc", "resolv.conf")}
			s.check(os.Mkdir(filepath.Dir(s.path), 0o755))
			tt.before(s)
			s.follows(tt.change)
		})
	}
}
