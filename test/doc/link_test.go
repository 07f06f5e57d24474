package doc

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)

// links returns the files of the project that a document links to, as paths
// from the root.
func links(t *testing.T, name string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range link.FindAllStringSubmatch(string(raw), -1) {
		if !strings.Contains(m[1], "://") {
			out = append(out, filepath.Join(filepath.Dir(name), m[1]))
		}
	}
	return out
}

// documents returns the pages of the documentation.
func documents(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir("../../doc", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			out = append(out, strings.TrimPrefix(path, "../../"))
		}
		return err
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("%d documents, %v", len(out), err)
	}
	return out
}

func TestLinksLeadSomewhere(t *testing.T) {
	for _, name := range append(documents(t), "README.md") {
		for _, target := range links(t, name) {
			if _, err := os.Stat(filepath.Join("../..", target)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Every page can be found from the front page.
func TestReadmeListsEveryPage(t *testing.T) {
	listed := links(t, "README.md")
	for _, name := range documents(t) {
		if !slices.Contains(listed, name) && !slices.Contains(listed, filepath.Dir(name)) {
			t.Errorf("the README does not list %s", name)
		}
	}
}
