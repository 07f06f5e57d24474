package lab

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A BIRD is a router that runs BIRD 2.
type BIRD struct {
	ns   *NS
	cfg  RouterConfig
	dir  string
	proc *Proc
}

// NewBIRD returns a router in ns that is not running yet.
func NewBIRD(ns *NS, cfg RouterConfig) *BIRD {
	ns.Lab.Helper()
	if _, err := ns.Try("bird", "--version"); err != nil {
		ns.Lab.Fatalf("lab: %v; run make deps", err)
	}
	return &BIRD{ns: ns, cfg: cfg, dir: routerDir(ns, "bird", "root")}
}

// NS returns the namespace of the router.
func (r *BIRD) NS() *NS { return r.ns }

// Protocol is the name of the routes of BIRD in the kernel.
func (r *BIRD) Protocol() string { return "bird" }

// Start runs the daemon.
func (r *BIRD) Start() { r.start() }

// Resume runs the daemon after Kill, in graceful restart recovery.
func (r *BIRD) Resume() { r.start("-R") }

func (r *BIRD) start(args ...string) {
	l := r.ns.Lab
	l.Helper()
	writeFile(l, filepath.Join(r.dir, "bird.conf"), r.config())
	_ = os.Remove(r.socket())
	r.proc = r.ns.Start("bird", append([]string{
		"-f", "-c", filepath.Join(r.dir, "bird.conf"), "-s", r.socket(), "-P", filepath.Join(r.dir, "bird.pid"),
	}, args...)...)
	l.Eventually(30*time.Second, "bird of "+r.ns.Name, func() error {
		if r.proc.Exited() {
			l.Fatalf("bird of %s ended:\n%s", r.ns.Name, r.proc.Output())
		}
		_, err := r.BIRDC("show status")
		return err
	})
}

// KeepsRoutes is true: the kernel keeps what nobody removes.
func (r *BIRD) KeepsRoutes() bool { return true }

// Stop ends the daemon with SIGTERM.
func (r *BIRD) Stop() { r.end(syscall.SIGTERM) }

// Kill ends the daemon with SIGKILL.
func (r *BIRD) Kill() { r.end(syscall.SIGKILL) }

func (r *BIRD) end(s syscall.Signal) {
	r.ns.Lab.Helper()
	if r.proc == nil {
		return
	}
	r.proc.Signal(s)
	if err := r.proc.Wait(30 * time.Second); err != nil && !r.proc.Exited() {
		r.ns.Lab.Fatalf("stop bird: %v", err)
	}
	r.proc = nil
}

// BIRDC runs one command in the shell of the router.
func (r *BIRD) BIRDC(args ...string) (string, error) {
	return r.ns.Try("birdc", append([]string{"-s", r.socket()}, args...)...)
}

// Log returns the log of the daemon.
func (r *BIRD) Log() string {
	b, _ := os.ReadFile(r.logFile())
	return string(b)
}

// EndOfRIBs counts the End-of-RIB markers in the log.
func (r *BIRD) EndOfRIBs() int { return strings.Count(r.Log(), "Got END-OF-RIB") }

func (r *BIRD) logFile() string { return filepath.Join(r.dir, "bird.log") }
func (r *BIRD) socket() string  { return filepath.Join(r.dir, "bird.ctl") }

