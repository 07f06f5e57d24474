package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"netctl/test/lab"
)

func TestMain(m *testing.M) {
	code := m.Run()
	lab.RemoveBinaries()
	os.Exit(code)
}

// routers are the routers that everything about sessions is tested with.
var routers = []struct {
	name   string
	router lab.MakeRouter
	v6     bool
}{
	{"FRR over IPv4", frr, false},
	{"FRR over IPv6", frr, true},
	{"BIRD over IPv4", bird, false},
	{"BIRD over IPv6", bird, true},
}

const subnet4, subnet6 = "198.51.100.0/24", "2001:db8:100::/64"

// A client behind a bridge stays reachable through the router whatever
// happens to the daemon, and the router's kernel sees nothing of it.
func TestRestart(t *testing.T) {
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, r.router, r.v6)
			s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
			s.Client("web", "br0", []string{"198.51.100.10/24", "2001:db8:100::10/64"}, []string{"198.51.100.1", "2001:db8:100::1"})
			s.Established()
			s.WaitRoutes(1, subnet4, subnet6)
			s.Soon("client answers", func() error {
				_, err := s.Far.Try("ping", "-c1", "-W1", "198.51.100.10")
				return err
			})
			s.Soon("client answers over IPv6", func() error {
				_, err := s.Far.Try("ping", "-c1", "-W1", "2001:db8:100::10")
				return err
			})
			s.survives("SIGTERM", func() { s.Daemon.Restart(syscall.SIGTERM) })
			s.survives("kill -9", func() { s.Daemon.Restart(syscall.SIGKILL) })
			s.survives("upgrade", func() {
				s.Daemon.Stop(syscall.SIGTERM)
				time.Sleep(10 * time.Second) // the time that an upgrade takes
				s.Daemon.Start()
				s.Daemon.WaitReady()
			})
		})
	}
}

// survives runs what happens to the daemon while both families are pinged, and
// waits until the session is back. The router's kernel must see nothing of it.
func (s *site) survives(what string, happens func()) {
	s.Helper()
	since := time.Now()
	s.keeps(what, happens)
	s.Undisturbed(since, subnet4, subnet6)
}

// keeps is survives for a router that restarts itself: it writes its kernel
// routes anew, in place, and must not delete one.
func (s *site) keeps(what string, happens func()) {
	s.Helper()
	s.Logf("%s", what)
	dnsmasq := s.Host.Run("pgrep", "-f", s.Daemon.Dir+"/networks/br0/")
	since := time.Now()
	ping4, ping6 := s.Ping(s.Far, "198.51.100.10"), s.Ping(s.Far, "2001:db8:100::10")
	happens()
	s.back()
	for _, c := range s.Monitor.Deletes(since, nil) {
		s.Fatalf("the router lost a route: %s", c)
	}
	ping4.Check()
	ping6.Check()
	if now := s.Host.Run("pgrep", "-f", s.Daemon.Dir+"/networks/br0/"); now != dnsmasq {
		s.Fatalf("dnsmasq was restarted: pid %s before, %s after", strings.TrimSpace(dnsmasq), strings.TrimSpace(now))
	}
}

// back waits until the session is up and everything has been sent on it.
func (s *site) back() {
	s.Helper()
	s.Established()
	s.Daemon.WaitSent()
}

// What was removed while the daemon was down goes when it is back, and
// nothing else does.
func TestRemovedWhileDown(t *testing.T) {
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, r.router, r.v6)
			s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
			s.Network("br1", "198.51.101.1/24", "2001:db8:101::1/64")
			s.Established()
			s.WaitRoutes(1, subnet4, subnet6, "198.51.101.0/24", "2001:db8:101::/64")
			since := time.Now()
			s.Daemon.Stop(syscall.SIGTERM)
			s.Host.Run("sqlite3", s.Daemon.Dir+"/netctl.db", "DELETE FROM objects WHERE key LIKE '/network/br1%'")
			s.Daemon.Start()
			s.Daemon.WaitReady()
			s.WaitRoutes(0, "198.51.101.0/24", "2001:db8:101::/64")
			s.back()
			s.Undisturbed(since, subnet4, subnet6)
			s.Soon("bridge is gone", func() error {
				_, err := s.Host.Try("ip", "link", "show", "br1")
				return lab.Expect(err != nil, "br1 exists")
			})
		})
	}
}

