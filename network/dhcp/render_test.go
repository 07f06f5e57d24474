package dhcp

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go4.org/netipx"
)

var update = flag.Bool("update", false, "write the golden files")

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func ranges(ss ...string) []netipx.IPRange {
	var rs []netipx.IPRange
	for _, s := range ss {
		rs = append(rs, netipx.MustParseIPRange(s))
	}
	return rs
}

var files = Files{
	Leases: "/var/lib/netctl/networks/br0/dnsmasq.leases", PID: "/var/lib/netctl/networks/br0/dnsmasq.pid",
	Hosts: "/var/lib/netctl/networks/br0/dnsmasq.hosts", Names: "/var/lib/netctl/networks/br0/dnsmasq.names",
	Servers: "/var/lib/netctl/dnsmasq.servers", User: "dnsmasq", Group: "nogroup",
}

// plainService is what a bridge offers when nothing is set.
func plainService() Service {
	return Service{
		Network: "br0", DNSMode: "managed", Domain: "netctl", MTU: 1500,
		V4: Family{Address: prefix("10.0.0.1/24"), DHCP: true, Expiry: time.Hour},
		V6: Family{Address: prefix("fd42::1/64"), DHCP: true, Expiry: time.Hour},
	}
}

func TestRender(t *testing.T) {
	for name, change := range map[string]func(*Service){
		"plain": func(*Service) {},
		"v4only": func(s *Service) {
			s.V6 = Family{}
			s.MTU, s.Search = 1400, []string{"a.example", "b.example"}
			s.V4.Ranges, s.V4.Expiry = ranges("10.0.0.100-10.0.0.200", "10.0.0.220-10.0.0.220"), 0
			s.V4.Gateway = netip.MustParseAddr("10.0.0.254")
		},
		"v6only":      func(s *Service) { s.V4, s.Search = Family{}, []string{"a.example"} },
		"stateful":    func(s *Service) { s.V6.Stateful, s.V6.Ranges = true, ranges("fd42::100-fd42::1ff") },
		"statefulall": func(s *Service) { s.V4, s.V6.Stateful = Family{}, true },
		"nodhcp":      func(s *Service) { s.V4.DHCP, s.V6.DHCP = false, false },
		"nodns":       func(s *Service) { s.DNSMode, s.Search = "none", []string{"a.example"} },
		"norouter":    func(s *Service) { s.V4.NoRouter, s.V6.NoRouter = true, true },
		"shortprefix": func(s *Service) { s.V4, s.V6.Address = Family{}, prefix("fd42:0:0:5::1/48") },
		"longprefix":  func(s *Service) { s.V4, s.V6.Address = Family{}, prefix("fd42::1/112") },
		"middle":      func(s *Service) { s.V6, s.V4.Address = Family{}, prefix("10.0.3.7/22") },
		"raw":         func(s *Service) { s.Raw = "log-queries\n# a comment\ndhcp-host=00:16:3e:00:00:01,10.0.0.9" },
	} {
		t.Run(name, func(t *testing.T) {
			s := plainService()
			change(&s)
			got, err := Render(s, files)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".conf")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestOffers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Service)
		want   bool
	}{
		{"everything", func(*Service) {}, true},
		{"DNS only", func(s *Service) { s.V4.DHCP, s.V6 = false, Family{} }, true},
		{"nothing without addresses", func(s *Service) { s.V4, s.V6 = Family{DHCP: true}, Family{DHCP: true} }, false},
		{"nothing at all", func(s *Service) { s.V4.DHCP, s.V6, s.DNSMode = false, Family{}, "none" }, false},
		{"router advertisements without DHCP", func(s *Service) { s.V4, s.V6.DHCP, s.DNSMode = Family{}, false, "none" }, true},
		{"a long prefix without DHCP", func(s *Service) {
			s.V4, s.V6.DHCP, s.V6.Address, s.DNSMode = Family{}, false, prefix("fd42::1/80"), "none"
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := plainService()
			tt.change(&s)
			if got := s.Offers(); got != tt.want {
				t.Errorf("offers %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Service, *Files)
		want   string
	}{
		{"name", func(s *Service, _ *Files) { s.Network = "br0\nuser=root" }, `the name of the network "br0\nuser=root"`},
		{"empty name", func(s *Service, _ *Files) { s.Network = "" }, `the name of the network ""`},
		{"domain", func(s *Service, _ *Files) { s.Domain = "a,10.0.0.0/8" }, `dns.domain "a,10.0.0.0/8"`},
		{"search", func(s *Service, _ *Files) { s.Search = []string{"ok.example", "b\ndhcp-script=/bin/sh"} }, `dns.search "b\ndhcp-script=/bin/sh"`},
		{"path", func(_ *Service, f *Files) { f.Leases = "/a\nb" }, `dhcp-leasefile: the path "/a\nb"`},
		{"user", func(_ *Service, f *Files) { f.User = "x y" }, `user "x y"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, f := plainService(), files
			tt.change(&s, &f)
			text, err := Render(s, f)
			if err == nil || text != "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q, err %v, want one with %q", text, err, tt.want)
			}
		})
	}
}

// TestRenderKeepsPaths has a directory with a character that means something
// else elsewhere.
func TestRenderKeepsPaths(t *testing.T) {
	f := files
	f.Leases = "/var/lib/100%data/leases"
	text, err := Render(plainService(), f)
	if err != nil || !strings.Contains(text, "\ndhcp-leasefile=/var/lib/100%data/leases\n") {
		t.Errorf("%v:\n%s", err, text)
	}
}

// FuzzRender holds that no string but Raw can become a directive of its own:
// what is rendered has the lines of the harmless service, and each of them
// differs at most in the value where that string belongs.
func FuzzRender(f *testing.F) {
	for _, s := range []string{"br0", "a\nb", "a\rb", "a#b", "a,b", `a"b`, `a\nb`, "é", "a b", "\x00"} {
		f.Add(s, "lan", "lan")
		f.Add("br0", s, "lan")
		f.Add("br0", "lan", s)
	}
	f.Fuzz(func(t *testing.T, network, domain, search string) {
		s := plainService()
		s.Network, s.Domain, s.Search = "NETWORK", "DOMAIN", []string{"SEARCH"}
		harmless, err := Render(s, files)
		if err != nil {
			t.Fatal(err)
		}
		s.Network, s.Domain, s.Search = network, domain, []string{search}
		got, err := Render(s, files)
		if err != nil || domain == "" {
			return
		}
		want := strings.NewReplacer("NETWORK", network, "DOMAIN", domain, "SEARCH", search).Replace(harmless)
		if got != want {
			t.Errorf("(-want +got)\n%s", cmp.Diff(want, got))
		}
		if strings.ContainsAny(network+domain+search, "\n\r#,\"\\ \x00/@%") {
			t.Errorf("accepted %q %q %q", network, domain, search)
		}
	})
}
