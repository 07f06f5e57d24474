package config

import (
	"fmt"
	"strings"
	"testing"
)

// parses tries values of a type: "text => result" for those that it accepts,
// in the form that fmt gives the result, and "text ! error" for the others.
func parses[V any](typ Type[V], cases string) func(*testing.T) {
	return func(t *testing.T) {
		for line := range strings.Lines(strings.TrimSpace(cases)) {
			line = strings.TrimSpace(line)
			in, want, ok := strings.Cut(line, " => ")
			if !ok {
				in, want, _ = strings.Cut(line, " ! ")
			}
			v, err := typ.Parse(strings.TrimSpace(in))
			got := fmt.Sprint(v)
			if err != nil {
				got = err.Error()
			}
			if got != strings.TrimSpace(want) || ok != (err == nil) {
				t.Errorf("%s: got %q, %v; want %q", in, got, err, want)
			}
		}
	}
}

func TestTypes(t *testing.T) {
	t.Run("boolean", parses(boolean, `
		true => true
		Yes => true
		on => true
		1 => true
		false => false
		no => false
		OFF => false
		0 => false
		maybe ! not a boolean, want true or false
	`))
	t.Run("asn", parses(asn, `
		1 => 1
		65000 => 65000
		4294967294 => 4294967294
		0 ! not a number from 1 to 4294967294
		4294967295 ! not a number from 1 to 4294967294
		99999999999999999999 ! not a number from 1 to 4294967294
		-1 ! not a number from 1 to 4294967294
		+1 ! not a number from 1 to 4294967294
		0x10 ! not a number from 1 to 4294967294
		1_000 ! not a number from 1 to 4294967294
		1.10 ! not a number from 1 to 4294967294
		23456 ! reserved: it stands for AS numbers that do not fit into two octets
	`))
	t.Run("hold time", parses(holdTime, `
		0 => 0s
		9 => 9s
		180 => 3m0s
		65535 => 18h12m15s
		3 ! not 0 or a number from 9 to 65535
		8 ! not 0 or a number from 9 to 65535
		65536 ! not 0 or a number from 9 to 65535
		3m ! not 0 or a number from 9 to 65535
	`))
	t.Run("restart time", parses(seconds(1, 4095), `
		1 => 1s
		4095 => 1h8m15s
		0 ! not a number from 1 to 4095
		4096 ! not a number from 1 to 4095
	`))
	t.Run("lease time", parses(leaseTime, `
		1h => 1h0m0s
		120 => 2m0s
		120s => 2m0s
		45m => 45m0s
		2d => 48h0m0s
		1w => 168h0m0s
		infinite => 0s
		7101w => 1192968h0m0s
		7102w ! longer than the protocol can say; use infinite
		4294967295 ! longer than the protocol can say; use infinite
		9223372036854775807w ! longer than the protocol can say; use infinite
		99999999999999999999 ! not a number with unit s, m, h, d or w, or infinite
		119 ! shorter than two minutes
		1m ! shorter than two minutes
		0 ! shorter than two minutes
		h ! not a number with unit s, m, h, d or w, or infinite
		1h30m ! not a number with unit s, m, h, d or w, or infinite
		1.5h ! not a number with unit s, m, h, d or w, or infinite
		-1h ! not a number with unit s, m, h, d or w, or infinite
	`))
	t.Run("token time", parses(tokenTime, `
		1d => 24h0m0s
		30S => 30s
		1w 2d 3H 4M 5S => 219h4m5s
		52w => 8736h0m0s
		53w ! longer than 52w
		52w 1S ! longer than 52w
		9223372036854775807w ! longer than 52w
		0S ! no time at all
		1m ! not numbers with unit S, M, H, d or w, such as 1d 12H
		1y ! not numbers with unit S, M, H, d or w, such as 1d 12H
		60 ! not numbers with unit S, M, H, d or w, such as 1d 12H
		1d12H ! not numbers with unit S, M, H, d or w, such as 1d 12H
		d ! not numbers with unit S, M, H, d or w, such as 1d 12H
		1d é ! not numbers with unit S, M, H, d or w, such as 1d 12H
	`))
	t.Run("password", parses(md5Key, `
		s3cr=t! => s3cr=t!
		*** ! this is the mask of a password, and there is none to keep
		two words ! contains something else than printable ASCII without spaces
		pässword ! contains something else than printable ASCII without spaces
		`+strings.Repeat("x", 80)+` => `+strings.Repeat("x", 80)+`
		`+strings.Repeat("x", 81)+` ! longer than 80 bytes
	`))
	t.Run("mode", parses(oneOf("managed", "none"), `
		managed => managed
		Managed ! not one of managed, none
	`))
}

