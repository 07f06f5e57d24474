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

// container is the link of a container's NIC as it is wanted.
func container(change func(*Link)) *Link {
	l := &Link{
		Name: "veth0", Kind: Veth, Owner: "web/eth0", MTU: 1500, Port: &Port{Bridge: "br0", Isolated: true},
		Peer: &Peer{Netns: Netns{Name: "web"}, Name: "eth0", MAC: "02:00:00:00:00:09", MTU: 1500},
	}
	if change != nil {
		change(l)
	}
	return l
}

// machine is the link of a virtual machine's NIC as it is wanted.
func machine(change func(*Link)) *Link {
	l := &Link{Name: "tap0", Kind: Tap, Owner: "vm/eth0", MTU: 1500, Tap: &Tun{}}
	if change != nil {
		change(l)
	}
	return l
}

// hops are given by the name of an interface and a gateway, if any.
func hops(ss ...string) []Hop {
	var hs []Hop
	for _, s := range ss {
		dev, via, _ := strings.Cut(s, " ")
		h := Hop{Dev: dev}
		if via != "" {
			h.Via = netip.MustParseAddr(via)
		}
		hs = append(hs, h)
	}
	return hs
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
ip link set br0 type bridge no_linklocal_learn 1
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
ip link set b0 type bridge no_linklocal_learn 1
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
ip link set br0 type bridge no_linklocal_learn 1
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
			name: "the NIC of a container",
			have: one(bridge(nil)),
			want: State{
				Links:      []*Link{bridge(nil), container(nil)},
				Namespaces: []*Namespace{{"web", "web"}},
				Routes:     []*Route{{Prefix: netip.MustParsePrefix("198.51.100.7/32"), Hops: hops("br0 10.0.0.10"), Owners: []string{"web/eth0"}}},
			},
			ops: `
ip netns add web && ip -n web link set lo up alias netctl:web
ip link add veth0 mtu 1500 group 1852142691 type veth peer name eth0 address 02:00:00:00:00:09 mtu 1500 netns web
ip link set veth0 alias netctl:web/eth0
ip link set veth0 master br0
bridge link set dev veth0 isolated on hairpin off
ip link set veth0 up
ip -n web link set eth0 address 02:00:00:00:00:09 mtu 1500 up
ip route add 198.51.100.7/32 via 10.0.0.10 dev br0 proto 213`,
		},
		{
			name: "a NIC that goes, with its namespace",
			have: State{
				Links: []*Link{bridge(nil), container(nil)}, Namespaces: []*Namespace{{"web", "web"}},
				Routes: []*Route{{Prefix: netip.MustParsePrefix("198.51.100.7/32"), Hops: hops("br0 10.0.0.10")}},
			},
			want: one(bridge(nil)),
			ops: `
ip route del 198.51.100.7/32 via 10.0.0.10 dev br0 proto 213
ip link del veth0
ip netns del web`,
		},
		{
			name: "a NIC that is changed while it runs",
			have: one(container(nil)),
			want: one(container(func(l *Link) {
				l.MTU, l.Port.Isolated, l.Peer.Name, l.Peer.MTU = 1400, false, "net0", 1400
			})),
			ops: `
ip link set veth0 mtu 1400
bridge link set dev veth0 isolated off hairpin off
ip -n web link set eth0 name net0 address 02:00:00:00:00:09 mtu 1400 up`,
		},
		{
			name: "a NIC that goes into another namespace",
			have: one(container(nil)),
			want: one(container(func(l *Link) { l.Peer.Netns, l.Port = Netns{PID: 42}, nil })),
			ops: `
ip link del veth0
ip link add veth0 mtu 1500 group 1852142691 type veth peer name eth0 address 02:00:00:00:00:09 mtu 1500 netns 42
ip link set veth0 alias netctl:web/eth0
ip link set veth0 up
nsenter --target 42 --net ip link set eth0 address 02:00:00:00:00:09 mtu 1500 up`,
		},
		{
			name: "a NIC in a namespace of somebody else, that is a port no longer",
			have: one(container(func(l *Link) { l.Peer = &Peer{Netns: Netns{Path: "/n"}, Name: "x", Stale: true} })),
			want: one(container(func(l *Link) { l.Peer, l.Port = &Peer{Netns: Netns{Path: "/n"}, Name: "eth0"}, nil })),
			ops: `
nsenter --net=/n ip link set x name eth0 up
ip link set veth0 nomaster`,
		},
		{
			name: "limits of a NIC",
			have: one(container(nil)),
			want: one(container(func(l *Link) { l.Limits = &Limits{Out: 100e6, In: 10e9} })),
			ops: `
ip link add ifb2d9407abb926 group 1852142691 type ifb
ip link set ifb2d9407abb926 alias netctl:web/eth0
tc qdisc replace dev ifb2d9407abb926 root handle 6e63: tbf rate 10000000000bit burst 12500000 limit 29277216
ip link set ifb2d9407abb926 up
tc qdisc replace dev veth0 root handle 6e63: tbf rate 100000000bit burst 125000 limit 750000
tc qdisc replace dev veth0 ingress && tc filter replace dev veth0 ingress protocol all prio 28259 u32 match u32 0 0 action mirred egress redirect dev ifb2d9407abb926`,
		},
		{
			name: "another limit changes one discipline only",
			have: Complete(one(container(func(l *Link) { l.Limits = &Limits{Out: 100e6, In: 10e9} }))),
			want: one(container(func(l *Link) { l.Limits = &Limits{Out: 100e6, In: 1e9} })),
			ops: `
tc qdisc replace dev ifb2d9407abb926 root handle 6e63: tbf rate 1000000000bit burst 1250000 limit 7500000`,
		},
		{
			name: "limits that go",
			have: Complete(one(container(func(l *Link) { l.Limits = &Limits{Out: 100e6, In: 10e9} }))),
			want: one(container(nil)),
			ops: `
tc qdisc del dev veth0 root
tc qdisc del dev veth0 ingress
ip link del ifb2d9407abb926`,
		},
		{
			name: "the NIC of a virtual machine",
			want: one(machine(func(l *Link) { l.Tap = &Tun{UID: 64055, GID: 108, MultiQueue: true} })),
			ops: `
ip tuntap add dev tap0 mode tap user 64055 group 108 multi_queue vnet_hdr && ip link set tap0 mtu 1500 group 1852142691
ip link set tap0 alias netctl:vm/eth0
ip link set tap0 up`,
		},
		{
			name: "a tap for another user is made anew",
			have: one(machine(nil)),
			want: one(machine(func(l *Link) { l.Tap.GID = 108 })),
			ops: `
ip link del tap0
ip tuntap add dev tap0 mode tap group 108 vnet_hdr && ip link set tap0 mtu 1500 group 1852142691
ip link set tap0 alias netctl:vm/eth0
ip link set tap0 up`,
		},
		{
			name: "but not while it is open, which does not hold up the rest",
			have: one(machine(func(l *Link) { l.Tap.Open = true })),
			want: one(machine(func(l *Link) { l.Tap.GID, l.MTU = 108, 1400 })),
			ops: `
ip link set tap0 mtu 1400
ip link del tap0`,
		},
		{
			name: "hops of a route",
			have: State{Routes: []*Route{
				{Prefix: netip.MustParsePrefix("198.51.100.7/32"), Hops: hops("br0 10.0.0.10")},
				{Prefix: netip.MustParsePrefix("198.51.100.7/32"), Hops: hops("br0"), Metric: 7},
				{Prefix: netip.MustParsePrefix("2001:db8::/64"), Hops: hops("br0 fd00::1")},
			}},
			want: State{Routes: []*Route{
				{Prefix: netip.MustParsePrefix("198.51.100.7/32"), Hops: hops("br0 10.0.0.10", "br0 10.0.0.11", "br1")},
				{Prefix: netip.MustParsePrefix("2001:db8::/64"), Hops: hops("br0 fd00::1", "br1")},
				{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Hops: hops("br0", "br1")},
			}},
			ops: `
ip route replace 198.51.100.7/32 nexthop via 10.0.0.10 dev br0 nexthop via 10.0.0.11 dev br0 nexthop dev br1 proto 213
ip route add 2001:db8:1::/64 dev br0 proto 213
ip route del 198.51.100.7/32 dev br0 metric 7 proto 213`,
		},
		{
			name: "a namespace that another instance has now",
			have: State{Namespaces: []*Namespace{{"web", "web"}}},
			want: State{Namespaces: []*Namespace{{"web", "www"}}},
			ops: `
ip -n web link set lo alias netctl:www`,
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
