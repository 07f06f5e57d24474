package link

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func prefixes(ss ...string) []netip.Prefix {
	ps := make([]netip.Prefix, len(ss))
	for i, s := range ss {
		ps[i] = netip.MustParsePrefix(s)
	}
	return ps
}

// bridge is a bridge br0 of network net0 as it is wanted.
func bridge(change func(*Link)) *Link {
	l := &Link{Name: "br0", Kind: Bridge, Owner: "net0", MAC: "02:00:00:00:00:01", MTU: 1500}
	if change != nil {
		change(l)
	}
	return l
}

func one(l *Link) State { return State{Links: []*Link{l}} }

// routed is one with routes to what is on it.
func routed(l *Link, to ...string) State {
	s := one(l)
	for _, p := range prefixes(to...) {
		s.Routes = append(s.Routes, OnLink(p, l.Name, l.Owner))
	}
	return s
}

func TestDiff(t *testing.T) {
	tests := []struct {
		name       string
		have, want State
		ops        string
	}{
		{
			name: "a new bridge",
			want: routed(bridge(func(l *Link) {
				l.Addrs = prefixes("10.0.0.1/24", "fd42::1/64")
				l.Ports = []string{"eth1"}
				l.Sysctls = []Sysctl{{"net/ipv6/conf/br0/accept_ra", "0"}}
			}), "10.9.0.0/24", "fd43::/64"),
			ops: `
ip link add br0 address 02:00:00:00:00:01 mtu 1500 group 1852142691 type bridge
ip link set br0 alias netctl:net0
sysctl -w net/ipv6/conf/br0/accept_ra=0
ip link set br0 up
ip link property add dev eth1 altname netctl.port.eth1
ip link set eth1 master br0
ip link set eth1 up
ip addr add 10.0.0.1/24 dev br0
ip addr add fd42::1/64 dev br0 nodad
ip route add 10.9.0.0/24 dev br0 proto 213
ip route add fd43::/64 dev br0 proto 213`,
		},
		{
			name: "a bridge whose making was interrupted",
			have: one(bridge(func(l *Link) { l.Owner, l.Down = "", true })),
			want: one(bridge(nil)),
			ops: `
ip link set br0 alias netctl:net0
ip link set br0 up`,
		},
		{
			name: "attributes",
			have: one(bridge(func(l *Link) { l.MAC, l.MTU, l.Down = "02:00:00:00:00:02", 1400, true })),
			want: one(bridge(nil)),
			ops: `
ip link set br0 address 02:00:00:00:00:01
ip link set br0 mtu 1500
ip link set br0 up`,
		},
		{
			name: "a MAC that is left to the kernel",
			have: one(bridge(nil)),
			want: one(bridge(func(l *Link) { l.MAC = "" })),
		},
		{
			name: "another subnet is added before the old one goes",
			have: routed(bridge(func(l *Link) { l.Addrs = prefixes("10.0.0.1/24") }), "10.9.0.0/24"),
			want: routed(bridge(func(l *Link) { l.Addrs = prefixes("10.0.1.1/24") }), "10.9.1.0/24"),
			ops: `
ip addr add 10.0.1.1/24 dev br0
ip route add 10.9.1.0/24 dev br0 proto 213
ip route del 10.9.0.0/24 dev br0 proto 213
ip addr del 10.0.0.1/24 dev br0`,
		},
		{
			name: "another address in the same subnet survives the first",
			have: one(bridge(func(l *Link) { l.Addrs = prefixes("10.0.0.1/24") })),
			want: one(bridge(func(l *Link) { l.Addrs = prefixes("10.0.0.2/24") })),
			ops: `
ip addr add 10.0.0.2/24 dev br0
sysctl -w net/ipv4/conf/br0/promote_secondaries=1
ip addr del 10.0.0.1/24 dev br0`,
		},
		{
			name: "an IPv6 address with another length has to go first",
			have: one(bridge(func(l *Link) { l.Addrs = prefixes("fd42::1/64") })),
			want: one(bridge(func(l *Link) { l.Addrs = prefixes("fd42::1/48") })),
			ops: `
ip addr del fd42::1/64 dev br0
ip addr add fd42::1/48 dev br0 nodad`,
		},
		{
			name: "ports come and go, those of others stay",
			have: one(bridge(func(l *Link) { l.Ports = []string{"eth1", "eth2"} })),
			want: one(bridge(func(l *Link) { l.Ports = []string{"eth2", "eth3"} })),
			ops: `
ip link property add dev eth3 altname netctl.port.eth3
ip link set eth3 master br0
ip link set eth3 up
ip link set eth1 nomaster
ip link property del dev eth1 altname netctl.port.eth1`,
		},
		{
			name: "a port moves from one bridge to another",
			have: State{Links: []*Link{
				bridge(func(l *Link) { l.Ports = []string{"eth1"} }),
				{Name: "br1", Kind: Bridge, Owner: "net1"},
			}},
			want: State{Links: []*Link{
				bridge(nil),
				{Name: "br1", Kind: Bridge, Owner: "net1", Ports: []string{"eth1"}},
			}},
			ops: `
ip link set eth1 master br1
ip link set eth1 up`,
		},
		{
			name: "a port that fell off or was never attached",
			have: State{Links: []*Link{bridge(nil)}, Marked: []string{"eth1"}},
			want: one(bridge(func(l *Link) { l.Ports = []string{"eth1"} })),
			ops: `
ip link set eth1 master br0
ip link set eth1 up`,
		},
		{
			name: "a mark that is left over",
			have: State{Marked: []string{"eth1"}},
			ops: `
ip link set eth1 nomaster
ip link property del dev eth1 altname netctl.port.eth1`,
		},
		{
			name: "a bridge is deleted after its ports are released",
			have: one(bridge(func(l *Link) { l.Ports, l.Addrs = []string{"eth1"}, prefixes("10.0.0.1/24") })),
			ops: `
ip link set eth1 nomaster
ip link property del dev eth1 altname netctl.port.eth1
ip link del br0`,
		},
		{
			name: "what is made comes before what is deleted",
			have: State{Links: []*Link{{Name: "a0", Kind: Bridge, Owner: "a"}}},
			want: State{Links: []*Link{{Name: "b0", Kind: Bridge, Owner: "b"}}},
			ops: `
ip link add b0 group 1852142691 type bridge
ip link set b0 alias netctl:b
ip link set b0 up
ip link del a0`,
		},
		{
			name: "a link of another kind is made anew",
			have: State{Links: []*Link{{Name: "a0", Kind: Bridge, Owner: "a"}, bridge(func(l *Link) { l.Kind = "dummy" })}},
			want: one(bridge(nil)),
			ops: `
ip link del br0
ip link add br0 address 02:00:00:00:00:01 mtu 1500 group 1852142691 type bridge
ip link set br0 alias netctl:net0
ip link set br0 up
ip link del a0`,
		},
		{
			name: "forwarding keeps the default route of the host",
			have: State{Sysctls: []Sysctl{
				{"net/ipv4/ip_forward", "1"},
				{"net/ipv6/conf/all/forwarding", "0"},
				{"net/ipv6/conf/default/accept_ra", "1"},
				{"net/ipv6/conf/eth0/accept_ra", "1"},
				{"net/ipv6/conf/eth1/accept_ra", "0"},
				{"net/ipv6/conf/eth2/accept_ra", "2"},
			}},
			want: State{Sysctls: []Sysctl{{"net/ipv4/ip_forward", "1"}, {"net/ipv6/conf/all/forwarding", "1"}}},
			ops: `
sysctl -w net/ipv6/conf/default/accept_ra=2
sysctl -w net/ipv6/conf/eth0/accept_ra=2
sysctl -w net/ipv6/conf/all/forwarding=1`,
		},
		{
			name: "forwarding of the host overwrites that of the bridges",
			have: State{
				Sysctls: []Sysctl{{"net/ipv6/conf/all/forwarding", "0"}},
				Links:   []*Link{bridge(func(l *Link) { l.Sysctls = []Sysctl{{"net/ipv6/conf/br0/forwarding", "0"}} })},
			},
			want: State{
				Sysctls: []Sysctl{{"net/ipv6/conf/all/forwarding", "1"}},
				Links:   []*Link{bridge(func(l *Link) { l.Sysctls = []Sysctl{{"net/ipv6/conf/br0/forwarding", "0"}} })},
			},
			ops: `
sysctl -w net/ipv6/conf/all/forwarding=1
sysctl -w net/ipv6/conf/br0/forwarding=0`,
		},
		{
			name: "settings that nobody wants any more stay",
			have: State{Sysctls: []Sysctl{{"net/ipv4/ip_forward", "1"}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			for _, o := range Diff(tt.have, tt.want) {
				b.WriteString("\n" + o.String())
			}
			if d := cmp.Diff(tt.ops, b.String()); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestTakesDown(t *testing.T) {
	for v := AddNamespace; v <= DelNamespace; v++ {
		o := Op{Verb: v, Dev: "d", Port: "p", Peer: &Peer{}, Route: &Route{}}
		s := o.String()
		if strings.HasPrefix(s, "Verb(") {
			t.Errorf("verb %d has no command", v)
		}
		want := v == DelMaster || v == ReleasePort
		for _, down := range []string{"ip link del", "ip addr del", "ip route del", "ip netns del"} {
			want = want || strings.HasPrefix(s, down)
		}
		if got := o.TakesDown(); got != want {
			t.Errorf("%s takes down: %v, want %v", s, got, want)
		}
	}
}
