package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go4.org/netipx"
)

var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netipx.IPRange) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

// defaultBridge is what an empty configuration means.
func defaultBridge() Bridge {
	f := Family{DHCP: true, DHCPExpiry: time.Hour, Firewall: true, Routing: true, NATOrder: "before"}
	reject := ACLDefault{Action: "reject"}
	return Bridge{
		MTU: 1500, Domain: "netctl", DNSMode: "managed", Search: []string{"netctl"}, V4: f, V6: f, Ingress: reject, Egress: reject,
	}
}

func TestDecodeBridge(t *testing.T) {
	tests := []struct {
		name string
		m    map[string]string
		want func(*Bridge)
	}{
		{"empty", nil, func(*Bridge) {}},
		{"unset", map[string]string{"bridge.mtu": "", "ipv4.address": "", "bgp.peers.tor.asn": ""}, func(*Bridge) {}},
		{"user", map[string]string{"user.anything at all": "\x00"}, func(*Bridge) {}},
		{"peer", map[string]string{"bgp.peers.tor.address": "192.0.2.1", "bgp.peers.tor.asn": "65000"}, func(b *Bridge) {
			b.Peers = map[string]*Peer{"tor": {Address: netip.MustParseAddr("192.0.2.1"), ASN: 65000, Port: 179, HoldTime: 3 * time.Minute}}
		}},
		{"peers", map[string]string{
			"bgp.peers.a.address": "[2001:db8::1]:1179", "bgp.peers.a.asn": "4200000000",
			"bgp.peers.b.address": "192.0.2.1:179", "bgp.peers.b.asn": "65000", "bgp.peers.b.port": "179",
			"bgp.peers.b.password": "secret", "bgp.peers.b.holdtime": "0", "bgp.peers.b.local_address": "192.0.2.2",
			"bgp.peers.b.ttl_security": "255", "bgp.peers.b.passive": "yes",
		}, func(b *Bridge) {
			b.Peers = map[string]*Peer{
				"a": {Address: netip.MustParseAddr("2001:db8::1"), ASN: 4200000000, Port: 1179, HoldTime: 3 * time.Minute},
				"b": {
					Address: netip.MustParseAddr("192.0.2.1"), ASN: 65000, Port: 179, Password: "secret",
					LocalAddr: netip.MustParseAddr("192.0.2.2"), TTLSecurity: 255, Passive: true,
				},
			}
		}},
		{"bridge", map[string]string{
			"bridge.mtu": "9000", "bridge.hwaddr": "02-00-5E-10-00-01", "bridge.external_interfaces": "eth1, eth0",
			"dns.domain": "example.net", "dns.mode": "dynamic", "raw.dnsmasq": "a\nb",
		}, func(b *Bridge) {
			b.MTU, b.HWAddr, b.External = 9000, "02:00:5e:10:00:01", []string{"eth0", "eth1"}
			b.Domain, b.Search, b.DNSMode, b.RawDNSMasq = "example.net", []string{"example.net"}, "dynamic", "a\nb"
		}},
		{"ACLs", map[string]string{
			"security.acls": "web,db, web", "security.acls.default.ingress.action": "drop", "security.acls.default.ingress.logged": "true",
			"security.acls.default.egress.action": "allow", "security.acls.default.egress.logged": "true",
		}, func(b *Bridge) {
			b.ACLs, b.Ingress, b.Egress = []string{"web", "db"}, ACLDefault{"drop", true}, ACLDefault{"allow", true}
		}},
		{"search", map[string]string{"dns.search": "b.example, a.example"}, func(b *Bridge) {
			b.Search = []string{"b.example", "a.example"}
		}},
		{"no DNS", map[string]string{"dns.mode": "none"}, func(b *Bridge) {
			b.DNSMode, b.Search = "none", nil
		}},
		{"IPv4", map[string]string{
			"bgp.ipv4.nexthop": "192.0.2.9", "ipv4.address": "10.0.0.1/24", "ipv4.dhcp.expiry": "infinite",
			"ipv4.dhcp.ranges": "10.0.0.100-10.0.0.199,10.0.0.10-10.0.0.19", "ipv4.dhcp.gateway": "10.0.0.254",
			"ipv4.firewall": "false", "ipv4.routing": "false", "ipv4.nat": "true", "ipv4.nat.address": "198.51.100.1",
			"ipv4.nat.order": "after", "ipv4.routes": "203.0.113.0/24,198.51.100.0/24", "ipv4.ovn.ranges": "10.0.0.200-10.0.0.250",
		}, func(b *Bridge) {
			b.V4 = Family{
				Address: netip.MustParsePrefix("10.0.0.1/24"), NextHop: netip.MustParseAddr("192.0.2.9"), DHCP: true,
				DHCPRanges:  []netipx.IPRange{netipx.MustParseIPRange("10.0.0.10-10.0.0.19"), netipx.MustParseIPRange("10.0.0.100-10.0.0.199")},
				DHCPGateway: netip.MustParseAddr("10.0.0.254"), NAT: true, NATAddress: netip.MustParseAddr("198.51.100.1"), NATOrder: "after",
				Routes:    []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24")},
				OVNRanges: []netipx.IPRange{netipx.MustParseIPRange("10.0.0.200-10.0.0.250")},
			}
		}},
		{"IPv6", map[string]string{
			"ipv4.address": "none", "ipv6.address": "2001:db8::1/64", "ipv6.dhcp.stateful": "true", "ipv6.dhcp.expiry": "1d",
			"bgp.ipv6.nexthop": "2001:db8:f::1", "ipv6.routes": "2001:db8:1::/48",
		}, func(b *Bridge) {
			b.V6.Address, b.V6.NextHop = netip.MustParsePrefix("2001:db8::1/64"), netip.MustParseAddr("2001:db8:f::1")
			b.V6.Stateful, b.V6.DHCPExpiry, b.V6.Routes = true, 24*time.Hour, []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/48")}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := defaultBridge()
			tt.want(&want)
			got, err := BridgeSchema.Decode(tt.m)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, compare); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestDecodeServer(t *testing.T) {
	got, err := ServerSchema.Decode(map[string]string{
		"core.bgp_address": ":1179", "core.bgp_asn": "65001", "core.bgp_routerid": "192.0.2.1",
		"core.https_address": "192.0.2.1", "core.remote_token_expiry": "1d 12H",
		"core.metrics_address": "[2001:db8::1]", "core.metrics_authentication": "false",
		"bgp.restart_time": "300", "bgp.firewall": "false", "volatile.bgp.routerid": "192.0.2.2", "user.owner": "me",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Server{
		BGPAddress: netip.AddrPortFrom(netip.Addr{}, 1179), BGPASN: 65001, BGPRouterID: netip.MustParseAddr("192.0.2.1"),
		HTTPSAddress: netip.MustParseAddrPort("192.0.2.1:8443"), TokenExpiry: 36 * time.Hour,
		MetricsAddress: netip.MustParseAddrPort("[2001:db8::1]:9100"),
		RestartTime:    5 * time.Minute, ChosenRouterID: netip.MustParseAddr("192.0.2.2"),
	}
	if d := cmp.Diff(want, got, compare); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	got, err = ServerSchema.Decode(nil)
	if d := cmp.Diff(Server{RestartTime: 2 * time.Minute, BGPFirewall: true, MetricsAuth: true, TokenExpiry: 24 * time.Hour}, got, compare); d != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, d)
	}
}

// Decoded values must not share what a caller may change.
func TestDecodeIsFresh(t *testing.T) {
	m := map[string]string{"bgp.peers.a.address": "192.0.2.1", "bgp.peers.a.asn": "1"}
	first, err := BridgeSchema.Decode(m)
	if err != nil {
		t.Fatal(err)
	}
	first.Peers["a"].ASN = 7
	first.Search[0] = "changed"
	if second, _ := BridgeSchema.Decode(m); second.Peers["a"].ASN != 1 || second.Search[0] != "netctl" {
		t.Errorf("got %+v", second)
	}
}

func TestAuto(t *testing.T) {
	m := map[string]string{"ipv4.address": "auto", "ipv6.address": "none"}
	if err := BridgeSchema.Validate(m); err != nil {
		t.Error(err)
	}
	if _, err := BridgeSchema.Decode(m); !errors.Is(err, ErrUnresolved) {
		t.Errorf("got %v", err)
	}
}

func TestKeyErrors(t *testing.T) {
	err := BridgeSchema.Validate(map[string]string{
		"ipv4.nat": "maybe", "ipv4.adress": "x", "bgp.peers.a.password": "one two",
		"bgp.peers.a.address": "192.0.2.1", "bgp.peers.b.address": "192.0.2.2", "bgp.peers.b.asn": "1",
	})
	var got [][2]string
	for _, ke := range KeyErrors(err) {
		got = append(got, [2]string{ke.Key, ke.Value})
	}
	want := [][2]string{{"bgp.peers.a.asn", ""}, {"bgp.peers.a.password", "***"}, {"ipv4.adress", ""}, {"ipv4.nat", "maybe"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if strings.Contains(err.Error(), "one two") {
		t.Errorf("the error shows the password: %v", err)
	}
	if unknown, ok := errors.AsType[*UnknownKeyError](err); !ok || unknown.Nearest != "ipv4.address" {
		t.Errorf("got %+v", unknown)
	}
	if got := KeyErrors(nil); got != nil {
		t.Errorf("nil has errors: %v", got)
	}
	long := (&KeyError{"raw.dnsmasq", strings.Repeat("ä", 200), errors.New("bad")}).Error()
	if want := `invalid value "` + strings.Repeat("ä", 60) + `…" for key "raw.dnsmasq": bad`; long != want {
		t.Errorf("got %s", long)
	}
}

func TestNearest(t *testing.T) {
	for key, want := range map[string]string{
		"ipv4.adress":            "ipv4.address",
		"ipv4.addres":            "ipv4.address",
		"ipv4.dhcp.range":        "ipv4.dhcp.ranges",
		"brigde.mtu":             "bridge.mtu",
		"bgp.peer.tor.asn":       "bgp.peers.tor.asn",
		"bgp.peers.tor.adress":   "bgp.peers.tor.address",
		"bgp.peers.tor":          "",
		"ipv4":                   "",
		"nat":                    "",
		"security":               "",
		"":                       "",
		strings.Repeat("x", 999): "",
	} {
		if got := BridgeSchema.nearest(key); got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
}

func TestSplit(t *testing.T) {
	global, member := BridgeSchema.Split(map[string]string{
		"bgp.ipv4.nexthop": "192.0.2.1", "bridge.external_interfaces": "eth0", "ipv4.nat": "true",
		"bgp.peers.tor.asn": "1", "user.x": "y", "unknown": "z",
	})
	if d := cmp.Diff(map[string]string{"bgp.ipv4.nexthop": "192.0.2.1", "bridge.external_interfaces": "eth0"}, member); d != "" {
		t.Errorf("member (-want +got)\n%s", d)
	}
	if d := cmp.Diff(map[string]string{"ipv4.nat": "true", "bgp.peers.tor.asn": "1", "user.x": "y", "unknown": "z"}, global); d != "" {
		t.Errorf("global (-want +got)\n%s", d)
	}
	if _, ok := BridgeSchema.Scope("unknown"); ok {
		t.Error("an unknown key has a scope")
	}
	if s, ok := ServerSchema.Scope("core.bgp_address"); !ok || s != Member || s.String() != "member" {
		t.Errorf("got %v, %v", s, ok)
	}
}

func TestMask(t *testing.T) {
	stored := map[string]string{"bgp.peers.a.password": "secret", "bgp.peers.b.password": "", "bgp.peers.a.asn": "1"}
	shown := BridgeSchema.Mask(stored)
	want := map[string]string{"bgp.peers.a.password": "***", "bgp.peers.b.password": "", "bgp.peers.a.asn": "1"}
	if d := cmp.Diff(want, shown); d != "" {
		t.Errorf("mask (-want +got)\n%s", d)
	}
	if d := cmp.Diff(stored, BridgeSchema.Unmask(shown, stored)); d != "" {
		t.Errorf("unmask (-want +got)\n%s", d)
	}
	changed := map[string]string{"bgp.peers.a.password": "other", "bgp.peers.c.password": "***", "user.x": "***"}
	if d := cmp.Diff(changed, BridgeSchema.Unmask(changed, stored)); d != "" {
		t.Errorf("unmask a new one (-want +got)\n%s", d)
	}
	if !BridgeSchema.IsSecret("bgp.peers.a.password") || BridgeSchema.IsSecret("bgp.peers.a.asn") || BridgeSchema.IsSecret("x") {
		t.Error("secrets are not told apart")
	}
}

func TestNames(t *testing.T) {
	for prefix, want := range map[string][]string{
		"ipv4.nat":                 {"ipv4.nat", "ipv4.nat.address", "ipv4.nat.order"},
		"bgp.":                     {"bgp.ipv4.nexthop", "bgp.ipv6.nexthop", "bgp.peers."},
		"bgp.peers.":               nil,
		"bgp.peers.tor":            nil,
		"bgp.peers.tor.a":          {"bgp.peers.tor.address", "bgp.peers.tor.asn"},
		"bgp.peers.tor.local_a":    {"bgp.peers.tor.local_address"},
		"bgp.peers.tor.asn.":       nil,
		"bgp.peers..a":             nil,
		"bridge.mtu":               {"bridge.mtu"},
		"nothing":                  nil,
		"bridge.external_interfac": {"bridge.external_interfaces"},
	} {
		if d := cmp.Diff(want, BridgeSchema.Names(prefix), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%q (-want +got)\n%s", prefix, d)
		}
	}
	got := ServerSchema.Names("")
	if len(got) == 0 || !slices.IsSorted(got) || slices.Contains(got, "volatile.bgp.routerid") {
		t.Errorf("got %v", got)
	}
	if got := BridgeSchema.Values("dns.mode"); !slices.Equal(got, []string{"managed", "dynamic", "none"}) {
		t.Errorf("got %v", got)
	}
	if got := BridgeSchema.Values("bgp.peers.tor.passive"); !slices.Equal(got, []string{"false", "true"}) {
		t.Errorf("got %v", got)
	}
}

func TestDeclarations(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range slices.Concat(BridgeSchema.Keys(), ServerSchema.Keys()) {
		if k.Type == "" || !slices.Contains([]string{"string", "integer", "bool"}, k.Kind) || k.Since == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("incomplete: %+v", k)
		}
		if strings.Contains(k.Doc+k.Detail+k.DefaultDoc+k.Type, "|") {
			t.Errorf("%s would break the table", k.Name)
		}
		if seen[k.Name] && k.Name != userKey.Name {
			t.Errorf("%s is declared twice", k.Name)
		}
		seen[k.Name] = true
	}
	if k, ok := BridgeSchema.Lookup("user.x"); !ok || k.Name != "user.*" {
		t.Errorf("got %+v, %v", k, ok)
	}
	for _, name := range []string{"user.", "user", "x"} {
		if _, ok := BridgeSchema.Lookup(name); ok {
			t.Errorf("%q exists", name)
		}
	}
}

func TestMetadata(t *testing.T) {
	out, err := json.Marshal(NewMetadata())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Configs map[string]map[string]struct {
			Keys []map[string]map[string]string
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	bridge := got.Configs["network-bridge"]
	want := map[string]string{
		"defaultdesc": "`1500`", "longdesc": "From 68 to 65535 bytes, at least 1280 with IPv6.",
		"scope": "global", "shortdesc": "MTU of the bridge", "type": "integer", "since": "0.1",
	}
	if d := cmp.Diff(want, bridge["bridge"].Keys[0]["bridge.mtu"]); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if got := got.Configs["server"]["core"].Keys[0]["core.bgp_address"]["scope"]; got != "local" {
		t.Errorf("got scope %q", got)
	}
	if n := len(bridge["bgp"].Keys); n != 11 {
		t.Errorf("%d keys in group bgp", n)
	}
}

// The checked-in page is what go generate would write.
func TestReference(t *testing.T) {
	var want bytes.Buffer
	if err := WriteReference(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../doc/reference/keys.md")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.String(), string(got)); d != "" {
		t.Errorf("run go generate ./config (-want +got)\n%s", d)
	}
}
