package netctl_test

import (
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pure are the packages that describe something by values. They may be
// imported by those that decide (network) and those that do.
const pure = "network/link network/firewall network/dhcp ovn bgp health"

// allowed lists, for each package, the packages of this module that it may
// import. It is the table in doc/explanation/architecture.md, kept true by
// TestLayers. A package imports only rows above its own.
var allowed = []struct{ name, imports string }{
	{"api", ""},
	{"config", ""},
	{"network/link", ""},
	{"network/firewall", ""},
	{"network/dhcp", ""},
	{"ovn", ""},
	{"bgp", ""},
	{"health", ""},
	{"doc", ""},
	{"network", "config " + pure},
	{"network/link/netlink", "network/link"},
	{"network/firewall/nft", "network/firewall"},
	{"network/dhcp/dnsmasq", "network/dhcp"},
	{"ovn/nb", "ovn"},
	{"bgp/gobgp", "bgp"},
	{"bgp/frr", "bgp"},
	{"health/probe", "health"},
	{"reconcile", ""},
	{"db", "api config network"},
	{"db/dbtest", "api config network db"},
	{"db/sqlite", "api config network db"},
	{"db/etcd", "api config network db"},
	{"client", "api"},
	{"cluster", "api client db"},
	{"cli", "api client config"},
	{"ui", "api"},
	{"daemon", "api config network db db/sqlite db/etcd client cluster ui reconcile doc " + pure +
		" network/link/netlink network/firewall/nft network/dhcp/dnsmasq ovn/nb bgp/gobgp bgp/frr health/probe"},
	{"cmd/netctl", "api cli"},
	{"cmd/netctld", "api daemon"},
	{"packaging", "cli daemon"}, // the generator of the manual pages
}

// testOnly starts the packages that test the others: they may import all, and
// only tests import them.
const testOnly = "test"

func TestLayers(t *testing.T) {
	rows := map[string][]string{}
	for _, row := range allowed {
		imports := strings.Fields(row.imports)
		for _, name := range imports {
			if _, above := rows[name]; !above {
				t.Errorf("the row of %s allows %s, which is not above it", row.name, name)
			}
		}
		rows[row.name] = imports
	}
	for dir, files := range packages(t) {
		if dir == testOnly || strings.HasPrefix(dir, testOnly+"/") {
			continue
		}
		may, known := rows[dir]
		if !known {
			t.Errorf("package %s is not in the table", dir)
			continue
		}
		for file, imports := range files {
			for _, name := range imports {
				if !slices.Contains(may, name) {
					t.Errorf("%s: %s must not import %s", file, dir, name)
				}
			}
		}
	}
}

// packages returns what the files of every package import of this module, by
// folder and file, on whatever system they are built; tests apart. It reads
// the files itself: the test's cached result is good only while they do not
// change.
func packages(t *testing.T) map[string]map[string][]string {
	t.Helper()
	out := map[string]map[string][]string{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || isModule(file)):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		imports, err := importsOf(file)
		if err != nil || imports == nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(file))
		if out[dir] == nil {
			out[dir] = map[string][]string{}
		}
		out[dir][file] = imports
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no packages found")
	}
	return out
}

// isModule reports whether dir is the root of another module.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// importsOf returns the packages of this module that file imports; nil for a
// file that belongs to no package.
func importsOf(file string) ([]string, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return nil, err
	}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if expr, err := constraint.Parse(c.Text); err == nil && expr.String() == "ignore" {
				return nil, nil
			}
		}
	}
	imports := []string{}
	for _, i := range f.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return nil, err
		}
		if name, ours := strings.CutPrefix(name, "netctl/"); ours {
			imports = append(imports, name)
		}
	}
	return imports, nil
}

// heavy are modules that the command must not link: it runs on the machines
// of operators, whatever their system.
var heavy = []string{
	"github.com/osrg/gobgp", "github.com/mattn/go-sqlite3", "github.com/vishvananda/netlink",
	"github.com/vishvananda/netns", "google.golang.org/grpc", "sigs.k8s.io/knftables", "netctl/daemon",
	"github.com/getkin/kin-openapi",
}

func TestCommandIsPortable(t *testing.T) {
	packages(t) // so that a cached result is good only while no file changes
	for _, system := range []string{"linux", "darwin", "windows"} {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			run := func(args ...string) string {
				t.Helper()
				cmd := exec.Command("go", args...)
				cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0")
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
				}
				return string(out)
			}
			for dep := range strings.FieldsSeq(run("list", "-deps", "./cmd/netctl")) {
				if slices.ContainsFunc(heavy, func(h string) bool { return strings.HasPrefix(dep, h) }) {
					t.Errorf("links %s", dep)
				}
			}
			run("build", "-buildvcs=false", "-o", filepath.Join(t.TempDir(), "netctl"), "./cmd/netctl")
		})
	}
}
