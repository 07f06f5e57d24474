package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"netctl/config"
	"netctl/network"
	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/network/link"
)

// member is who everything here is derived for.
const member = "none"

// derive returns what the host makes of a network with a name and settings, or
// an error when the daemon would refuse it.
func derive(name string, settings map[string]string) (*network.Host, error) {
	if err := config.ValidateName(name); err != nil {
		return nil, err
	}
	bridge, err := config.BridgeSchema.Decode(settings)
	if err := errors.Join(err, config.BridgeSchema.Validate(settings)); err != nil {
		return nil, err
	}
	server, err := config.ServerSchema.Decode(map[string]string{"core.bgp_asn": "65001", "core.bgp_address": "192.0.2.2:179"})
	if err != nil {
		return nil, err
	}
	objects := network.Objects{Networks: []*network.Network{{Name: name, Config: map[string]config.Bridge{member: bridge}}}}
	for _, acl := range slices.Sorted(slices.Values(bridge.ACLs)) {
		if err := config.ValidateACLName(acl); err != nil {
			return nil, err
		}
		objects.ACLs = append(objects.ACLs, network.NewACL(acl, config.ACL{Ingress: []config.ACLRule{{Action: "drop", Logged: true}}}))
	}
	return network.Derive(&network.Snapshot{
		Revision: 1, Servers: map[string]config.Server{member: server}, Objects: objects,
	}, nil, member)
}

// directive is every line that a configuration of dnsmasq may have, but for
// what raw.dnsmasq adds.
var directive = regexp.MustCompile(`^(` + strings.Join([]string{
	`bind-dynamic|no-hosts|dhcp-ignore-names|no-resolv|port=0|enable-ra|quiet-ra|quiet-dhcp6?|no-ping|dhcp-authoritative|dhcp-no-override|dhcp-rapid-commit`,
	`interface=NAME|except-interface=lo|(user|group)=WORD|(servers-file|pid-file|dhcp-leasefile|dhcp-hostsfile|addn-hosts)=/[\w./-]+`,
	`domain=DOMAIN|local=/DOMAIN/|interface-name=_gateway\.DOMAIN,NAME|dhcp-lease-max=\d+`,
	`dhcp-range=[0-9a-f.:,]+(ra-only,|ra-stateless,|ra-names,)*[0-9a-f.:,]*(\d+|infinite)|ra-param=NAME,[\d,]+`,
	`dhcp-option(-force)?=option6?:(router|mtu|domain-search|dns-server)(,[\w.:\[\]-]+)*`,
}, "|") + `)$`)

