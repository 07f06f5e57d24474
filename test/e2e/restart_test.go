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
	router newRouter
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
			s.network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
			s.client("web", "br0", []string{"198.51.100.10/24", "2001:db8:100::10/64"}, []string{"198.51.100.1", "2001:db8:100::1"})
			s.established()
			s.waitRoutes(1, subnet4, subnet6)
			s.eventually("client answers", func() error {
				_, err := s.far.Try("ping", "-c1", "-W1", "198.51.100.10")
				return err
			})
			s.eventually("client answers over IPv6", func() error {
				_, err := s.far.Try("ping", "-c1", "-W1", "2001:db8:100::10")
				return err
			})
			s.survives("SIGTERM", func() { s.daemon.Restart(syscall.SIGTERM) })
			s.survives("kill -9", func() { s.daemon.Restart(syscall.SIGKILL) })
			s.survives("upgrade", func() {
				s.daemon.Stop(syscall.SIGTERM)
				time.Sleep(10 * time.Second) // the time that an upgrade takes
				s.daemon.Start()
				s.daemon.WaitReady()
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
	s.undisturbed(since, subnet4, subnet6)
}

// keeps is survives for a router that restarts itself: it writes its kernel
// routes anew, in place, and must not delete one.
func (s *site) keeps(what string, happens func()) {
	s.Helper()
	s.Logf("%s", what)
	dnsmasq := s.host.Run("pgrep", "-f", s.daemon.Dir+"/networks/br0/")
	since := time.Now()
	ping4, ping6 := s.ping(s.far, "198.51.100.10"), s.ping(s.far, "2001:db8:100::10")
	happens()
	s.back()
	for _, c := range s.monitor.Deletes(since, nil) {
		s.Fatalf("the router lost a route: %s", c)
	}
	ping4.check()
	ping6.check()
	if now := s.host.Run("pgrep", "-f", s.daemon.Dir+"/networks/br0/"); now != dnsmasq {
		s.Fatalf("dnsmasq was restarted: pid %s before, %s after", strings.TrimSpace(dnsmasq), strings.TrimSpace(now))
	}
}

// back waits until the session is up and everything has been sent on it.
func (s *site) back() {
	s.Helper()
	s.established()
	s.daemon.WaitSent()
}

// What was removed while the daemon was down goes when it is back, and
// nothing else does.
func TestRemovedWhileDown(t *testing.T) {
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, r.router, r.v6)
			s.network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
			s.network("br1", "198.51.101.1/24", "2001:db8:101::1/64")
			s.established()
			s.waitRoutes(1, subnet4, subnet6, "198.51.101.0/24", "2001:db8:101::/64")
			since := time.Now()
			s.daemon.Stop(syscall.SIGTERM)
			s.host.Run("sqlite3", s.daemon.Dir+"/netctl.db", "DELETE FROM objects WHERE key LIKE '/network/br1%'")
			s.daemon.Start()
			s.daemon.WaitReady()
			s.waitRoutes(0, "198.51.101.0/24", "2001:db8:101::/64")
			s.back()
			s.undisturbed(since, subnet4, subnet6)
			s.eventually("bridge is gone", func() error {
				_, err := s.host.Try("ip", "link", "show", "br1")
				return expect(err != nil, "br1 exists")
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
				s.network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
				s.established()
				s.waitRoutes(1, subnet4, subnet6)
				start := time.Now()
				if how == "command" {
					s.daemon.CLI("shutdown")
				} else {
					s.daemon.Proc.Signal(syscall.SIGPWR)
				}
				if err := s.daemon.Proc.Wait(10 * time.Second); err != nil {
					t.Fatal(err)
				}
				t.Logf("shut down in %s", time.Since(start))
				s.waitRoutes(0, subnet4, subnet6)
				if log := s.router.Log(); !strings.Contains(log, "netctl: full shutdown") {
					t.Errorf("the router was not told why:\n%s", log)
				}
				s.host.Run("ip", "link", "show", "br0") // bridges stay
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
			s.network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
			s.client("web", "br0", []string{"198.51.100.10/24", "2001:db8:100::10/64"}, []string{"198.51.100.1", "2001:db8:100::1"})
			s.established()
			s.waitRoutes(1, subnet4, subnet6)
			s.reaches(s.far, "198.51.100.10")
			s.reaches(s.far, "2001:db8:100::10")
			s.survives("TCP reset", func() {
				s.host.Run("ss", "-K", "dst", "["+s.routerAddr()+"]", "dport", "=", "179")
				s.host.Run("ss", "-K", "dst", "["+s.routerAddr()+"]", "sport", "=", "179")
				s.eventually("reset", func() error {
					n := s.flaps()
					return expect(n == 1, "%d flaps", n)
				})
			})
			if !s.router.KeepsRoutes() {
				return
			}
			s.keeps("router restarts", func() {
				s.router.Kill()
				s.router.Resume()
			})
			s.keeps("router and daemon restart", func() {
				s.router.Kill()
				s.daemon.Stop(syscall.SIGKILL)
				s.router.Resume()
				s.daemon.Start()
				s.daemon.WaitReady()
			})
			s.keeps("router away while the daemon restarts", func() {
				s.router.Kill()
				s.daemon.Restart(syscall.SIGTERM)
				s.router.Resume()
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
			s.daemon.CLI("config", "set", "bgp.restart_time=4")
			s.network("br0", "198.51.100.1/24", "2001:db8:100::1/64")
			s.established()
			s.waitRoutes(1, subnet4, subnet6)
			gone := time.Now()
			s.daemon.Stop(syscall.SIGKILL)
			s.waitRoutes(0, subnet4, subnet6)
			for _, c := range s.monitor.Deletes(gone, nil) {
				if after := c.Time.Sub(gone); after < restartTime-time.Second {
					t.Errorf("gone after %s: %s", after, c)
				}
			}
			t.Logf("forgotten after %s", time.Since(gone).Round(100*time.Millisecond))
		})
	}
}
