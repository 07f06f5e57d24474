package netlink

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// A reader reads the kernel's state over a socket with strict checking
// (NETLINK_GET_STRICT_CHK), where the kernel heeds the filters of a dump
// instead of sending everything.
type reader struct{ sockets map[int]*nl.SocketHandle }

func newReader() (*reader, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1); err != nil {
		s.Close()
		return nil, err
	}
	return &reader{map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}}, nil
}

func (r *reader) close() {
	for _, s := range r.sockets {
		s.Close()
	}
}

// attempts is how often a dump is tried that a concurrent change made
// inconsistent.
const attempts = 10

// ask sends a request and calls each with the payload of every answer of
// type kind. It starts again, after calling reset, when a change made a dump
// inconsistent.
func (r *reader) ask(proto, flags int, kind uint16, reset func(), each func([]byte), data ...nl.NetlinkRequestData) error {
	var err error
	for range attempts {
		req := nl.NewNetlinkRequest(proto, flags)
		req.Sockets = r.sockets
		for _, d := range data {
			req.AddData(d)
		}
		reset()
		err = req.ExecuteIter(unix.NETLINK_ROUTE, kind, func(b []byte) bool { each(b); return true })
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	return err
}

// links reads all links with their addresses.
func (r *reader) links() (map[int]*entry, error) {
	all := map[int]*entry{}
	var perr error
	err := r.ask(unix.RTM_GETLINK, unix.NLM_F_DUMP, unix.RTM_NEWLINK, func() { clear(all) }, func(b []byte) {
		if e, err := parseLink(b); err != nil {
			perr = err
		} else {
			all[e.index] = e
		}
	}, nl.NewIfInfomsg(unix.AF_UNSPEC), noStats())
	if err = errors.Join(err, perr); err != nil {
		return nil, err
	}
	return all, r.addrs(0, all)
}

// link reads one link, or nil when there is none.
func (r *reader) link(index int) (*entry, error) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	return r.one(msg)
}

// named is link for the one called name.
func (r *reader) named(name string) (*entry, error) {
	return r.one(nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
}

func (r *reader) one(data ...nl.NetlinkRequestData) (*entry, error) {
	var e *entry
	var perr error
	err := r.ask(unix.RTM_GETLINK, unix.NLM_F_ACK, unix.RTM_NEWLINK, func() {}, func(b []byte) {
		e, perr = parseLink(b)
	}, append(data, noStats())...)
	if errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err = errors.Join(err, perr); err != nil || e == nil {
		return nil, err
	}
	all := map[int]*entry{e.index: e}
	if err := r.addrs(e.index, all); err != nil {
		if errors.Is(err, unix.ENODEV) {
			return nil, nil
		}
		return nil, err
	}
	r.peer(e)
	return e, nil
}

// peer looks at the other end of a veth of ours, without entering the
// namespace where it is.
func (r *reader) peer(e *entry) {
	if e.kind != link.Veth || !e.ours() || e.peerIndex == 0 {
		return
	}
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(e.peerIndex)
	data := []nl.NetlinkRequestData{msg, noStats()}
	if e.nsid >= 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, nl.Uint32Attr(uint32(e.nsid))))
	}
	// An end that cannot be looked at, as it is on its way elsewhere, stays
	// the zero peer.
	_ = r.ask(unix.RTM_GETLINK, unix.NLM_F_ACK, unix.RTM_NEWLINK, func() {}, func(b []byte) {
		if p, err := parseLink(b); err == nil {
			e.peer = peer{p.name, p.mac, p.mtu, p.group}
		}
	}, data...)
}

// alias reads the alias of the loopback interface of another namespace.
func (r *reader) alias(nsid int) (alias string, err error) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = loopback
	err = r.ask(unix.RTM_GETLINK, unix.NLM_F_ACK, unix.RTM_NEWLINK, func() {}, func(b []byte) {
		if e, err := parseLink(b); err == nil {
			alias = e.alias
		}
	}, msg, noStats(), nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, nl.Uint32Attr(uint32(nsid))))
	return alias, err
}

// loopback is the index of the loopback interface of every namespace.
const loopback = 1

