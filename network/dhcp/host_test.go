package dhcp

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func at(s string) netip.Addr { return netip.MustParseAddr(s) }

// someHosts are a host with everything, and hosts with less.
func someHosts() []Host {
	return []Host{
		{MAC: "02:00:00:00:00:01", Name: "web", V4: at("10.0.0.10"), V6: at("fd42::10")},
		{MAC: "02:00:00:00:00:02", Name: "ignore", V4: at("10.0.0.11")},
		{MAC: "02:00:00:00:00:03", Name: "infinite"},
		{MAC: "02:00:00:00:00:04"},
	}
}

func TestRenderHosts(t *testing.T) {
	for _, tt := range []struct {
		name         string
		change       func(*Service)
		known, names string
	}{
		{
			"managed", func(*Service) {},
			"02:00:00:00:00:01,10.0.0.10,web\n02:00:00:00:00:02,10.0.0.11,IGNORE\n02:00:00:00:00:03,INFINITE\n02:00:00:00:00:04\n",
			"10.0.0.10 web.netctl web\n10.0.0.11 ignore.netctl ignore\nfd42::10 web.netctl web\n",
		},
		{
			"stateful", func(s *Service) { s.V6.Stateful, s.Hosts = true, s.Hosts[:1] },
			"02:00:00:00:00:01,10.0.0.10,[fd42::10],web\n", "10.0.0.10 web.netctl web\nfd42::10 web.netctl web\n",
		},
		{
			"without DHCP", func(s *Service) { s.V4.DHCP, s.V6.DHCP, s.Hosts = false, false, s.Hosts[:1] },
			"02:00:00:00:00:01,web\n", "10.0.0.10 web.netctl web\nfd42::10 web.netctl web\n",
		},
		{
			"dynamic", func(s *Service) { s.DNSMode, s.Hosts = "dynamic", s.Hosts[:1] },
			"02:00:00:00:00:01,10.0.0.10\n", "10.0.0.10 web.netctl web\nfd42::10 web.netctl web\n",
		},
		{"without DNS", func(s *Service) { s.DNSMode, s.Hosts = "none", s.Hosts[:1] }, "02:00:00:00:00:01,10.0.0.10,web\n", ""},
		{
			"without a domain", func(s *Service) { s.Domain, s.Hosts = "", s.Hosts[1:2] },
			"02:00:00:00:00:02,10.0.0.11,IGNORE\n", "10.0.0.11 ignore\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := plainService()
			s.Hosts = someHosts()
			tt.change(&s)
			known, names, err := RenderHosts(s)
			if err != nil || known != tt.known || names != tt.names {
				t.Errorf("err %v\n%s", err, cmp.Diff(tt.known+"\n"+tt.names, known+"\n"+names))
			}
		})
	}
}

func TestRenderHostsRefuses(t *testing.T) {
	good := someHosts()[0]
	for _, tt := range []struct {
		change func(*Host)
		want   string
	}{
		{func(h *Host) { h.MAC = "02:00:00:00:00:01,ignore" }, `host "02:00:00:00:00:01,ignore": not a MAC address in lower case`},
		{func(h *Host) { h.MAC = "" }, `host "": not a MAC address in lower case`},
		{func(h *Host) { h.Name = "a\n10.0.0.1 b" }, `name "a\n10.0.0.1 b" must consist of`},
		{func(h *Host) { h.Name = "a,set:b" }, `name "a,set:b" must consist of`},
		{func(h *Host) { h.Name = "1h" }, `name "1h" must consist of`},
		{func(h *Host) { h.V4 = at("fd42::10") }, `"fd42::10" is not an IPv4 address`},
		{func(h *Host) { h.V6 = at("10.0.0.1") }, `"10.0.0.1" is not an IPv6 address`},
		{func(h *Host) { h.V6 = at("fe80::1%a\nb") }, `is not an IPv6 address`},
	} {
		s, h := plainService(), good
		tt.change(&h)
		s.Hosts = []Host{h}
		known, names, err := RenderHosts(s)
		if err == nil || known+names != "" || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q %q, err %v, want one with %s", known, names, err, tt.want)
		}
	}
}

