package network_test

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v3"

	"netctl/config"
	"netctl/network"
	"netctl/network/link"
)

// TestDerive runs the scripts in testdata/derive. UPDATE=1 rewrites what they
// expect.
func TestDerive(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/derive", UpdateScripts: os.Getenv("UPDATE") != "", RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"derive": derive},
	})
}

// A fixture is a snapshot and what is seen of the host, as a script writes
// them. With up: true every network is up as it should be.
type fixture struct {
	Server   map[string]string
	Networks map[string]map[string]string
	Up       bool
	Links    map[string]struct {
		Alias string
		Up    bool
		Addrs []string // "dynamic ADDR" for one with a lifetime
	}
	Toward map[string]struct{ Dev, Src, Via string }
}

// derive FILE prints the host: operations that build it from nothing, packet
// filter, services, peers and prefixes.
func derive(ts *testscript.TestScript, neg bool, args []string) {
	var f fixture
	ts.Check(yaml.Unmarshal([]byte(ts.ReadFile(args[0])), &f))
	s, err := f.snapshot()
	ts.Check(err)
	h, err := network.Derive(s, f.observed(s), "none")
	switch {
	case err != nil && neg:
		fmt.Fprintln(ts.Stderr(), err)
		return
	case err != nil:
		ts.Fatalf("derive: %v", err)
	case neg:
		ts.Fatalf("derive succeeded")
	}
	fmt.Fprint(ts.Stdout(), show(h))
}

func (f *fixture) snapshot() (*network.Snapshot, error) {
	server, err := config.ServerSchema.Decode(f.Server)
	if err != nil {
		return nil, err
	}
	s := &network.Snapshot{Revision: 1, Servers: map[string]config.Server{"none": server}}
	for _, name := range slices.Sorted(maps.Keys(f.Networks)) {
		b, err := config.BridgeSchema.Decode(f.Networks[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		s.Networks = append(s.Networks, &network.Network{Name: name, Config: map[string]config.Bridge{"none": b}})
	}
	return s, nil
}

func (f *fixture) observed(s *network.Snapshot) *network.Observed {
	o := &network.Observed{Observed: link.Observed{Links: map[string]*link.Seen{}, Toward: map[netip.Addr]link.Toward{}}}
	for name, l := range f.Links {
		seen := &link.Seen{Name: name, Alias: l.Alias, Up: l.Up}
		for _, a := range l.Addrs {
			text, dynamic := strings.CutPrefix(a, "dynamic ")
			seen.Addrs = append(seen.Addrs, link.Addr{Prefix: netip.MustParsePrefix(text), Dynamic: dynamic})
		}
		o.Links[name] = seen
	}
	for peer, t := range f.Toward {
		w := link.Toward{Dev: t.Dev, Src: netip.MustParseAddr(t.Src)}
		if t.Via != "" {
			w.Via = netip.MustParseAddr(t.Via)
		}
		o.Toward[netip.MustParseAddr(peer)] = w
	}
	if f.Up {
		for _, n := range s.Networks {
			c := n.Config["none"]
			seen := &link.Seen{Name: n.Name, Alias: link.AliasPrefix + n.Name, Up: true}
			for _, p := range []netip.Prefix{c.V4.Address, c.V6.Address} {
				if p.IsValid() {
					seen.Addrs = append(seen.Addrs, link.Addr{Prefix: p})
				}
			}
			o.Links[n.Name] = seen
		}
	}
	return o
}

func show(h *network.Host) string {
	var b strings.Builder
	for _, op := range link.Diff(link.State{}, h.Link) {
		fmt.Fprintln(&b, op)
	}
	for _, n := range h.Firewall.Networks {
		fmt.Fprintf(&b, "filter %s v4 %+v v6 %+v dns %t\n", n.Name, n.V4, n.V6, n.DNS)
	}
	if h.Firewall.BGP != nil {
		fmt.Fprintf(&b, "filter bgp %+v\n", *h.Firewall.BGP)
	}
	for _, s := range h.DHCP {
		fmt.Fprintf(&b, "service %+v\n", *s)
	}
	fmt.Fprintf(&b, "speaker as %d id %s listen %v restart %s\n", h.BGP.ASN, h.BGP.RouterID, h.BGP.Listen, h.BGP.RestartTime)
	if h.RouterID.IsValid() {
		fmt.Fprintln(&b, "choose router id", h.RouterID)
	}
	if h.Silent != "" {
		fmt.Fprintln(&b, "silent:", h.Silent)
	}
	for i, p := range h.BGP.Peers {
		fmt.Fprintf(&b, "peer %s of %v: %+v\n", p.Addr, h.Named[i].Networks, p)
	}
	for _, e := range h.Exports {
		fmt.Fprintf(&b, "export %s via %s to [%s] for %v", e.Prefix, e.NextHop, e.Peers, e.Owners)
		if e.Held != "" {
			fmt.Fprintf(&b, " held: %s", e.Held)
		}
		fmt.Fprintln(&b)
	}
	fmt.Fprintf(&b, "announced %d\n", len(h.BGP.Paths))
	return b.String()
}
