package dhcp

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// leaseFile is one that dnsmasq 2.90 wrote, and lines that it never would.
const leaseFile = `1700003600 00:16:3e:aa:bb:cc 10.0.0.5 c1 01:00:16:3e:aa:bb:cc
0 00:16:3E:AA:BB:CD 10.0.0.6 * *
1700003600 20-80:00:00:48:fe 10.0.0.7 ib *
duid 00:01:00:01:2c:e4:13:11:00:16:3e:00:00:01
1700003601 1052949676 fd42::5 c1 00:01:00:01:2c:e4:13:12:00:16:3e:aa:bb:cc
1700003602 T77 fd42::6 * 00:03:00:01:00:16:3e:aa:bb:cd
1700003603 78 fd42::7 * 00:04:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00

garbage
1700003600 00:16:3e:aa:bb:cc 10.0.0.999 c1 *
-5 00:16:3e:aa:bb:cc 10.0.0.8 c1 *
1700003600 nomac 10.0.0.8 c1 *
1700003600 00:16:3e:aa:bb:cc 10.0.0.8 c1 zz
1700003600 00:16:3e:aa:bb:cc fe80::1%eth0 c1 *
1700003600 00:16:3e:aa:bb:cc 10.0.0.8 c1 * too many
1700003600 00:16:3e:aa`

func TestParseLeases(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	a := netip.MustParseAddr
	want := []Lease{
		{at(1700003600), "00:16:3e:aa:bb:cc", a("10.0.0.5"), "c1", "01:00:16:3e:aa:bb:cc", 0},
		{time.Time{}, "00:16:3e:aa:bb:cd", a("10.0.0.6"), "", "", 0},
		{at(1700003600), "80:00:00:48:fe", a("10.0.0.7"), "ib", "", 0},
		{at(1700003601), "00:16:3e:aa:bb:cc", a("fd42::5"), "c1", "00:01:00:01:2c:e4:13:12:00:16:3e:aa:bb:cc", 1052949676},
		{at(1700003602), "00:16:3e:aa:bb:cd", a("fd42::6"), "", "00:03:00:01:00:16:3e:aa:bb:cd", 0},
		{at(1700003603), "", a("fd42::7"), "", "00:04:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00", 78},
	}
	if d := cmp.Diff(want, ParseLeases([]byte(leaseFile)), cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// TestCleanLeases holds that all that makes sense stays, and nothing else.
func TestCleanLeases(t *testing.T) {
	none := func(Lease) bool { return false }
	clean := CleanLeases([]byte(leaseFile), none)
	if d := cmp.Diff(ParseLeases([]byte(leaseFile)), ParseLeases(clean), cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	lines := strings.Split(string(clean), "\n")
	if len(lines) != 8 || lines[3] != "duid 00:01:00:01:2c:e4:13:11:00:16:3e:00:00:01" || lines[7] != "" {
		t.Errorf("%q", lines)
	}
	if again := CleanLeases(clean, none); string(again) != string(clean) {
		t.Errorf("%q becomes %q", clean, again)
	}
	rest := string(CleanLeases(clean, func(l Lease) bool { return l.Addr.Is4() || l.IAID == 78 }))
	if want := strings.Join(lines[3:6], "\n") + "\n"; rest != want {
		t.Errorf("%q, want %q", rest, want)
	}
	if id := hex.EncodeToString(ServerDUID(clean)); id != "000100012ce4131100163e000001" {
		t.Errorf("server %s", id)
	}
	if id := ServerDUID([]byte("0 00:16:3e:aa:bb:cd 10.0.0.6 * *\nduid zz\n")); id != nil {
		t.Errorf("server %x", id)
	}
}

func FuzzParseLeases(f *testing.F) {
	f.Add(leaseFile)
	for line := range strings.SplitSeq(leaseFile, "\n") {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		leases := ParseLeases([]byte(text))
		if n := strings.Count(text, "\n") + 1; len(leases) > n {
			t.Errorf("%d leases in %d lines", len(leases), n)
		}
		for _, l := range leases {
			if !l.Addr.IsValid() || strings.ContainsAny(l.MAC+l.Hostname+l.ClientID, " \n\t") {
				t.Errorf("lease %+v", l)
			}
			// What stands around a good line does not matter.
			if again := ParseLeases([]byte("x\n" + text + "\ny z")); len(again) != len(leases) {
				t.Errorf("%d leases, %d in bad company", len(leases), len(again))
			}
		}
	})
}
