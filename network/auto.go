package network

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// tries is how many random subnets of one block are looked at before the next.
const tries = 512

// FreeSubnet4 returns the first address of a random /24 of the private blocks
// (RFC 1918) that overlaps nothing in used: 10/8 first, then 172.16/12 and
// 192.168/16 for hosts with a route to all of 10/8.
func FreeSubnet4(r *rand.Rand, used []netip.Prefix) (netip.Prefix, error) {
	for _, block := range []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	} {
		base := block.Addr().As4()
		for range tries {
			subnet := r.Uint32N(1 << (24 - block.Bits()))
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(base[:])|subnet<<8|1)
			if p := netip.PrefixFrom(netip.AddrFrom4(a), 24); free(p, used) {
				return p, nil
			}
		}
	}
	return netip.Prefix{}, errors.New("no free IPv4 subnet found in 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16: set ipv4.address")
}

// FreeSubnet6 returns the first address of a random unique local /64 (RFC
// 4193) that overlaps nothing in used.
func FreeSubnet6(r *rand.Rand, used []netip.Prefix) (netip.Prefix, error) {
	for range tries {
		a := [16]byte{0: 0xfd, 1: 0x42, 15: 1}
		binary.BigEndian.PutUint16(a[2:], uint16(r.Uint32N(1<<16)))
		binary.BigEndian.PutUint32(a[4:], r.Uint32())
		if p := netip.PrefixFrom(netip.AddrFrom16(a), 64); free(p, used) {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("no free IPv6 subnet found in fd42::/16: set ipv6.address")
}

func free(p netip.Prefix, used []netip.Prefix) bool {
	return !slices.ContainsFunc(used, p.Overlaps)
}