// config is the configuration of the daemon. The neighbours are called p0, p1
// and so on.
func (r *BIRD) config() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`log "%s" all;`, r.logFile())
	p("router id %s;", r.cfg.ID)
	p("timeformat log iso long us;")
	p("debug protocols { states, routes, packets };")
	p("protocol device { scan time 1; }")
	p("protocol kernel k4 { ipv4 { import none; export where source = RTS_BGP; }; graceful restart on; }")
	p("protocol kernel k6 { ipv6 { import none; export where source = RTS_BGP; }; graceful restart on; }")
	for i, n := range r.cfg.Peers {
		p("protocol bgp p%d {", i)
		if n.Local.IsValid() {
			p("  local %s as %d;", n.Local, r.cfg.ASN)
		} else {
			p("  local as %d;", r.cfg.ASN)
		}
		p("  neighbor %s as %d;", n.Addr, n.ASN)
		p("  connect delay time 1; connect retry time 2; error wait time 1, 3; error forget time 10;")
		if n.Password != "" {
			p("  password %q;", n.Password)
		}
		if n.Passive {
			p("  passive on;")
		}
		if n.Multihop > 0 {
			p("  multihop %d;", n.Multihop)
		}
		if n.TTLSecurity > 0 {
			p("  ttl security on;")
		}
		if n.HoldTime != 0 {
			p("  hold time %d;", max(int(n.HoldTime/time.Second), 0))
		}
		p("  graceful restart on;")
		channel := "import all; export none;"
		if n.Announce {
			channel = "import all; export all; next hop self;"
		}
		if !n.NoIPv4 {
			extended := ""
			if n.ExtendedNextHop {
				extended = " extended next hop on;"
			}
			p("  ipv4 { %s%s };", channel, extended)
		}
		if !n.NoIPv6 {
			p("  ipv6 { %s };", channel)
		}
		if n.Raw != "" {
			p("%s", n.Raw)
		}
		p("}")
	}
	p("%s", r.cfg.Raw)
	return b.String()
}

// Table returns what the daemon has learned over BGP.
func (r *BIRD) Table() (map[netip.Prefix]Route, error) {
	out, err := r.BIRDC("show route all where source = RTS_BGP")
	if err != nil {
		return nil, err
	}
	table := map[netip.Prefix]Route{}
	var prefix netip.Prefix
	var route Route
	flush := func() {
		if old, ok := table[prefix]; prefix.IsValid() && (!ok || !old.Best) {
			table[prefix] = route
		}
	}
	for sc := bufio.NewScanner(strings.NewReader(out)); sc.Scan(); {
		line := sc.Text()
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case strings.Contains(line, " [") && !strings.HasPrefix(line, "\t"):
			flush()
			first, _, _ := strings.Cut(line, " ")
			if p, err := netip.ParsePrefix(first); err == nil {
				prefix = p
			}
			route = Route{Best: strings.Contains(line, "] * (")}
		case name == "BGP.next_hop":
			first, _, _ := strings.Cut(value, " ")
			route.NextHop, _ = netip.ParseAddr(first)
		case name == "BGP.as_path":
			route.ASPath = value
		}
	}
	flush()
	return table, nil
}

// Session reports on the session with peer.
func (r *BIRD) Session(peer netip.Addr) (Session, error) {
	for i, n := range r.cfg.Peers {
		if n.Addr != peer {
			continue
		}
		out, err := r.BIRDC("show", "protocols", "all", fmt.Sprintf("p%d", i))
		if err != nil {
			return Session{}, err
		}
		s := Session{Detail: out}
		for sc := bufio.NewScanner(strings.NewReader(out)); sc.Scan(); {
			if name, value, ok := strings.Cut(strings.TrimSpace(sc.Text()), ":"); ok && name == "BGP state" {
				s.State = strings.TrimSpace(value)
			}
		}
		s.Established = s.State == "Established"
		return s, nil
	}
	return Session{}, fmt.Errorf("%s has no neighbor %s", r.ns.Name, peer)
}

// parseLog recognises what a BGP protocol does to the tables.
func (r *BIRD) parseLog(line string) (Change, bool) {
	const stamp = "2006-01-02 15:04:05.000000"
	// 2006-01-02 15:04:05.000000 <TRACE> p0.ipv4 > added [best] 10.0.0.0/24 0L 3G unicast
	f := strings.Fields(line)
	if len(f) < 7 || f[4] != ">" || !strings.HasPrefix(f[3], "p") {
		return Change{}, false
	}
	t, err := time.ParseInLocation(stamp, f[0]+" "+f[1], time.Local)
	if err != nil {
		return Change{}, false
	}
	c := Change{Time: t, Where: InTable}
	switch f[5] {
	case "added":
		c.Op = Add
	case "updated":
		c.Op = Replace
	case "removed":
		c.Op = Delete
	default:
		return Change{}, false
	}
	for _, w := range f[6:] {
		if p, err := netip.ParsePrefix(w); err == nil {
			c.Prefix = p
			return c, true
		}
	}
	return Change{}, false
}
