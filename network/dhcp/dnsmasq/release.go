package dnsmasq

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netctl/network/dhcp"
)

// How long a dnsmasq may take to give up leases before it is replaced by one
// that never had them, and how often it is asked meanwhile.
const (
	releasePatience = time.Second
	releaseAgain    = 250 * time.Millisecond
	releaseLook     = 2 * time.Millisecond
)

// release has a process give up the leases that are nobody's any more when
// have were its hosts and those of v are: it is told so in the names of the
// clients, as dhcp_release(1) does. It returns whether they are gone from the
// file of leases.
func (s *Servers) release(ctx context.Context, p *proc, have []dhcp.Host, v *dhcp.Service) (done bool, err error) {
	path := s.files(filepath.Dir(p.conf)).Leases
	start := time.Now()
	for asked := (time.Time{}); ; {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
		leases := dhcp.Released(dhcp.ParseLeases(data), have, v.Hosts)
		if len(leases) == 0 {
			return true, nil
		}
		if time.Since(start) > releasePatience {
			return false, nil
		}
		if time.Since(asked) > releaseAgain {
			for _, l := range leases {
				s.op(ctx, p.network, "release", l.Addr.String())
			}
			if err := s.askRelease(ctx, v, leases, dhcp.ServerDUID(data)); err != nil {
				s.log.LogAttrs(ctx, slog.LevelDebug, "leases cannot be released",
					slog.String("network", v.Network), slog.Any("err", err))
				return false, nil
			}
			asked = time.Now()
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(releaseLook):
		}
	}
}

// askRelease sends what clients that give up leases would.
func (s *Servers) askRelease(ctx context.Context, v *dhcp.Service, leases []dhcp.Lease, server []byte) error {
	dialer := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		bind := func(fd uintptr) { err = unix.BindToDevice(int(fd), v.Network) }
		return errors.Join(c.Control(bind), os.NewSyscallError("setsockopt", err))
	}}
	for _, family := range []struct {
		network string
		to      netip.AddrPort
		message func(dhcp.Lease) []byte
		is4     bool
	}{
		{"udp4", netip.AddrPortFrom(v.V4.Address.Addr(), 67), func(l dhcp.Lease) []byte { return release4(l, v.V4.Address.Addr()) }, true},
		// RFC 8415, section 7.1: All_DHCP_Relay_Agents_and_Servers.
		{"udp6", netip.AddrPortFrom(netip.MustParseAddr("ff02::1:2").WithZone(v.Network), 547), func(l dhcp.Lease) []byte {
			return release6(l, v.V6.Address.Addr(), server)
		}, false},
	} {
		var conn net.PacketConn
		for _, l := range leases {
			if l.Addr.Is4() != family.is4 || family.is4 && !v.V4.Address.IsValid() || !family.is4 && !v.V6.Address.IsValid() {
				continue
			}
			if conn == nil {
				var err error
				if conn, err = dialer.ListenPacket(ctx, family.network, ":0"); err != nil {
					return err
				}
				defer func() { _ = conn.Close() }()
			}
			if _, err := conn.WriteTo(family.message(l), net.UDPAddrFromAddrPort(family.to)); err != nil {
				return fmt.Errorf("release %s: %w", l.Addr, err)
			}
		}
	}
	return nil
}

// release4 is a DHCPRELEASE (RFC 2131, section 4.4.6).
func release4(l dhcp.Lease, server netip.Addr) []byte {
	const (
		request, ethernet                       = 1, 1
		cookie                                  = 0x63825363
		optType, optServer, optClientID, optEnd = 53, 54, 61, 255
		typeRelease                             = 7
		ciaddr, chaddr, fixed                   = 12, 28, 236
	)
	mac := octets(l.MAC)
	b := make([]byte, fixed)
	b[0], b[1], b[2] = request, ethernet, byte(len(mac))
	copy(b[ciaddr:], l.Addr.AsSlice())
	copy(b[chaddr:chaddr+16], mac)
	b = binary.BigEndian.AppendUint32(b, cookie)
	b = append(b, optType, 1, typeRelease, optServer, 4)
	b = append(b, server.AsSlice()...)
	if id := octets(l.ClientID); len(id) > 0 {
		b = append(b, optClientID, byte(len(id)))
		b = append(b, id...)
	}
	return append(b, optEnd)
}

// release6 is a Release (RFC 8415, section 18.2.7) as a relay would forward it:
// of clients that are not behind one dnsmasq wants to know the MAC address,
// and waits half a second for it when they do not answer.
func release6(l dhcp.Lease, link netip.Addr, server []byte) []byte {
	const (
		typeRelease, typeRelay                                      = 8, 12
		optClientID, optServerID, optIANA, optAddr, optTime, optMsg = 1, 2, 3, 5, 8, 9
	)
	option := func(b []byte, code uint16, value []byte) []byte {
		b = binary.BigEndian.AppendUint16(b, code)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		return append(b, value...)
	}
	address := append(l.Addr.AsSlice(), make([]byte, 8)...) // and lifetimes
	iana := binary.BigEndian.AppendUint32(nil, l.IAID)
	iana = option(append(iana, make([]byte, 8)...), optAddr, address) // after T1 and T2
	msg := []byte{typeRelease, 0, 0, 1}
	msg = option(msg, optClientID, octets(l.ClientID))
	msg = option(msg, optServerID, server)
	msg = option(msg, optTime, []byte{0, 0})
	msg = option(msg, optIANA, iana)
	b := append([]byte{typeRelay, 0}, link.AsSlice()...)
	return option(append(b, l.Addr.AsSlice()...), optMsg, msg)
}

// octets reads what a lease has as hexadecimal with colons.
func octets(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil {
		return nil
	}
	return b
}
