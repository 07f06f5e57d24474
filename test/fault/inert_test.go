package fault

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"netctl/network"
	"netctl/network/dhcp"
	"netctl/network/firewall"
	"netctl/network/link"
)

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
func checkDNSMasq(t *testing.T, d *draft, h *network.Host) {
	t.Helper()
	name := d.name
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
		known, names, err := dhcp.RenderHosts(*s)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		word := regexp.QuoteMeta(d.instanceName())
		inert(t, known, `[0-9a-f]{2}(:[0-9a-f]{2}){5}(,[0-9.]+)?(,\[[0-9a-f:.]+\])?(,(?i:`+word+`))?`)
		inert(t, names, `[0-9a-f.:]+ `+word+`(\.[\w.-]+ `+word+`)?`)
		for line := range strings.Lines(known) {
			text += "dhcp-host=" + line // as dnsmasq reads it from the file
		}
		conf := filepath.Join(dir, "conf")
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, nil, "dnsmasq", "--test", "--conf-file="+conf)
	}
}

// inert makes sure that every line of a text matches an expression.
func inert(t *testing.T, text, expression string) {
	t.Helper()
	allowed := regexp.MustCompile(`^` + expression + `\n$`)
	for line := range strings.Lines(text) {
		if !allowed.MatchString(line) {
			t.Errorf("dnsmasq is told of a host %q", line)
		}
	}
}

// told is everything that nft may be told, but for the tables themselves.
var told = regexp.MustCompile(`^nft add (` + strings.Join([]string{
	`element inet netctl [a-z0-9_]+ \{ ("NAME"( \. "NAME")?|ADDR( \. (ADDR|"NAME"))?( : [0-9a-f.:]+)?) \}`,
	`element inet netctl forward_[a-z0-9_]+ \{ [0-9a-f.:]+ \. (tcp|udp) \. \d+(-\d+)? : [0-9a-f.:]+( \. \d+)? \}`,
	`element inet netctl acl_(in|e)gress \{ "NAME" : jump net\.NAME\.(in|e)gress \}`,
	`element bridge netctl nic_[a-z0-9_]+ \{ "DEV"( \. ("DEV"|ADDR|0x[0-9a-f]+(-0x[0-9a-f]+)?))?( : ([0-9a-f]+:[0-9a-f]+|root))? \}`,
	`chain inet netctl CHAIN`,
	`rule inet netctl CHAIN (ct state established,related accept|jump CHAIN|((ip|ip6) [sd]addr \{ [0-9a-f.:/, -]+ \} )*` +
		`(meta nfproto ipv[46] )?(meta l4proto (tcp|udp|icmp|ipv6-icmp) )?(th [sd]port \{ [0-9, -]+ \} )*((icmp|icmpv6) (type|code) \d+ )*` +
		`(log prefix "LOG" )?(accept|drop|reject( with tcp reset)?))`,
}, "|") + `)$`)

// tellable returns told for a draft.
func (d *draft) tellable() *regexp.Regexp {
	text := strings.NewReplacer("CHAIN", `(net\.NAME|acl\.[\w-]+)\.(in|e)gress(\.(drop|reject|allow))?`,
		"LOG", `netctl (network NAME|acl [\w-]+) (in|e)gress (allow|drop|reject): `, "ADDR", `[0-9a-f.:/]+`).Replace(told.String())
	return regexp.MustCompile(strings.NewReplacer("NAME", regexp.QuoteMeta(d.name), "DEV", regexp.QuoteMeta(d.hostName())).Replace(text))
}

// checkNFT makes sure that nft is told what it should and nothing else, and that
// it takes that.
func checkNFT(t *testing.T, d *draft, h *network.Host) {
	t.Helper()
	name := d.name
	content, err := h.Firewall.Content()
	if err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	var b strings.Builder
	for _, l := range firewall.Layouts {
		layOut(&b, l)
	}
	allowed := d.tellable()
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

// command is every command that a plan shows, but for the names of foreign
// interfaces.
var command = regexp.MustCompile(`^(ip|tc|bridge|sysctl) [\w.:/=& -]+$`)

// checkLinks makes sure that nothing but the interfaces of the network and of
// the NIC, its namespace, ports and settings are touched.
func checkLinks(t *testing.T, d *draft, h *network.Host) {
	t.Helper()
	dev := d.hostName()
	ours := []string{d.name, dev, link.IFBName(dev), ""}
	for _, name := range []string{d.name, dev, d.peerName(), d.instanceName()} {
		if !filepath.IsLocal(name) || path.Base(name) != name {
			t.Errorf("%q is not the name of a file", name)
		}
	}
	for _, op := range link.Diff(link.State{}, h.Link) {
		if key := op.Sysctl.Key; key != "" && (path.Clean(key) != key || !strings.HasPrefix(key, "net/ipv4/") && !strings.HasPrefix(key, "net/ipv6/") || !regexp.MustCompile(`^[01]$`).MatchString(op.Sysctl.Value)) {
			t.Errorf("%q: sets %s to %q", d.name, key, op.Sysctl.Value)
		}
		if op.Space() && op.Dev != d.instanceName() || !op.Space() && !slices.Contains(ours, op.Dev) {
			t.Errorf("%q: touches %q", d.name, op.Dev)
		}
		if p := op.Peer; p != nil && (p.Name != d.peerName() || p.Netns.Name != d.instanceName()) {
			t.Errorf("%q: makes %q in %q", d.name, p.Name, p.Netns.Name)
		}
		if op.Verb == link.MarkPort || op.Verb == link.AddPort || op.Verb == link.SetPortUp {
			if p := op.Port; strings.ContainsAny(p, "/ \n\x00") || len(p) > 15 || p == "." || p == ".." {
				t.Errorf("%q: makes %q a port", d.name, p)
			}
		} else if !command.MatchString(op.String()) {
			t.Errorf("%q: plans %q", d.name, op)
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

// FuzzInert takes the name of a network and the lines key=value of a draft.
// Whatever the daemon accepts of them is inert where it ends up: in the
// configuration of dnsmasq, the commands of nft, the paths of files and of
// settings.
func FuzzInert(f *testing.F) {
	seedNetworks(f)
	seedOthers(f)
	f.Fuzz(func(t *testing.T, name, network, nic, forward, acl string) {
		t.Parallel()
		d := &draft{name, lines(network), lines(nic), lines(forward), lines(acl)}
		h, err := d.derive()
		if err != nil {
			return
		}
		checkLinks(t, d, h)
		checkDNSMasq(t, d, h)
		checkNFT(t, d, h)
	})
}
