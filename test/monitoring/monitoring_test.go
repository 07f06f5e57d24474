// Package monitoring tests what operators load into Prometheus and Grafana
// with Prometheus' own tools.
package monitoring

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"netctl/test/lab"
)

const (
	rulesDir  = "../../doc/prometheus"
	rulesFile = "netctl.rules.yml"
	testsFile = "netctl.rules.test.yml"
	dashboard = "../../doc/grafana/netctl.json"
	reference = "../../doc/reference/metrics.md"
)

func TestMain(m *testing.M) {
	code := m.Run()
	lab.RemoveBinaries()
	os.Exit(code)
}

// promtool runs Prometheus' tool in a directory.
func promtool(t *testing.T, dir, stdin string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("promtool %s: %v (make deps installs it)\n%s", strings.Join(args, " "), err, out)
	}
}

func TestRules(t *testing.T) {
	promtool(t, rulesDir, "", "check", "rules", rulesFile)
	promtool(t, rulesDir, "", "test", "rules", testsFile)
}

func TestEveryAlertIsTested(t *testing.T) {
	tests, err := os.ReadFile(filepath.Join(rulesDir, testsFile))
	if err != nil {
		t.Fatal(err)
	}
	alerts := 0
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		alerts++
		if !regexp.MustCompile(`\b` + r.Alert + `\b`).Match(tests) {
			t.Errorf("alert %s has no test", r.Alert)
		}
	}
	if alerts == 0 {
		t.Error("no alerts found")
	}
}

// A rule of Prometheus.
type rule struct{ Alert, Record, Expr string }

func rules(t *testing.T) []rule {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(rulesDir, rulesFile))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// A panel of Grafana.
type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr, RefID string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	raw, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Panels []panel }
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d.Panels
}

// Every question that the dashboard asks is one that Prometheus understands.
func TestDashboardAsksValidQuestions(t *testing.T) {
	variables := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")
	var file strings.Builder
	file.WriteString("groups:\n- name: dashboard\n  rules:\n")
	n := 0
	for _, p := range panels(t) {
		for _, q := range p.Targets {
			n++
			fmt.Fprintf(&file, "  - {record: 'panel:%d:%d', expr: %q}\n", p.ID, n, variables.Replace(q.Expr))
		}
	}
	if n == 0 {
		t.Fatal("no questions found")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dashboard.yml"), []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "", "check", "rules", "dashboard.yml")
}

func TestDashboardFits(t *testing.T) {
	const columns = 24
	taken := map[[2]int]string{}
	var ids []int
	for _, p := range panels(t) {
		if slices.Contains(ids, p.ID) {
			t.Errorf("panel %q: id %d is another panel's too", p.Title, p.ID)
		}
		ids = append(ids, p.ID)
		g := p.GridPos
		if p.Title == "" || p.Type != "row" && len(p.Targets) == 0 || g.W < 1 || g.H < 1 || g.X+g.W > columns {
			t.Errorf("panel %+v", p)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("panels %q and %q overlap", other, p.Title)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

var (
	metricName = regexp.MustCompile(`\bnetctl_\w+`)
	listed     = regexp.MustCompile("(?m)^\\| `(netctl_\\w+)` \\| (\\w+) ")
)

// documented returns the metrics of the reference, with the series that a
// histogram consists of.
func documented(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range listed.FindAllStringSubmatch(string(raw), -1) {
		if m[2] == "histogram" {
			names = append(names, m[1]+"_bucket", m[1]+"_sum", m[1]+"_count")
			continue
		}
		names = append(names, m[1])
	}
	if len(names) == 0 {
		t.Fatalf("%s lists no metrics", reference)
	}
	return names
}

func TestOnlyRealMetricsAreAskedFor(t *testing.T) {
	exprs := map[string]string{}
	for _, r := range rules(t) {
		exprs["rule "+r.Alert+r.Record] = r.Expr
	}
	for _, p := range panels(t) {
		for _, q := range p.Targets {
			exprs["panel "+p.Title+" "+q.RefID] = q.Expr
		}
	}
	known := documented(t)
	for where, expr := range exprs {
		for _, name := range metricName.FindAllString(expr, -1) {
			if !slices.Contains(known, name) {
				t.Errorf("%s: there is no metric %s", where, name)
			}
		}
	}
}

// What a real daemon serves is what Prometheus wants metrics to be like.
func TestScrape(t *testing.T) {
	l := lab.New(t, "curl")
	d := l.NS("host").Netctld()
	d.CLI("config", "set", "core.bgp_asn=65001", "core.bgp_address=127.0.0.1:179")
	d.CLI("network", "create", "br0", "ipv4.address=198.51.100.1/24", "ipv6.address=none",
		"bgp.peers.tor.address=127.0.0.2", "bgp.peers.tor.asn=65000")
	scrape := d.Get("/1.0/metrics") + "\n"
	promtool(t, ".", scrape, "check", "metrics")
	for _, name := range documented(t) {
		if !strings.Contains(scrape, "\n"+name) {
			t.Errorf("the daemon does not serve %s", name)
		}
	}
}
