package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// An FRR is a router that runs the zebra and bgpd of FRRouting.
type FRR struct {
	ns     *NS
	cfg    RouterConfig
	dir    string
	daemon map[string]*Proc
}

// frrDir is where the Debian package keeps its daemons.
const frrDir = "/usr/lib/frr/"

// NewFRR returns a router in ns that is not running yet.
func NewFRR(ns *NS, cfg RouterConfig) *FRR {
	ns.Lab.Helper()
	for _, f := range []string{"zebra", "bgpd"} {
		if _, err := os.Stat(frrDir + f); err != nil {
			ns.Lab.Fatalf("lab: %v; run make deps", err)
		}
	}
	return &FRR{ns: ns, cfg: cfg, dir: routerDir(ns, "frr", "frr"), daemon: map[string]*Proc{}}
}

// NS returns the namespace of the router.
func (r *FRR) NS() *NS { return r.ns }

// Protocol is the name of the routes of bgpd in the kernel.
func (r *FRR) Protocol() string { return "bgp" }

// Start runs zebra and bgpd.
func (r *FRR) Start() {
	r.ns.Lab.Helper()
	writeFile(r.ns.Lab, filepath.Join(r.dir, "zebra.conf"), "log file "+r.dir+"/zebra.log\n")
	r.run("zebra")
	r.Resume()
}

// Resume runs bgpd.
func (r *FRR) Resume() {
	l := r.ns.Lab
	l.Helper()
	writeFile(l, filepath.Join(r.dir, "bgpd.conf"), r.config())
	r.run("bgpd")
	l.Eventually(30*time.Second, "bgpd of "+r.ns.Name, func() error {
		_, err := r.VTYSH("show bgp summary")
		return err
	})
}

// run starts one daemon and waits for its control socket.
func (r *FRR) run(name string) {
	l := r.ns.Lab
	l.Helper()
	sock := filepath.Join(r.dir, name+".vty")
	_ = os.Remove(sock)
	if name == "zebra" {
		_ = os.Remove(filepath.Join(r.dir, "zserv.api"))
	}
	args := []string{
		"-i", filepath.Join(r.dir, name+".pid"), "-z", filepath.Join(r.dir, "zserv.api"),
		"--vty_socket", r.dir, "-P", "0", "-f", filepath.Join(r.dir, name+".conf"),
	}
	if name == "zebra" {
		// Let it replace an IPv6 route as it does an IPv4 one. Otherwise it
		// deletes the route and adds it again.
		args = append(args, "--v6-rr-semantics")
	}
	p := r.ns.Start(frrDir+name, args...)
	r.daemon[name] = p
	l.Eventually(30*time.Second, name+" of "+r.ns.Name, func() error {
		if p.Exited() {
			l.Fatalf("%s of %s ended:\n%s", name, r.ns.Name, p.Output())
		}
		_, err := os.Stat(sock)
		return err
	})
}

// KeepsRoutes is false.
func (r *FRR) KeepsRoutes() bool { return false }

// Stop ends the daemons with SIGTERM, bgpd first.
func (r *FRR) Stop() {
	r.ns.Lab.Helper()
	for _, name := range []string{"bgpd", "zebra"} {
		if p := r.daemon[name]; p != nil {
			p.Signal(syscall.SIGTERM)
			if err := p.Wait(30 * time.Second); err != nil && !p.Exited() {
				r.ns.Lab.Fatalf("stop %s: %v", name, err)
			}
			delete(r.daemon, name)
		}
	}
}

// Kill ends bgpd with SIGKILL, on which zebra takes its routes out of the
// kernel.
func (r *FRR) Kill() {
	r.ns.Lab.Helper()
	if p := r.daemon["bgpd"]; p != nil {
		p.Signal(syscall.SIGKILL)
		_ = p.Wait(30 * time.Second)
		delete(r.daemon, "bgpd")
	}
}

// VTYSH runs commands in the shell of the router.
func (r *FRR) VTYSH(commands ...string) (string, error) {
	args := []string{"--vty_socket", r.dir}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return r.ns.Try("vtysh", args...)
}

// Log returns the log of bgpd.
func (r *FRR) Log() string {
	b, _ := os.ReadFile(r.logFile())
	return string(b)
}

// EndOfRIBs counts the End-of-RIB markers in the log.
func (r *FRR) EndOfRIBs() int { return strings.Count(r.Log(), "rcvd End-of-RIB for ") }

func (r *FRR) logFile() string { return filepath.Join(r.dir, "bgpd.log") }

