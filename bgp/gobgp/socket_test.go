package gobgp

import (
	"testing"

	"golang.org/x/sys/unix"

	"netctl/bgp"
)

// TestTTLs reads back what the kernel was told of the TTLs of a session.
func TestTTLs(t *testing.T) {
	for _, tt := range []struct {
		name       string
		peer       bgp.Peer
		out, least int // 0 is what the kernel has of itself
	}{
		{"on the link", bgp.Peer{ASN: 65001}, 1, 0},
		{"of our own AS", bgp.Peer{ASN: 65000, Multihop: 3}, 0, 0},
		{"far away", bgp.Peer{ASN: 65001, Multihop: 3}, 3, 0},
		{"with TTL security", bgp.Peer{ASN: 65001, TTLSecurity: 254}, 255, 254},
	} {
		for _, v4 := range []bool{true, false} {
			family, level, hops, least := unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_MINHOPCOUNT
			if v4 {
				family, level, hops, least = unix.AF_INET, unix.IPPROTO_IP, unix.IP_TTL, unix.IP_MINTTL
			}
			fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			out, in := ttls(tt.peer, 65000)
			if err := setTTLs(fd, v4, out, in); err != nil {
				t.Error(err)
			}
			gotOut, err := unix.GetsockoptInt(fd, level, hops)
			if err != nil {
				t.Fatal(err)
			}
			gotLeast, err := unix.GetsockoptInt(fd, level, least)
			if err != nil {
				t.Fatal(err)
			}
			if tt.out > 0 && gotOut != tt.out || gotLeast != tt.least {
				t.Errorf("%s, IPv4 %t: sends with %d, takes from %d on; want %d and %d", tt.name, v4, gotOut, gotLeast, tt.out, tt.least)
			}
			_ = unix.Close(fd)
		}
	}
}