// noStats asks for links without their counters.
func noStats() *nl.RtAttr {
	const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	return nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats))
}

// addrs reads the addresses of one link, or of all when index is 0.
func (r *reader) addrs(index int, into map[int]*entry) error {
	msg := nl.NewIfAddrmsg(unix.AF_UNSPEC)
	msg.Index = uint32(index)
	return r.ask(unix.RTM_GETADDR, unix.NLM_F_DUMP, unix.RTM_NEWADDR, func() {
		for _, e := range into {
			e.addrs = nil
		}
	}, func(b []byte) {
		if index, a, ok := parseAddr(b); ok && into[index] != nil {
			into[index].addrs = append(into[index].addrs, a)
		}
	}, msg)
}

// foreign reads the destinations in the main table, other than default and
// those with our or the kernel's protocol.
func (r *reader) foreign() ([]netip.Prefix, error) {
	var found []netip.Prefix
	err := r.ask(unix.RTM_GETROUTE, unix.NLM_F_DUMP, unix.RTM_NEWROUTE, func() { found = found[:0] }, func(b []byte) {
		rt, ok := parseRoute(b)
		if ok && rt.table == unix.RT_TABLE_MAIN && rt.protocol != link.Protocol && rt.protocol != unix.RTPROT_KERNEL && rt.dst.Bits() > 0 {
			found = append(found, rt.dst)
		}
	}, &nl.RtMsg{RtMsg: unix.RtMsg{Table: unix.RT_TABLE_MAIN}})
	slices.SortFunc(found, netip.Prefix.Compare)
	return slices.Compact(found), err
}

// settings reads a digest of the settings of each link, by index.
func (r *reader) settings() (map[int]uint64, error) {
	all := map[int]uint64{}
	err := r.ask(unix.RTM_GETLINK, unix.NLM_F_DUMP, unix.RTM_NEWLINK, func() { clear(all) }, func(b []byte) {
		index, conf := settingsOf(b)
		all[index] = conf
	}, nl.NewIfInfomsg(unix.AF_UNSPEC), noStats())
	return all, err
}

// settingsOf returns the index of the link that a message describes, and a
// digest of its settings: IFLA_INET_CONF and IFLA_INET6_CONF in
// IFLA_AF_SPEC hold what is below net/ipvN/conf.
func settingsOf(b []byte) (index int, digest uint64) {
	if len(b) < unix.SizeofIfInfomsg {
		return 0, 0
	}
	const inetConf, inet6Conf = 1, 2
	sum := fnv.New64a()
	for kind, spec := range attrs(b[unix.SizeofIfInfomsg:]) {
		if kind != unix.IFLA_AF_SPEC {
			continue
		}
		for family, values := range attrs(spec) {
			for kind, conf := range attrs(values) {
				if family == unix.AF_INET && kind == inetConf || family == unix.AF_INET6 && kind == inet6Conf {
					_, _ = sum.Write(conf)
				}
			}
		}
	}
	return int(int32(binary.NativeEndian.Uint32(b[4:8]))), sum.Sum64()
}

// A route is what we look at in one.
type route struct {
	dst      netip.Prefix
	oif      int
	table    uint32
	protocol byte
}

func parseRoute(b []byte) (route, bool) {
	if len(b) < unix.SizeofRtMsg || binary.NativeEndian.Uint32(b[8:])&unix.RTM_F_CLONED != 0 {
		return route{}, false
	}
	r := route{table: uint32(b[4]), protocol: b[5]}
	bits := int(b[1])
	dst := netip.IPv4Unspecified()
	if b[0] == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	attrs, err := nl.ParseRouteAttr(b[unix.SizeofRtMsg:])
	if err != nil {
		return route{}, false
	}
	for _, at := range attrs {
		switch at.Attr.Type {
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(at.Value)
		case unix.RTA_OIF:
			r.oif = int(binary.NativeEndian.Uint32(at.Value))
		case unix.RTA_TABLE:
			r.table = binary.NativeEndian.Uint32(at.Value)
		}
	}
	r.dst = netip.PrefixFrom(dst, bits)
	return r, r.dst.IsValid()
}