// checkDNSMasq makes sure that every line that dnsmasq is given says what it
// should and nothing else, and that dnsmasq reads it.
func checkDNSMasq(t *testing.T, name string, h *network.Host) {
	t.Helper()
	dir, err := os.MkdirTemp("", "inert") //nolint:usetesting // that of t has a # in its name
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.WriteFile(filepath.Join(dir, "servers"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, s := range h.DHCP {
		if !s.Offers() {
			continue
		}
		text, err := dhcp.Render(*s, dhcp.Files{
			Leases: filepath.Join(dir, "leases"), PID: filepath.Join(dir, "pid"), Servers: filepath.Join(dir, "servers"),
			Hosts: filepath.Join(dir, "hosts"), Names: filepath.Join(dir, "names"), User: "nobody", Group: "nogroup",
		})
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		allowed := regexp.MustCompile(strings.NewReplacer("NAME", regexp.QuoteMeta(name), "WORD", `[\w.-]+`, "DOMAIN", `[\w.-]+`).Replace(directive.String()))
		for line := range strings.Lines(text) {
			if !strings.HasSuffix(line, "\n") || !allowed.MatchString(strings.TrimSuffix(line, "\n")) {
				t.Errorf("%q: dnsmasq is told %q", name, line)
			}
		}
		conf := filepath.Join(dir, "conf")
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, nil, "dnsmasq", "--test", "--conf-file="+conf)
	}
}

// told is everything that nft may be told, but for the tables themselves.
var told = regexp.MustCompile(`^nft add (` + strings.Join([]string{
	`element inet netctl [a-z0-9_]+ \{ ("NAME"( \. "NAME")?|[0-9a-f.:/]+( \. ([0-9a-f.:/]+|"NAME"))?( : [0-9a-f.:]+)?) \}`,
	`element inet netctl acl_(in|e)gress \{ "NAME" : jump net\.NAME\.(in|e)gress \}`,
	`chain inet netctl CHAIN`,
	`rule inet netctl CHAIN (ct state established,related accept|jump CHAIN|(meta l4proto tcp )?(log prefix "LOG" )?(accept|drop|reject( with tcp reset)?))`,
}, "|") + `)$`)

// tellable returns told for a network.
func tellable(name string) *regexp.Regexp {
	text := strings.NewReplacer("CHAIN", `(net\.NAME|acl\.[\w-]+)\.(in|e)gress(\.(drop|reject|allow))?`,
		"LOG", `netctl (network NAME|acl [\w-]+) (in|e)gress (allow|drop|reject): `).Replace(told.String())
	return regexp.MustCompile(strings.ReplaceAll(text, "NAME", regexp.QuoteMeta(name)))
}

// checkNFT makes sure that nft is told what it should and nothing else, and that
// it takes that.
func checkNFT(t *testing.T, name string, h *network.Host) {
	t.Helper()
	content, err := h.Firewall.Content()
	if err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	var b strings.Builder
	for _, l := range firewall.Layouts {
		layOut(&b, l)
	}
	allowed := tellable(name)
	for _, op := range firewall.Diff(firewall.Content{}, content) {
		if !allowed.MatchString(op.String()) {
			t.Errorf("%q: nft is told %q", name, op)
		}
		fmt.Fprintln(&b, strings.TrimPrefix(op.String(), "nft "))
	}
	run(t, []byte(b.String()), "unshare", "--net", "nft", "--check", "--file", "-")
}

// layOut writes a table without content.
func layOut(b *strings.Builder, l *firewall.Layout) {
	fmt.Fprintf(b, "add table %s %s\n", l.Family, firewall.Table)
	for _, c := range l.Chains {
		hook := ""
		if c.Hook != "" {
			hook = fmt.Sprintf("{ type %s hook %s priority %d; policy accept; }", c.Type, c.Hook, c.Priority)
		}
		fmt.Fprintf(b, "add chain %s %s %s %s\n", l.Family, firewall.Table, c.Name, hook)
	}
	for _, s := range l.Sets {
		kind, typ, flags := "set", "type "+strings.Join(s.Key, " . "), ""
		if s.Value != "" {
			kind, typ = "map", typ+" : "+s.Value
		}
		if s.TypeOf != "" {
			typ = "typeof " + s.TypeOf
		}
		if s.Interval {
			flags = "flags interval;"
		}
		fmt.Fprintf(b, "add %s %s %s %s { %s; %s }\n", kind, l.Family, firewall.Table, s.Name, typ, flags)
	}
	for _, r := range l.Rules {
		fmt.Fprintf(b, "add rule %s %s %s %s\n", l.Family, firewall.Table, r.Chain, r.Text)
	}
}

// checkLinks makes sure that nothing but the network's own interface, its ports
// and its settings are touched.
func checkLinks(t *testing.T, name string, h *network.Host) {
	t.Helper()
	if !filepath.IsLocal(name) || path.Base(name) != name {
		t.Errorf("%q is not the name of a file", name)
	}
	for _, op := range link.Diff(link.State{}, h.Link) {
		if key := op.Sysctl.Key; key != "" && (path.Clean(key) != key || !strings.HasPrefix(key, "net/ipv4/") && !strings.HasPrefix(key, "net/ipv6/") || !regexp.MustCompile(`^[01]$`).MatchString(op.Sysctl.Value)) {
			t.Errorf("%q: sets %s to %q", name, key, op.Sysctl.Value)
		}
		if op.Dev != "" && op.Dev != name {
			t.Errorf("%q: touches %q", name, op.Dev)
		}
		if p := op.Port; p != "" && (strings.ContainsAny(p, "/ \n\x00") || len(p) > 15 || p == "." || p == "..") {
			t.Errorf("%q: makes %q a port", name, p)
		}
	}
}

// run runs a command that must succeed.
func run(t *testing.T, stdin []byte, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v: %s\n%s", name, strings.Join(args, " "), err, out, stdin)
	}
}

// FuzzInert takes a name and the lines key=value of a configuration. Whatever
// the daemon accepts of them is inert where it ends up: in the configuration
// of dnsmasq, the commands of nft, the paths of files and of settings.
func FuzzInert(f *testing.F) {
	files, err := filepath.Glob("../../config/testdata/bridge-*.yml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		m := map[string]string{}
		if err := yaml.Unmarshal(text, &m); err != nil {
			f.Fatal(err)
		}
		var b strings.Builder
		for key, value := range m {
			fmt.Fprintf(&b, "%s=%s\n", key, value)
		}
		f.Add("br0", b.String())
	}
	const some = "ipv4.address=10.0.0.1/24\nipv6.address=fd42::1/64\n"
	for _, h := range hostile {
		f.Add(h, some)
		for _, key := range []string{"dns.domain", "dns.search", "bridge.external_interfaces", "bridge.hwaddr", "ipv4.nat.address", "ipv4.routes", "bgp.peers." + h + ".password", h} {
			f.Add("br0", some+key+"="+h+"\n")
		}
	}
	for _, name := range []string{"br-0", "br.0", "br_0", "a1", "b.c.d", "veryverylongnam", "user", "table", "drop", "accept", "inet", "jump", "th", "0x"} {
		f.Add(name, some+"ipv4.nat=true\nipv6.nat=true\nipv4.routes=10.1.0.0/16\nipv6.dhcp.stateful=true\nipv4.routing=false\n")
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		t.Parallel()
		settings := map[string]string{}
		for line := range strings.Lines(text) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			settings[key] = value
		}
		maps.DeleteFunc(settings, func(k, v string) bool { return v == "" || k == "raw.dnsmasq" }) // which is meant to be raw
		h, err := derive(name, settings)
		if err != nil {
			return
		}
		checkLinks(t, name, h)
		checkDNSMasq(t, name, h)
		checkNFT(t, name, h)
	})
}