// TestParseHosts holds that what is read is what was written, as far as it was.
func TestParseHosts(t *testing.T) {
	s := plainService()
	s.V6.Stateful, s.Hosts = true, someHosts()
	known, _, err := RenderHosts(s)
	if err != nil {
		t.Fatal(err)
	}
	want := someHosts()
	want[1].Name, want[2].Name = "IGNORE", "INFINITE"
	got := ParseHosts("garbage\n" + known + "02:00:00:00:00:09,a b\n02:00:00")
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// TestAddHosts holds that adding hosts makes what rendering all of them does,
// and that it changes none that is there.
func TestAddHosts(t *testing.T) {
	all, some := plainService(), plainService()
	all.Hosts, some.Hosts = someHosts(), someHosts()[2:]
	known, names, err := RenderHosts(some)
	if err != nil {
		t.Fatal(err)
	}
	wantKnown, wantNames, err := RenderHosts(all)
	if err != nil {
		t.Fatal(err)
	}
	gotKnown, gotNames, err := AddHosts(all, known, names)
	if err != nil || gotKnown != wantKnown || gotNames != wantNames {
		t.Errorf("err %v\n%s%s", err, gotKnown, gotNames)
	}
	other := plainService()
	other.Hosts = []Host{{MAC: "02:00:00:00:00:01", Name: "other", V4: at("10.0.0.99")}}
	if k, n, err := AddHosts(other, wantKnown, wantNames); err != nil || k != wantKnown || n != wantNames {
		t.Errorf("err %v\n%s%s", err, k, n)
	}
}

func TestReleased(t *testing.T) {
	lease := func(mac, addr, name string) Lease { return Lease{MAC: mac, Addr: at(addr), Hostname: name} }
	web4, web6 := lease("02:00:00:00:00:01", "10.0.0.10", "web"), lease("", "fd42::10", "web")
	leases := []Lease{web4, web6, lease("02:00:00:00:00:02", "10.0.0.77", "db"), lease("02:ff:00:00:00:01", "10.0.0.78", "web"), lease("", "fd42::77", "DB")}
	web := Host{MAC: "02:00:00:00:00:01", Name: "web", V4: at("10.0.0.10"), V6: at("fd42::10")}
	db := Host{MAC: "02:00:00:00:00:02", Name: "db"}
	moved, six, second := web, web, web
	moved.V4, six.V6, second.MAC = at("10.0.0.20"), netip.Addr{}, "02:00:00:00:00:03"
	second.V4, second.V6 = netip.Addr{}, netip.Addr{}
	for _, tt := range []struct {
		name       string
		have, want []Host
		released   []Lease
	}{
		{"nothing changes", []Host{web, db}, []Host{web, db}, nil},
		{"one comes", []Host{web}, []Host{web, db}, nil},
		{"one with addresses goes", []Host{web, db}, []Host{db}, []Lease{web4, web6}},
		{"one without goes", []Host{web, db}, []Host{web}, []Lease{leases[2], leases[4]}},
		{"a static address changes", []Host{web, db}, []Host{moved, db}, []Lease{web4}},
		{"a static address of IPv6 goes", []Host{web, db}, []Host{six, db}, []Lease{web6}},
		{"a NIC goes, another of the instance stays", []Host{web, second}, []Host{web}, nil},
		{"its address is another's now", []Host{web}, []Host{{MAC: db.MAC, Name: "db", V4: web.V4}}, []Lease{web4, web6}},
		{"nobody is known", nil, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Released(leases, tt.have, tt.want)
			if d := cmp.Diff(tt.released, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// FuzzRenderHosts holds that no name or MAC address can become another line or
// another word of its line.
func FuzzRenderHosts(f *testing.F) {
	for _, s := range []string{"web", "ignore", "infinite", "a\nb", "a,b", "a b", "tag:x", "set:x", "id:*", "1d", "12", "#", "*", "\x00", "é"} {
		f.Add("02:00:00:00:00:01", s)
		f.Add(s, "web")
	}
	f.Fuzz(func(t *testing.T, mac, name string) {
		s := plainService()
		s.Hosts = []Host{{MAC: mac, Name: name, V4: at("10.0.0.10")}}
		known, names, err := RenderHosts(s)
		if err != nil {
			return
		}
		words := strings.FieldsFunc(known, func(r rune) bool { return r == ',' || r == '\n' })
		ok := len(words) >= 2 && len(words) <= 3 && words[0] == mac && len(mac) == 17 && words[1] == "10.0.0.10"
		if name == "" {
			ok = ok && len(words) == 2 && names == ""
		} else {
			ok = ok && len(words) == 3 && strings.EqualFold(words[2], name) && words[2] != "ignore" && words[2] != "infinite" &&
				names == "10.0.0.10 "+name+".netctl "+name+"\n"
		}
		if !ok || strings.Count(known, "\n") != 1 || strings.ContainsAny(known, "*#:=\"\\ ") && strings.Trim(mac, "0123456789abcdefABCDEF:") != "" {
			t.Errorf("%q and %q become %q and %q", mac, name, known, names)
		}
	})
}
