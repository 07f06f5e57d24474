package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// A Router is a BGP router in a namespace. It installs what it hears in the
// kernel of that namespace, and is a graceful restart helper (RFC 4724
// section 4.2) with the defaults of its software.
type Router interface {
	// NS returns the namespace that it runs in.
	NS() *NS
	// Start runs it from scratch, and returns when it can be asked.
	Start()
	// Resume runs it after Kill. BIRD restarts gracefully then (RFC 4724 section
	// 4.1): routes that it had in the kernel stay until its peers have told it
	// again. FRR 8.4 could too, but drops what it has of all families when the
	// first one is complete, whoever its peers are.
	Resume()
	// KeepsRoutes reports whether kernel routes survive Kill and Resume.
	KeepsRoutes() bool
	// Stop ends it in an orderly way; its routes leave the kernel.
	Stop()
	// Kill ends it as a crash would, without a word to anybody.
	Kill()
	// Table returns what it has learned over BGP, of both families.
	Table() (map[netip.Prefix]Route, error)
	// Session reports on its session with a peer.
	Session(peer netip.Addr) (Session, error)
	// Log returns what it has logged so far.
	Log() string
	// EndOfRIBs counts the End-of-RIB markers (RFC 4724 section 2) that it has
	// received so far, of all families and sessions.
	EndOfRIBs() int
	// Protocol is what "ip route" calls the origin of its kernel routes.
	Protocol() string

	// parseLog recognises a change of its BGP table in a line of its log.
	parseLog(line string) (Change, bool)
	// logFile is where those lines go.
	logFile() string
}

// A RouterConfig configures a router.
type RouterConfig struct {
	ASN   uint32
	ID    netip.Addr
	Peers []RouterPeer
	Raw   string // lines in the router's own language, added at the end
}

// A RouterPeer configures one neighbour of a router.
type RouterPeer struct {
	Addr            netip.Addr
	ASN             uint32
	Local           netip.Addr    // our end of the session; zero leaves it to the kernel
	Password        string        // TCP MD5 (RFC 2385)
	Passive         bool          // wait for the neighbour to connect
	Multihop        int           // TTL; 0 for a neighbour on a link
	TTLSecurity     int           // hops allowed (RFC 5082); 0 for off
	ExtendedNextHop bool          // announce RFC 8950
	HoldTime        time.Duration // 0 for the default, less for none (RFC 4271 section 4.2)
	NoIPv4, NoIPv6  bool          // leave a family out
	Announce        bool          // tell the neighbour all routes (FRR always does)
	Raw             string        // lines added to the neighbour's block
}

// A Route is how a router reaches a prefix.
type Route struct {
	NextHop netip.Addr // the global one where a link-local comes with it
	Best    bool
	ASPath  string // numbers separated by spaces
}

// A Session is how a router sees its session with a peer.
type Session struct {
	Established bool
	State       string // as the router calls it
	Detail      string // what else the router says about the peer
}

// routerDir makes a directory for the files of a router, owned by user.
func routerDir(ns *NS, kind, user string) string {
	l := ns.Lab
	l.Helper()
	dir := filepath.Join(l.Dir, ns.Name+"-"+kind)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.Fatalf("lab: %v", err)
	}
	if err := chown(dir, user); err != nil {
		l.Fatalf("lab: %v", err)
	}
	return dir
}

// writeFile writes a file of a router.
func writeFile(l *Lab, name, content string) {
	l.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		l.Fatalf("lab: %v", err)
	}
}

// WaitSession waits until r has a session with peer.
func WaitSession(r Router, peer netip.Addr, timeout time.Duration) {
	l := r.NS().Lab
	l.Helper()
	l.Eventually(timeout, fmt.Sprintf("session of %s with %s", r.NS().Name, peer), func() error {
		s, err := r.Session(peer)
		if err == nil && !s.Established {
			err = fmt.Errorf("state %s", s.State)
		}
		return err
	})
}

// WaitTable waits until r knows exactly n prefixes below each of the given
// ones, in its BGP table.
func WaitTable(r Router, n int, timeout time.Duration, within ...netip.Prefix) {
	l := r.NS().Lab
	l.Helper()
	l.Eventually(timeout, fmt.Sprintf("table of %s", r.NS().Name), func() error {
		table, err := r.Table()
		if err != nil {
			return err
		}
		for _, w := range within {
			have := 0
			for p := range table {
				if w.Overlaps(p) {
					have++
				}
			}
			if have != n {
				return fmt.Errorf("%d prefixes below %s, want %d", have, w, n)
			}
		}
		return nil
	})
}

// WaitKernel waits until the kernel of r has exactly n routes of it below
// each of the given prefixes.
func WaitKernel(r Router, n int, timeout time.Duration, within ...netip.Prefix) {
	l := r.NS().Lab
	l.Helper()
	l.Eventually(timeout, fmt.Sprintf("kernel routes of %s", r.NS().Name), func() error {
		routes, err := r.NS().Routes(r.Protocol())
		if err != nil {
			return err
		}
		for _, w := range within {
			have := 0
			for p := range routes {
				if w.Overlaps(p) {
					have++
				}
			}
			if have != n {
				return fmt.Errorf("%d routes below %s, want %d", have, w, n)
			}
		}
		return nil
	})
}
