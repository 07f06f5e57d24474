package netlink

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"iter"
	"net/netip"
	"slices"
	"strings"

	vnl "github.com/vishvananda/netlink"
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

// links reads all links with their addresses and our routes.
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
	if err := r.addrs(0, all); err != nil {
		return nil, err
	}
	return all, r.ownRoutes(0, all)
}

// link reads one link without its routes, or nil when there is none.
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
	return e, nil
}

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

// ownRoutes reads the routes with our protocol on one link, or on all when
// index is 0.
func (r *reader) ownRoutes(index int, into map[int]*entry) error {
	data := []nl.NetlinkRequestData{&nl.RtMsg{RtMsg: unix.RtMsg{Table: unix.RT_TABLE_MAIN, Protocol: link.Protocol}}}
	if index != 0 {
		data = append(data, nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))))
	}
	err := r.ask(unix.RTM_GETROUTE, unix.NLM_F_DUMP, unix.RTM_NEWROUTE, func() {
		for _, e := range into {
			e.routes = nil
		}
	}, func(b []byte) {
		rt, ok := parseRoute(b)
		if e := into[rt.oif]; ok && e != nil && rt.table == unix.RT_TABLE_MAIN && rt.protocol == link.Protocol {
			e.routes = append(e.routes, rt.dst)
		}
	}, data...)
	for _, e := range into {
		slices.SortFunc(e.routes, netip.Prefix.Compare)
		e.routes = slices.Compact(e.routes)
	}
	return err
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

// attrs iterates over attributes by type.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
			if n < unix.SizeofRtAttr || n > len(b) || !yield(kind&^unix.NLA_F_NESTED, b[unix.SizeofRtAttr:n]) {
				return
			}
			b = b[min(len(b), (n+3)&^3):]
		}
	}
}

func parseLink(b []byte) (*entry, error) {
	l, err := vnl.LinkDeserialize(nil, b)
	if err != nil {
		return nil, err
	}
	a := l.Attrs()
	e := &entry{
		index: a.Index, name: a.Name, alias: a.Alias, group: a.Group, master: a.MasterIndex,
		up: a.RawFlags&unix.IFF_UP != 0, carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
		mac: a.HardwareAddr.String(), mtu: a.MTU,
	}
	if k := l.Type(); k != "device" {
		e.kind = link.Kind(k)
	}
	if e.ours() {
		_, e.conf = settingsOf(b)
	}
	for _, n := range a.AltNames {
		if strings.HasPrefix(n, link.PortMark) {
			e.marks = append(e.marks, n)
		}
	}
	return e, nil
}

// parseAddr returns the address that a message describes, and whose it is.
func parseAddr(b []byte) (index int, a addr, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return 0, addr{}, false
	}
	family, bits, scope := b[0], int(b[1]), b[3]
	flags := uint32(b[2])
	var local, address netip.Addr
	attrs, err := nl.ParseRouteAttr(b[unix.SizeofIfAddrmsg:])
	if err != nil {
		return 0, addr{}, false
	}
	for _, at := range attrs {
		switch at.Attr.Type {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(at.Value)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(at.Value)
		case unix.IFA_FLAGS:
			flags = binary.NativeEndian.Uint32(at.Value)
		}
	}
	switch {
	case !local.IsValid():
		local = address
	case address.IsValid() && address != local: // point to point
		bits = local.BitLen()
	}
	a = addr{global: scope == unix.RT_SCOPE_UNIVERSE}
	a.Prefix = netip.PrefixFrom(local, bits)
	a.Dynamic = flags&unix.IFA_F_PERMANENT == 0
	a.Unusable = flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DEPRECATED|unix.IFA_F_DADFAILED) != 0
	// IPv4 uses the same bit for secondary addresses.
	a.Temporary = family == unix.AF_INET6 && flags&unix.IFA_F_TEMPORARY != 0
	return int(binary.NativeEndian.Uint32(b[4:8])), a, a.IsValid()
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
