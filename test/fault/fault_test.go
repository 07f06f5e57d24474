// Package fault breaks things around netctld, and netctld itself, and sees
// that what must survive does and that the rest is repaired.
package fault

import (
	"context"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"netctl/api"
	"netctl/client"
	"netctl/test/lab"
)

func TestMain(m *testing.M) {
	code := m.Run()
	lab.RemoveBinaries()
	os.Exit(code)
}

const (
	subnet4, subnet6 = "198.51.100.0/24", "2001:db8:100::/64"
	bridge4, bridge6 = "198.51.100.1/24", "2001:db8:100::1/64"
)

// A site is a host with its surroundings, and what the tests ask it.
type site struct {
	*lab.Site
	guest string // the name of an instance
}

func bird(ns *lab.NS, c lab.RouterConfig) lab.Router { return lab.NewBIRD(ns, c) }

// newSite builds a site with a network br0 that its router has heard of.
func newSite(tb testing.TB, keys ...string) *site {
	tb.Helper()
	s := &site{Site: lab.NewSite(tb, bird, false)}
	s.guest = s.Instance("guest")
	s.Network("br0", bridge4, bridge6, keys...)
	s.Established()
	s.WaitRoutes(1, subnet4, subnet6)
	return s
}

// peers returns what the daemon says of its peers, by address.
func (s *site) peers() map[string]api.BGPPeer {
	s.Helper()
	c := client.Unix(s.Daemon.Socket())
	defer c.Close()
	peers, err := c.BGPPeers(context.Background())
	if err != nil {
		s.Fatalf("peers: %v", err)
	}
	out := map[string]api.BGPPeer{}
	for _, p := range peers {
		out[p.Address] = p
	}
	return out
}

// back waits until the session is up and everything has been sent on it.
func (s *site) back() {
	s.Helper()
	s.Established()
	s.Daemon.WaitSent()
}

// logged returns the lines of the daemon's log since an offset that match.
func logged(d *lab.Netctld, from int, pattern string) []string {
	var out []string
	re := regexp.MustCompile(pattern)
	for line := range strings.Lines(d.Proc.Output()[from:]) {
		if re.MatchString(line) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// within runs what breaks something, waits until check is content and returns
// how long it took. A second is what is promised; a machine that is busy with
// other tests gets more.
func (s *site) within(what string, breaks func(), check func() error) time.Duration {
	s.Helper()
	breaks()
	start := time.Now()
	s.Eventually(5*time.Second, what, check)
	took := time.Since(start)
	s.Logf("%s: repaired after %s", what, took.Round(time.Millisecond))
	return took
}

// dnsmasq returns the process of a network's dnsmasq, or 0.
func (s *site) dnsmasq(network string) int {
	s.Helper()
	out, _ := s.Host.Try("pgrep", "-f", "^[^ ]*dnsmasq --conf-file="+s.Daemon.Dir+"/networks/"+network+"/dnsmasq-")
	pid, _ := strconv.Atoi(strings.TrimSpace(out)) // of two it is none
	return pid
}