func TestAddressTypes(t *testing.T) {
	t.Run("next hop", parses(address(4), `
		192.0.2.1 => 192.0.2.1
		2001:db8::1 ! not an IPv4 address
		::ffff:192.0.2.1 ! not an IPv4 address
		0.0.0.0 ! the unspecified address
		0.0.0.1 ! the unspecified address
		127.0.0.1 ! a loopback address
		169.254.0.1 ! a link-local address
		224.0.0.1 ! a multicast address
		255.255.255.255 ! the broadcast address
		192.0.2.01 ! not an IPv4 address
		192.0.2.1/24 ! not an IPv4 address
		self ! not an IPv4 address
	`))
	t.Run("next hop 6", parses(address(6), `
		2001:DB8::1 => 2001:db8::1
		192.0.2.1 ! not an IPv6 address
		:: ! the unspecified address
		::1 ! a loopback address
		fe80::1 ! a link-local address
		fe80::1%eth0 ! an interface cannot be part of the address
		ff02::1 ! a multicast address
		::ffff:192.0.2.1 ! an IPv4-mapped address; write 192.0.2.1
	`))
	t.Run("peer", parses(peerAddress, `
		192.0.2.1 => 192.0.2.1:0
		192.0.2.1:1179 => 192.0.2.1:1179
		2001:db8::1 => [2001:db8::1]:0
		[2001:db8::1] => [2001:db8::1]:0
		[2001:db8::1]:1179 => [2001:db8::1]:1179
		127.0.0.1 => 127.0.0.1:0
		2001:db8::1:1179 => [2001:db8::1:1179]:0
		[192.0.2.1]:179 ! only an IPv6 address is written in brackets
		[2001:db8::1 ! missing ]
		[2001:db8::1]179 ! the port is not a number from 1 to 65535
		[2001:db8::1]: ! the port is not a number from 1 to 65535
		192.0.2.1: ! the port is not a number from 1 to 65535
		192.0.2.1:0 ! the port is not a number from 1 to 65535
		192.0.2.1:65536 ! the port is not a number from 1 to 65535
		192.0.2.1:bgp ! the port is not a number from 1 to 65535
		:179 ! not an IP address
		tor.example.net ! not an IP address
		fe80::1 ! a link-local address
		fe80::1%eth0 ! an interface cannot be part of the address
		0.0.0.0 ! the unspecified address
		::ffff:192.0.2.1 ! an IPv4-mapped address; write 192.0.2.1
	`))
	t.Run("listen", parses(listenAddress(BGPPort), `
		192.0.2.1 => 192.0.2.1:179
		192.0.2.1:1179 => 192.0.2.1:1179
		[2001:db8::1]:179 => [2001:db8::1]:179
		2001:db8::1 => [2001:db8::1]:179
		:179 => invalid AddrPort
		[::]:179 => invalid AddrPort
		:: => invalid AddrPort
		0.0.0.0:179 => 0.0.0.0:179
		127.0.0.1:179 => 127.0.0.1:179
		: ! the port is not a number from 1 to 65535
		*:179 ! not an IP address
		224.0.0.1 ! a multicast address
	`))
	t.Run("https", parses(listenAddress(HTTPSPort), `
		192.0.2.1 => 192.0.2.1:8443
		[::] => invalid AddrPort
		0.0.0.0:443 => 0.0.0.0:443
		host.example.net ! not an IP address
	`))
	t.Run("router id", parses(routerID, `
		192.0.2.1 => 192.0.2.1
		127.0.0.1 => 127.0.0.1
		0.0.0.0 ! the unspecified address
		224.0.0.5 ! a multicast address
		240.0.0.1 ! a reserved address
		2001:db8::1 ! not an IPv4 address
		65000 ! not an IPv4 address
	`))
}