// config is the configuration of bgpd.
func (r *FRR) config() string {
	var b, v4, v6 strings.Builder
	p := func(w *strings.Builder, format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p(&b, "log file %s debugging", r.logFile())
	p(&b, "log timestamp precision 6")
	p(&b, "debug bgp zebra")
	p(&b, "debug bgp neighbor-events")
	p(&b, "router bgp %d", r.cfg.ASN)
	p(&b, " bgp router-id %s", r.cfg.ID)
	p(&b, " bgp log-neighbor-changes")
	p(&b, " no bgp ebgp-requires-policy")
	p(&b, " no bgp network import-check")
	p(&b, " no bgp default ipv4-unicast")
	for _, n := range r.cfg.Peers {
		line := func(format string, args ...any) { p(&b, " neighbor "+n.Addr.String()+" "+format, args...) }
		line("remote-as %d", n.ASN)
		line("timers connect 1")
		line("advertisement-interval 0")
		if n.Local.IsValid() {
			line("update-source %s", n.Local)
		}
		if n.Password != "" {
			line("password %s", n.Password)
		}
		if n.Passive {
			line("passive")
		}
		if n.Multihop > 0 {
			line("ebgp-multihop %d", n.Multihop)
		}
		if n.TTLSecurity > 0 {
			line("ttl-security hops %d", n.TTLSecurity)
		}
		if n.ExtendedNextHop {
			line("capability extended-nexthop")
		}
		if n.HoldTime != 0 {
			s := max(int(n.HoldTime/time.Second), 0)
			line("timers %d %d", s/3, s)
		}
		if n.Raw != "" {
			p(&b, "%s", n.Raw)
		}
		if !n.NoIPv4 {
			p(&v4, "  neighbor %s activate", n.Addr)
		}
		if !n.NoIPv6 {
			p(&v6, "  neighbor %s activate", n.Addr)
		}
	}
	p(&b, " address-family ipv4 unicast\n%s exit-address-family", v4.String())
	p(&b, " address-family ipv6 unicast\n%s exit-address-family", v6.String())
	p(&b, "exit")
	p(&b, "%s", r.cfg.Raw)
	return b.String()
}

// Table returns what bgpd has learned.
func (r *FRR) Table() (map[netip.Prefix]Route, error) {
	table := map[netip.Prefix]Route{}
	for _, family := range []string{"ipv4", "ipv6"} {
		out, err := r.VTYSH("show bgp " + family + " unicast json")
		if err != nil {
			return nil, err
		}
		var v struct {
			Routes map[netip.Prefix][]struct {
				BestPath bool   `json:"bestpath"`
				Path     string `json:"path"`
				NextHops []struct {
					IP netip.Addr `json:"ip"`
				} `json:"nexthops"`
			} `json:"routes"`
		}
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			return nil, fmt.Errorf("show bgp %s: %w", family, err)
		}
		for prefix, paths := range v.Routes {
			for i, p := range paths {
				if i > 0 && !p.BestPath {
					continue
				}
				route := Route{Best: p.BestPath, ASPath: p.Path}
				for _, nh := range p.NextHops {
					if !route.NextHop.IsValid() || route.NextHop.IsLinkLocalUnicast() {
						route.NextHop = nh.IP
					}
				}
				table[prefix] = route
			}
		}
	}
	return table, nil
}

// Session reports on the session with peer.
func (r *FRR) Session(peer netip.Addr) (Session, error) {
	out, err := r.VTYSH("show bgp neighbors " + peer.String() + " json")
	if err != nil {
		return Session{}, err
	}
	var v map[string]struct {
		State string `json:"bgpState"`
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return Session{}, fmt.Errorf("show bgp neighbors %s: %w", peer, err)
	}
	s := Session{State: v[peer.String()].State, Detail: out}
	s.Established = s.State == "Established"
	return s, nil
}

// parseLog recognises what bgpd tells zebra.
func (r *FRR) parseLog(line string) (Change, bool) {
	const stamp = "2006/01/02 15:04:05.000000"
	if len(line) < len(stamp) {
		return Change{}, false
	}
	_, rest, ok := strings.Cut(line, "Tx route ")
	if !ok {
		return Change{}, false
	}
	f := strings.Fields(rest) // add VRF 0 10.0.0.0/24 …, or delete VRF 0 10.0.0.0/24
	t, err := time.ParseInLocation(stamp, line[:len(stamp)], time.Local)
	if err != nil || len(f) < 4 {
		return Change{}, false
	}
	prefix, err := netip.ParsePrefix(f[3])
	if err != nil {
		return Change{}, false
	}
	c := Change{Time: t, Prefix: prefix, Where: InTable, Op: Add}
	if f[0] == "delete" {
		c.Op = Delete
	}
	return c, true
}

// chown gives a file to a user.
func chown(name, owner string) error {
	u, err := user.Lookup(owner)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	return os.Chown(name, uid, gid)
}