// A full shutdown takes every route back before the session closes, and tells
// the router why.
func TestShutdown(t *testing.T) {
	for _, how := range []string{"command", "SIGPWR"} {
		for _, r := range routers {
			t.Run(how+" "+r.name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, r.router, r.v6)
				s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
				s.Established()
				s.WaitRoutes(1, subnet4, subnet6)
				start := time.Now()
				if how == "command" {
					s.Daemon.CLI("shutdown")
				} else {
					s.Daemon.Proc.Signal(syscall.SIGPWR)
				}
				if err := s.Daemon.Proc.Wait(10 * time.Second); err != nil {
					t.Fatal(err)
				}
				t.Logf("shut down in %s", time.Since(start))
				s.WaitRoutes(0, subnet4, subnet6)
				if log := s.Router.Log(); !strings.Contains(log, "netctl: full shutdown") {
					t.Errorf("the router was not told why:\n%s", log)
				}
				s.Host.Run("ip", "link", "show", "br0") // bridges stay
			})
		}
	}
}

// What interrupts a session without a restart of the daemon, or on both sides
// at once, is not noticed either.
func TestInterruptions(t *testing.T) {
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, r.router, r.v6)
			s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
			s.Client("web", "br0", []string{"198.51.100.10/24", "2001:db8:100::10/64"}, []string{"198.51.100.1", "2001:db8:100::1"})
			s.Established()
			s.WaitRoutes(1, subnet4, subnet6)
			s.reaches(s.Far, "198.51.100.10")
			s.reaches(s.Far, "2001:db8:100::10")
			s.survives("TCP reset", func() {
				s.Host.Run("ss", "-K", "dst", "["+s.RouterAddr()+"]", "dport", "=", "179")
				s.Host.Run("ss", "-K", "dst", "["+s.RouterAddr()+"]", "sport", "=", "179")
				s.Soon("reset", func() error {
					n := s.flaps()
					return lab.Expect(n == 1, "%d flaps", n)
				})
			})
			if !s.Router.KeepsRoutes() {
				return
			}
			s.keeps("router restarts", func() {
				s.Router.Kill()
				s.Router.Resume()
			})
			s.keeps("router and daemon restart", func() {
				s.Router.Kill()
				s.Daemon.Stop(syscall.SIGKILL)
				s.Router.Resume()
				s.Daemon.Start()
				s.Daemon.WaitReady()
			})
			s.keeps("router away while the daemon restarts", func() {
				s.Router.Kill()
				s.Daemon.Restart(syscall.SIGTERM)
				s.Router.Resume()
			})
		})
	}
}

// A daemon that does not come back is forgotten when bgp.restart_time is over,
// and not before.
func TestNeverBack(t *testing.T) {
	const restartTime = 4 * time.Second
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, r.router, r.v6)
			s.Daemon.CLI("config", "set", "bgp.restart_time=4")
			s.Network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
			s.Established()
			s.WaitRoutes(1, subnet4, subnet6)
			gone := time.Now()
			s.Daemon.Stop(syscall.SIGKILL)
			s.WaitRoutes(0, subnet4, subnet6)
			for _, c := range s.Monitor.Deletes(gone, nil) {
				if after := c.Time.Sub(gone); after < restartTime-time.Second {
					t.Errorf("gone after %s: %s", after, c)
				}
			}
			t.Logf("forgotten after %s", time.Since(gone).Round(100*time.Millisecond))
		})
	}
}