func TestPrefixTypes(t *testing.T) {
	t.Run("bridge", parses(hostCIDR(4), `
		10.0.0.1/24 => 10.0.0.1/24
		10.0.0.0/31 => 10.0.0.0/31
		10.0.0.1/31 => 10.0.0.1/31
		10.0.0.1/32 => 10.0.0.1/32
		10.0.0.1/8 => 10.0.0.1/8
		none => invalid Prefix
		auto ! the address has not been chosen yet
		10.0.0.1/7 ! a subnet cannot be larger than /8
		10.0.0.0/24 ! 10.0.0.0 is the address of the subnet itself
		10.0.0.255/24 ! 10.0.0.255 is the broadcast address of the subnet
		10.0.0.1 ! not an IPv4 address with a prefix length, such as 10.0.0.1/24
		10.0.0.1/ ! the prefix length is not a number from 0 to 32
		10.0.0.1/33 ! the prefix length is not a number from 0 to 32
		10.0.0.1/024 ! the prefix length is not a number from 0 to 32
		10.0.0.1/255.255.255.0 ! the prefix length is not a number from 0 to 32
		2001:db8::1/64 ! not an IPv4 address with a prefix length, such as 10.0.0.1/24
		127.0.0.2/24 ! a loopback address
		169.254.1.1/16 ! a link-local address
		224.0.0.1/24 ! a multicast address
		0.0.0.1/8 ! the unspecified address
		255.255.255.255/32 ! the broadcast address
	`))
	t.Run("bridge 6", parses(hostCIDR(6), `
		2001:db8::1/64 => 2001:db8::1/64
		2001:db8::/127 => 2001:db8::/127
		2001:db8::/128 => 2001:db8::/128
		2001:db8::ffff:ffff:ffff:ffff/64 => 2001:db8::ffff:ffff:ffff:ffff/64
		2001:db8::/64 ! 2001:db8:: is the anycast address of the routers of the subnet
		2001:db8::1/8 ! a subnet cannot be larger than /16
		10.0.0.1/24 ! not an IPv6 address with a prefix length, such as 2001:db8::1/64
		::ffff:10.0.0.1/120 ! an IPv4-mapped address; write 10.0.0.1
		fe80::1/64 ! a link-local address
		fe80::1%br0/64 ! the prefix length is not a number from 0 to 128
		ff00::1/64 ! a multicast address
		::1/128 ! a loopback address
	`))
	t.Run("routes", parses(routes(4), `
		198.51.100.0/24 => [198.51.100.0/24]
		203.0.113.0/24,198.51.100.0/25 , 198.51.100.0/24, 203.0.113.0/24 => [198.51.100.0/24 198.51.100.0/25 203.0.113.0/24]
		198.51.100.1/32 => [198.51.100.1/32]
		198.51.100.1/24 ! "198.51.100.1/24": has bits set beyond its length; did you mean 198.51.100.0/24?
		198.51.100.0/24, ! "": not an IPv4 address with a prefix length, such as 10.0.0.1/24
		0.0.0.0/0 ! "0.0.0.0/0": the default route cannot lead to a bridge
		128.0.0.0/1 ! "128.0.0.0/1": overlaps 169.254.0.0/16, which is not routed
		224.0.0.0/8 ! "224.0.0.0/8": overlaps 224.0.0.0/4, which is not routed
		2001:db8::/32 ! "2001:db8::/32": not an IPv4 address with a prefix length, such as 10.0.0.1/24
	`))
	t.Run("routes 6", parses(routes(6), `
		2001:db8:1::/48 => [2001:db8:1::/48]
		fe80::/64 ! "fe80::/64": overlaps fe80::/10, which is not routed
		::ffff:0:0/96 ! "::ffff:0:0/96": an IPv4-mapped address; write 0.0.0.0
	`))
	t.Run("ranges", parses(ranges(4), `
		10.0.0.2-10.0.0.9 => [10.0.0.2-10.0.0.9]
		10.0.0.20 - 10.0.0.29, 10.0.0.2-10.0.0.9 => [10.0.0.2-10.0.0.9 10.0.0.20-10.0.0.29]
		10.0.0.2-10.0.0.2 => [10.0.0.2-10.0.0.2]
		10.0.0.2 ! "10.0.0.2": not a range first-last
		10.0.0.9-10.0.0.2 ! "10.0.0.9-10.0.0.2": ends before it starts
		10.0.0.2-9 ! "10.0.0.2-9": "9": not an IPv4 address
		10.0.0.2-2001:db8::1 ! "10.0.0.2-2001:db8::1": "2001:db8::1": not an IPv4 address
		10.0.0.2-10.0.0.9,10.0.0.9-10.0.0.20 ! 10.0.0.2-10.0.0.9 and 10.0.0.9-10.0.0.20 overlap
	`))
}

