package netlink

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"

	rtnl "github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// present are the flags of an interface that is up and has a carrier: somebody
// has the tap open, or the other end of the veth is up.
const present = unix.IFF_UP | unix.IFF_LOWER_UP

// Traffic reads what has passed every interface, by name, with its MAC address
// and MTU and whether it is up and has a carrier, in one go. The rest of the
// Stats is left out.
func (h *Host) Traffic() (map[string]link.Stats, error) {
	req := rtnl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.AddData(rtnl.NewIfInfomsg(unix.AF_UNSPEC))
	replies, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, fmt.Errorf("interfaces: %w", err)
	}
	out := make(map[string]link.Stats, len(replies))
	for _, b := range replies {
		info := rtnl.DeserializeIfInfomsg(b)
		attrs := attrsOf(b[unix.SizeofIfInfomsg:])
		s := link.Stats{MAC: net.HardwareAddr(attrs[unix.IFLA_ADDRESS]).String(), Up: info.Flags&present == present}
		if v := attrs[unix.IFLA_MTU]; len(v) >= 4 {
			s.MTU = int(binary.NativeEndian.Uint32(v))
		}
		// struct rtnl_link_stats64 of linux/if_link.h
		if v := attrs[unix.IFLA_STATS64]; len(v) >= 32 {
			for i, n := range []*uint64{&s.RxPackets, &s.TxPackets, &s.RxBytes, &s.TxBytes} {
				*n = binary.NativeEndian.Uint64(v[8*i:])
			}
		}
		out[string(bytes.TrimRight(attrs[unix.IFLA_IFNAME], "\x00"))] = s
	}
	return out, nil
}
