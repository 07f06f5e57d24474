package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestForwardDecode(t *testing.T) {
	a := netip.MustParseAddr
	for name, tt := range map[string]struct {
		listen string
		target string
		ports  []PortSpec
		want   Forward
		errs   []string
	}{
		"nothing": {listen: "198.51.100.7"},
		"target":  {listen: "198.51.100.7", target: "10.0.0.9", want: Forward{Target: a("10.0.0.9")}},
		"ports": {
			listen: "2001:db8::7",
			ports: []PortSpec{
				{"udp", "53", "fd42::5", ""},
				{"tcp", "80,8000-8002", "fd42::6", ""},
				{"tcp", "443", "fd42::7", "8443"},
				{"tcp", "1000-1003,2000", "fd42::8", "80"},
				{"tcp", "3000-3003,4000", "fd42::9", "5000-5001,6000-6002"},
				{"tcp", "65535", "fd42::9", "1"},
			},
			want: Forward{Ports: []ForwardPort{
				{"tcp", 80, 80, a("fd42::6"), 80, 80},
				{"tcp", 443, 443, a("fd42::7"), 8443, 8443},
				{"tcp", 1000, 1003, a("fd42::8"), 80, 80},
				{"tcp", 2000, 2000, a("fd42::8"), 80, 80},
				{"tcp", 3000, 3001, a("fd42::9"), 5000, 5001},
				{"tcp", 3002, 3003, a("fd42::9"), 6000, 6001},
				{"tcp", 4000, 4000, a("fd42::9"), 6002, 6002},
				{"tcp", 8000, 8002, a("fd42::6"), 8000, 8002},
				{"tcp", 65535, 65535, a("fd42::9"), 1, 1},
				{"udp", 53, 53, a("fd42::5"), 53, 53},
			}},
		},
		"everything wrong": {
			listen: "198.51.100.7", target: "fd42::1",
			ports: []PortSpec{
				{"sctp", "", "", "x"},
				{"tcp", "0", "fd42::5", ""},
				{"tcp", "80-79", "10.0.0.5", "1-2"},
				{"tcp", "80-82", "10.0.0.5", "1-2"},
				{"tcp", "10-20,443", "10.0.0.5", ""},
				{"tcp", "443,15", "10.0.0.6", ""},
				{"udp", "443", "127.0.0.1", ""},
			},
			errs: []string{
				"cannot mix IP versions in listen address and default target address: fd42::1 is not an IPv4 address",
				"invalid port protocol in port specification 0, protocol must be one of: tcp, udp",
				`invalid target address in port specification 0: "": not an IP address`,
				"missing listen port in port specification 0",
				`invalid target port in port specification 0: "x": not a number from 1 to 65535`,
				"cannot mix IP versions in listen address and port specification 1 target address",
				`invalid listen port in port specification 1: "0": not a number from 1 to 65535`,
				`invalid listen port in port specification 2: "80-79": ends before it starts`,
				"mismatch of listen port(s) and target port(s) count in port specification 3: 3 and 2",
				`invalid target address in port specification 6: "127.0.0.1": a loopback address`,
				`duplicate listen port 15 for protocol "tcp" in port specification 5`,
				`duplicate listen port 443 for protocol "tcp" in port specification 5`,
			},
		},
		"the default again": {
			listen: "198.51.100.7", target: "10.0.0.9", ports: []PortSpec{{"tcp", "80", "10.0.0.9", ""}},
			errs: []string{"target address is same as default target address in port specification 0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := ForwardSpec{Listen: a(tt.listen), Config: map[string]string{"target_address": tt.target}, Ports: tt.ports}
			got, err := spec.Decode()
			text := ""
			if err != nil {
				text = err.Error()
			}
			if d := cmp.Diff(strings.Join(tt.errs, "\n"), text); d != "" {
				t.Errorf("errors (-want +got)\n%s", d)
			}
			if d := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
	_, err := ForwardSpec{Listen: a("198.51.100.7"), Config: map[string]string{"target_addresses": "10.0.0.1", "user.x": "y"}}.Decode()
	if err == nil || err.Error() != `unknown key "target_addresses", did you mean "target_address"?` {
		t.Error(err)
	}
}

// TestManyErrors keeps the answer to a list with nothing good in it short.
func TestManyErrors(t *testing.T) {
	spec := ForwardSpec{Listen: netip.MustParseAddr("198.51.100.7"), Ports: []PortSpec{{"tcp", strings.Repeat("80,", 100_000) + "80", "10.0.0.1", ""}}}
	_, err := spec.Decode()
	if err == nil || strings.Count(err.Error(), "\n") != 50 || !strings.HasSuffix(err.Error(), "\nand 99950 more errors") {
		t.Errorf("%.100q", err)
	}
	_, err = ACLSpec{Egress: make([]RuleSpec, 100_000)}.Decode()
	if err == nil || strings.Count(err.Error(), "\n") != 50 {
		t.Errorf("%.100q", err)
	}
}

func TestForwardTargets(t *testing.T) {
	spec := ForwardSpec{
		Listen: netip.MustParseAddr("198.51.100.7"), Config: map[string]string{"target_address": "10.0.1.9"},
		Ports: []PortSpec{{"tcp", "80", "10.0.0.9", ""}, {"tcp", "81", "10.0.2.9", ""}, {"tcp", "82", "fd42::1", ""}},
	}
	for subnet, want := range map[string]string{
		"10.0.0.1/16": "",
		"10.0.0.1/24": "default target address is not within the network subnet: 10.0.1.9 is not in 10.0.0.0/24\n" +
			"target address is not within the network subnet in port specification 1: 10.0.2.9 is not in 10.0.0.0/24",
		"": "default target address is not within the network subnet: the network has no IPv4 address\n" +
			"target address is not within the network subnet in port specification 0: the network has no IPv4 address\n" +
			"target address is not within the network subnet in port specification 1: the network has no IPv4 address",
	} {
		p, _ := netip.ParsePrefix(subnet)
		got := ""
		if err := spec.CheckTargets(p); err != nil {
			got = err.Error()
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q (-want +got)\n%s", subnet, d)
		}
	}
}

func TestParseListenAddress(t *testing.T) {
	for s, want := range map[string]string{
		"198.51.100.7": "198.51.100.7", "2001:DB8::0:7": "2001:db8::7",
		"": "", "x": "", "0.0.0.0": "", "::": "", "127.0.0.1": "", "fe80::1": "", "fe80::1%eth0": "", "224.0.0.1": "", "::ffff:198.51.100.7": "", "198.51.100.7/32": "",
	} {
		got, err := ParseListenAddress(s)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "invalid listen address") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestForwardPortsProperty holds the decoded ports of one entry to the simple
// reading of the lists: the nth listen port goes to the nth target port.
func TestForwardPortsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		listen := rapid.SliceOfNDistinct(rapid.Uint16Range(1, 60), 1, 30, rapid.ID[uint16]).Draw(t, "listen")
		var to []uint16
		switch rapid.IntRange(0, 2).Draw(t, "targets") {
		case 1:
			to = []uint16{rapid.Uint16Range(1, 65535).Draw(t, "to")}
		case 2:
			to = rapid.SliceOfN(rapid.Uint16Range(1, 60), len(listen), len(listen)).Draw(t, "to")
		}
		spec := ForwardSpec{
			Listen: netip.MustParseAddr("198.51.100.7"),
			Ports:  []PortSpec{{"tcp", portList(t, listen), "10.0.0.1", portList(t, to)}},
		}
		f, err := spec.Decode()
		if err != nil {
			t.Fatalf("%+v: %v", spec.Ports[0], err)
		}
		want, got := map[uint16]uint16{}, map[uint16]uint16{}
		for i, p := range listen {
			switch len(to) {
			case 0:
				want[p] = p
			case 1:
				want[p] = to[0]
			default:
				want[p] = to[i]
			}
		}
		for _, p := range f.Ports {
			if p.Last < p.First || p.ToLast != p.To && p.ToLast-p.To != p.Last-p.First {
				t.Fatalf("port %+v", p)
			}
			for i := uint16(0); p.First+i <= p.Last; i++ {
				got[p.First+i] = p.To + min(i, p.ToLast-p.To)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%+v (-want +got)\n%s", spec.Ports[0], d)
		}
		if !slices.IsSortedFunc(f.Ports, func(a, b ForwardPort) int { return int(a.First) - int(b.First) }) {
			t.Fatalf("not sorted: %+v", f.Ports)
		}
	})
}

// portList writes ports as a list, runs of them as ranges now and then.
func portList(t *rapid.T, ports []uint16) string {
	var out []string
	for i := 0; i < len(ports); i++ {
		first := ports[i]
		for i+1 < len(ports) && ports[i+1] == ports[i]+1 && rapid.Bool().Draw(t, "join") {
			i++
		}
		if ports[i] == first {
			out = append(out, strconv.Itoa(int(first)))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", first, ports[i]))
		}
	}
	return strings.Join(out, ",")
}