func TestNameTypes(t *testing.T) {
	t.Run("interfaces", parses(interfaces, `
		eth0 => [eth0]
		eth1, eth0,eth1 => [eth0 eth1]
		enp3s0f0.100 => [enp3s0f0.100]
		e => [e]
		lo ! "lo": this interface cannot be part of a bridge
		a/b ! "a/b": not an interface name
		.. ! "..": not an interface name
		eth0:1 ! "eth0:1": not an interface name
		eth%d ! "eth%d": not an interface name
		abcdefghijklmnop ! "abcdefghijklmnop": not an interface name of 1 to 15 characters
		eth0,, ! "": not an interface name of 1 to 15 characters
	`))
	label := strings.Repeat("a", 63)
	t.Run("DNS name", parses(dnsName, `
		netctl => netctl
		Example.COM => Example.COM
		1.10.in-addr.arpa => 1.10.in-addr.arpa
		`+label+` => `+label+`
		a`+label+` ! not a DNS name: each part has 1 to 63 letters, digits and inner hyphens
		`+strings.Repeat("abc.", 63)+`ab ! not a DNS name of 1 to 253 characters
		example.com. ! not a DNS name: each part has 1 to 63 letters, digits and inner hyphens
		a..b ! not a DNS name: each part has 1 to 63 letters, digits and inner hyphens
		-a ! not a DNS name: each part has 1 to 63 letters, digits and inner hyphens
		a-.b ! not a DNS name: each part has 1 to 63 letters, digits and inner hyphens
		a_b ! not a DNS name: each part has 1 to 63 letters, digits and inner hyphens
		a,b ! not a DNS name: each part has 1 to 63 letters, digits and inner hyphens
		münchen.de ! not a DNS name: each part has 1 to 63 letters, digits and inner hyphens
	`))
	t.Run("MAC", parses(macAddress, `
		02:00:5E:10:00:0a => 02:00:5e:10:00:0a
		02-00-5e-10-00-0a => 02:00:5e:10:00:0a
		01:00:5e:10:00:01 ! a multicast address
		ff:ff:ff:ff:ff:ff ! a multicast address
		00:00:00:00:00:00 ! the unspecified address
		02:00:5e:10:00 ! not a MAC address, such as 02:00:5e:10:00:01
		02:00:5e:10:00:0g ! not a MAC address, such as 02:00:5e:10:00:01
		0200:5e:10:00:01: ! not a MAC address, such as 02:00:5e:10:00:01
	`))
}

func TestText(t *testing.T) {
	for _, s := range []string{"dhcp-option=42,10.0.0.1\ndhcp-option=6,10.0.0.2\n", "# größer"} {
		if got, err := text.Parse(s); got != s || err != nil {
			t.Errorf("%q: got %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"a\x00b", "\xff"} {
		if _, err := text.Parse(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestValidateName(t *testing.T) {
	for _, name := range []string{"br0", "lxdbr0", "a1", "0a", "my-net_1.x", "abcdefghijklmno", "All"} {
		if err := ValidateName(name); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]string{
		"":                 "must have 2 to 15 characters",
		"a":                "must have 2 to 15 characters",
		"abcdefghijklmnop": "must have 2 to 15 characters",
		"..":               "the first must be a letter or digit",
		"-br":              "the first must be a letter or digit",
		"_br":              "the first must be a letter or digit",
		"br/0":             "only letters, digits",
		"br 0":             "only letters, digits",
		"br:0":             "only letters, digits",
		"br%d":             "only letters, digits",
		"br*":              "only letters, digits",
		"br\n0":            "only letters, digits",
		"brü":              "only letters, digits",
		"10":               "index of an interface",
		"lo":               "something else",
		"all":              "something else",
		"default":          "something else",
	} {
		if err := ValidateName(name); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("%q: got %v, want %q", name, err, want)
		}
	}
}
