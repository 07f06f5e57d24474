package network_test

import (
	"cmp"
	"crypto/sha256"
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
	// Instances are NICs by instance and device. Those of a name that starts
	// with vm are virtual machines, and of one that starts with off do not run.
	Instances map[string]map[string]map[string]string
	Forwards  map[string]map[string]string // target_address by network and address
	Up        bool
	Dark      []string // interfaces without a carrier
	Links     map[string]struct {
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
	for _, name := range slices.Sorted(maps.Keys(f.Instances)) {
		i, err := instance(name, f.Instances[name])
		if err != nil {
			return nil, err
		}
		s.Instances = append(s.Instances, i)
	}
	for _, on := range slices.Sorted(maps.Keys(f.Forwards)) {
		for _, listen := range slices.Sorted(maps.Keys(f.Forwards[on])) {
			fw, err := config.ForwardSchema.Decode(map[string]string{"target_address": f.Forwards[on][listen]})
			if err != nil {
				return nil, err
			}
			s.Forwards = append(s.Forwards, &network.Forward{Network: on, Listen: netip.MustParseAddr(listen), Forward: fw})
		}
	}
	return s, nil
}

func instance(name string, devices map[string]map[string]string) (*network.Instance, error) {
	i := &network.Instance{Name: name, VM: strings.HasPrefix(name, "vm"), Running: !strings.HasPrefix(name, "off")}
	for n, dev := range slices.Sorted(maps.Keys(devices)) {
		nic, err := config.NICSchema.Decode(devices[dev])
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", name, dev, err)
		}
		nic.Name = cmp.Or(nic.Name, dev)
		nic.HostName = cmp.Or(nic.HostName, fmt.Sprintf("h-%s-%d", name, n))
		sum := sha256.Sum256([]byte(name + dev))
		nic.HWAddr = cmp.Or(nic.HWAddr, fmt.Sprintf("00:16:3e:%02x:%02x:%02x", sum[0], sum[1], sum[2]))
		i.NICs = append(i.NICs, network.NIC{Device: dev, NIC: nic})
	}
	return i, nil
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
		for _, i := range s.Instances {
			for _, n := range i.NICs {
				if i.Running {
					for _, p := range slices.Concat(n.V4.Routes, n.V4.External, n.V6.Routes, n.V6.External) {
						o.Own = append(o.Own, link.OnLink(p, n.Network, link.NICOwner(i.Name, n.Device)))
					}
					o.Links[n.HostName] = &link.Seen{
						Name: n.HostName, Alias: link.AliasPrefix + link.NICOwner(i.Name, n.Device), Up: true,
						Master: n.Network, Carrier: !slices.Contains(f.Dark, n.HostName),
					}
				}
			}
		}
		slices.SortFunc(o.Own, (*link.Route).Compare)
	}
	return o
}

func shown[T any](v *T) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%+v", *v)
}

func show(h *network.Host) string {
	var b strings.Builder
	for _, op := range link.Diff(link.State{}, h.Link) {
		fmt.Fprintln(&b, op)
	}
	for _, l := range h.Link.Links {
		if l.Port != nil {
			fmt.Fprintf(&b, "nic %s %s of %s on %+v peer %s limits %s\n", l.Kind, l.Name, l.Owner, *l.Port, shown(l.Peer), shown(l.Limits))
		}
	}
	for _, n := range h.Link.Namespaces {
		fmt.Fprintf(&b, "namespace %+v\n", *n)
	}
	for _, r := range h.Link.Routes {
		fmt.Fprintf(&b, "route %s over %v for %v\n", r.Prefix, r.Hops, r.Owners)
	}
	for _, n := range h.Firewall.NICs {
		fmt.Fprintf(&b, "filter %+v\n", *n)
	}
	for _, f := range h.Firewall.Forwards {
		fmt.Fprintf(&b, "forward %+v\n", *f)
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
