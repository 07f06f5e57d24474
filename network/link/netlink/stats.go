package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	vnl "github.com/vishvananda/netlink"
	rtnl "github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// Stats reads one interface from the kernel, for display. It returns
// [ErrNotFound] when there is no such interface.
func (h *Host) Stats(name string) (link.Stats, error) {
	l, err := h.ops.LinkByName(name)
	if err != nil {
		if _, missing := errors.AsType[vnl.LinkNotFoundError](err); missing {
			return link.Stats{}, fmt.Errorf("interface %s: %w", name, ErrNotFound)
		}
		return link.Stats{}, fmt.Errorf("interface %s: %w", name, err)
	}
	a := l.Attrs()
	s := link.Stats{MAC: a.HardwareAddr.String(), MTU: a.MTU, Up: a.RawFlags&unix.IFF_UP != 0, Ports: []string{}}
	if a.Statistics != nil {
		s.RxBytes, s.TxBytes = a.Statistics.RxBytes, a.Statistics.TxBytes
		s.RxPackets, s.TxPackets = a.Statistics.RxPackets, a.Statistics.TxPackets
	}
	if err := h.addrStats(l, &s); err != nil {
		return s, fmt.Errorf("addresses of %s: %w", name, err)
	}
	if l.Type() == string(link.Bridge) {
		if err := bridgeStats(a.Index, &s); err != nil {
			return s, fmt.Errorf("bridge %s: %w", name, err)
		}
		if err := h.portStats(a.Index, &s); err != nil {
			return s, fmt.Errorf("ports of %s: %w", name, err)
		}
	}
	return s, nil
}

// ErrNotFound says that an interface does not exist.
var ErrNotFound = errors.New("no such interface")

func (h *Host) addrStats(l vnl.Link, s *link.Stats) error {
	addrs, err := h.ops.AddrList(l, vnl.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		s.Addrs = append(s.Addrs, link.Addr{Prefix: netip.PrefixFrom(ip.Unmap(), bits)})
	}
	return nil
}

// bridgeStats reads what the library does not tell of a bridge (IFLA_BR_* of
// linux/if_link.h).
func bridgeStats(index int, s *link.Stats) error {
	req := rtnl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	msg := rtnl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	replies, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return err
	}
	for _, b := range replies {
		info := attrsOf(b[unix.SizeofIfInfomsg:])[unix.IFLA_LINKINFO]
		for kind, v := range attrsOf(attrsOf(info)[rtnl.IFLA_INFO_DATA]) {
			switch {
			case kind == rtnl.IFLA_BR_BRIDGE_ID && len(v) == 8:
				s.BridgeID = fmt.Sprintf("%x.%x", v[:2], v[2:])
			case kind == rtnl.IFLA_BR_STP_STATE && len(v) == 4:
				s.STP = binary.NativeEndian.Uint32(v) != 0
			case kind == rtnl.IFLA_BR_FORWARD_DELAY && len(v) == 4:
				s.ForwardDelay = uint64(binary.NativeEndian.Uint32(v))
			case kind == rtnl.IFLA_BR_VLAN_FILTERING && len(v) == 1:
				s.VLANFilter = v[0] != 0
			case kind == rtnl.IFLA_BR_VLAN_DEFAULT_PVID && len(v) == 2:
				s.VLANDefault = uint64(binary.NativeEndian.Uint16(v))
			}
		}
	}
	return nil
}

// attrsOf returns the attributes in b by their type; those of a message that
// cannot be parsed are left out.
func attrsOf(b []byte) map[uint16][]byte {
	out := map[uint16][]byte{}
	attrs, err := rtnl.ParseRouteAttr(b)
	if err != nil {
		return out
	}
	for _, a := range attrs {
		out[a.Attr.Type&^unix.NLA_F_NESTED] = a.Value
	}
	return out
}

func (h *Host) portStats(bridge int, s *link.Stats) error {
	links, err := h.ops.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Attrs().MasterIndex == bridge {
			s.Ports = append(s.Ports, l.Attrs().Name)
		}
	}
	slices.Sort(s.Ports)
	return nil
}
