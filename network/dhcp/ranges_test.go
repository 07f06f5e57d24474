package dhcp

import (
	"net/netip"
	"slices"
	"testing"

	"go4.org/netipx"
	"pgregory.net/rapid"
)

func TestLeasable(t *testing.T) {
	for _, tt := range []struct {
		address string
		ranges  []string
		want    []string
		size    int
	}{
		{"10.0.0.1/24", nil, []string{"10.0.0.2-10.0.0.254"}, 253},
		{"10.0.0.254/24", nil, []string{"10.0.0.1-10.0.0.253"}, 253},
		{"10.0.0.9/24", nil, []string{"10.0.0.1-10.0.0.8", "10.0.0.10-10.0.0.254"}, 253},
		{"10.0.0.1/30", nil, []string{"10.0.0.2-10.0.0.2"}, 1},
		{"10.0.0.1/31", nil, []string{"10.0.0.0-10.0.0.0"}, 1},
		{"10.0.0.1/32", nil, nil, 0},
		{"10.0.0.1/8", nil, []string{"10.0.0.2-10.255.255.254"}, maxLeases},
		{"10.0.0.1/24", []string{"10.0.0.0-10.0.0.9", "10.0.0.250-10.0.1.9"}, []string{"10.0.0.2-10.0.0.9", "10.0.0.250-10.0.0.254"}, 13},
		{"10.0.0.1/24", []string{"192.0.2.1-192.0.2.9"}, nil, 0},
		{"fd42::1/64", nil, []string{"fd42::2-fd42::ffff:ffff:ffff:ffff"}, maxLeases},
		{"fd42::1/120", nil, []string{"fd42::2-fd42::ff"}, 254},
		{"fd42:0:0:5::7/48", nil, []string{"fd42:0:0:5::1-fd42:0:0:5::6", "fd42:0:0:5::8-fd42::5:ffff:ffff:ffff:ffff"}, maxLeases},
		{"fd42::1/127", nil, []string{"fd42::-fd42::"}, 1},
	} {
		t.Run(tt.address, func(t *testing.T) {
			f := Family{Address: prefix(tt.address), Ranges: ranges(tt.ranges...)}
			got := f.leasable()
			if !slices.Equal(got, ranges(tt.want...)) {
				t.Errorf("leasable %v, want %v", got, tt.want)
			}
			if n := size(got); n != tt.size {
				t.Errorf("size %d, want %d", n, tt.size)
			}
		})
	}
}

// TestLeasableNever holds that no range has an address that nobody may lease.
func TestLeasableNever(t *testing.T) {
	v4 := rapid.Custom(func(t *rapid.T) netip.Addr {
		return netip.AddrFrom4([4]byte{10, 0, rapid.Byte().Draw(t, "c"), rapid.Byte().Draw(t, "d")})
	})
	rapid.Check(t, func(t *rapid.T) {
		f := Family{Address: netip.PrefixFrom(v4.Draw(t, "address"), rapid.IntRange(20, 32).Draw(t, "bits"))}
		for range rapid.IntRange(0, 3).Draw(t, "ranges") {
			if r := netipx.IPRangeFrom(v4.Draw(t, "from"), v4.Draw(t, "to")); r.IsValid() {
				f.Ranges = append(f.Ranges, r)
			}
		}
		subnet := f.Address.Masked()
		n := 0
		for _, r := range f.leasable() {
			for a := r.From(); ; a = a.Next() {
				n++
				broadcast := subnet.Bits() < 31 && (a == subnet.Addr() || a == netipx.PrefixLastIP(subnet))
				if !subnet.Contains(a) || a == f.Address.Addr() || broadcast {
					t.Fatalf("%v leases %s", f, a)
				}
				if a == r.To() {
					break
				}
			}
		}
		if got := size(f.leasable()); got != n {
			t.Fatalf("size %d, want %d", got, n)
		}
	})
}
