package dataplane_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"golang.org/x/sys/unix"
)

// Listen opens a socket that hears every frame that comes in through an
// interface.
func (a *Agent) Listen(dev string, _ *struct{}) error {
	fd, err := packetSocket(dev)
	if err != nil {
		return err
	}
	if a.heard == nil {
		a.heard = map[string]int{}
	}
	a.heard[dev] = fd
	return nil
}

func packetSocket(dev string) (fd int, err error) {
	ifi, err := net.InterfaceByName(dev)
	if err != nil {
		return 0, err
	}
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		return 0, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index}); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	tv := unix.Timeval{Sec: 5}
	return fd, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }

// Hear returns what has come in through an interface before a frame, and that
// frame, which it waits for.
func (a *Agent) Hear(args struct {
	Dev   string
	Until []byte
}, frames *[][]byte,
) error {
	*frames = [][]byte{}
	for b := make([]byte, 2048); ; {
		n, from, err := unix.Recvfrom(a.heard[args.Dev], b, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: after %d frames: %w", args.Dev, len(*frames), err)
		}
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		*frames = append(*frames, bytes.Clone(b[:n]))
		if bytes.HasPrefix(b[:n], args.Until) {
			return nil
		}
	}
}

// Send sends frames through an interface, in order.
func (a *Agent) Send(args struct {
	Dev    string
	Frames [][]byte
}, _ *struct{},
) error {
	fd, err := packetSocket(args.Dev)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	// Frames that are sent from several processors may overtake each other.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	for _, f := range args.Frames {
		if _, err := unix.Write(fd, f); err != nil {
			return err
		}
	}
	return nil
}

// The types of frames.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
)

var everybody = mac("ff:ff:ff:ff:ff:ff")

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// ether is a frame (IEEE 802.3) of at least the smallest size.
func ether(dst, src net.HardwareAddr, typ uint16, payload []byte) []byte {
	b := append(append([]byte{}, dst...), src...)
	b = append(binary.BigEndian.AppendUint16(b, typ), payload...)
	return append(b, make([]byte, max(0, 60-len(b)))...)
}

// arp is a packet of ARP (RFC 826).
func arp(op uint16, senderMAC net.HardwareAddr, sender netip.Addr, targetMAC net.HardwareAddr, target netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(append(b, senderMAC...), sender.AsSlice()...)
	return append(append(b, targetMAC...), target.AsSlice()...)
}

// ip is a packet of either family.
func ip(src, dst netip.Addr, proto byte, payload []byte) []byte {
	if src.Is6() {
		b := []byte{0x60, 0, 0, 0}
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
		b = append(append(b, proto, 255), src.AsSlice()...)
		return append(append(b, dst.AsSlice()...), payload...)
	}
	b := []byte{0x45, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(payload)))
	b = append(b, 0, 0, 0, 0, 64, proto, 0, 0)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return append(b, payload...)
}

// udp is a datagram without a checksum.
func udp(from, to uint16, payload string) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// nd is a message of neighbour discovery (RFC 4861 section 4): for 133 a router
// solicitation, else with a target; with an option when link is there.
func nd(typ byte, target netip.Addr, option byte, link net.HardwareAddr) []byte {
	b := []byte{typ, 0, 0, 0, 0, 0, 0, 0}
	if target.IsValid() {
		b = append(b, target.AsSlice()...)
	}
	if link != nil {
		b = append(append(b, option, 1), link...)
	}
	return b
}
