package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"netctl/network/firewall"
)

// A moved forward is what it was and what it is; nil when it is gone.
type moved struct{ before, now *firewall.Forward }

// moves returns the forwards that may send elsewhere what they have sent.
func moves(before, now []*firewall.Forward) []moved {
	after, then := firewall.Config{Forwards: now}.Since(firewall.Config{Forwards: before})
	next := map[string]*firewall.Forward{}
	for _, p := range after {
		if f, ok := p.(*firewall.Forward); ok {
			next[f.Label()] = f
		}
	}
	var out []moved
	for _, p := range then {
		if f, ok := p.(*firewall.Forward); ok && f.Moves("udp", next[f.Label()]) {
			out = append(out, moved{f, next[f.Label()]})
		}
	}
	return out
}

// The messages and attributes of ctnetlink that nl does not have
// (linux/netfilter/nfnetlink_conntrack.h).
const (
	ctList   = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	ctDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2

	ctaFilter      = 25 // since Linux 5.8; others list everything
	ctaFilterOrig  = 1
	ctaFilterReply = 2
	filterIPDst    = 1 << 1
	filterProtocol = 1 << 3
)

// A flow is one that the kernel tracks.
type flow struct {
	listen netip.AddrPort // whom its first packet was for
	at     netip.AddrPort // who got it
	id     []byte         // CTA_ID
	tuple  []byte         // CTA_TUPLE_ORIG
}

// forget ends the flows of UDP that forwards have sent where they send them no
// more: the next packet of each begins another.
func (f *Firewall) forget(ctx context.Context, all []moved) error {
	if len(all) == 0 {
		return nil
	}
	by := make(map[netip.Addr]moved, len(all))
	families := map[uint8][]netip.Addr{}
	for _, m := range all {
		listen, family := m.before.Listen, uint8(unix.AF_INET)
		if listen.Is6() {
			family = unix.AF_INET6
		}
		by[listen] = m
		families[family] = append(families[family], listen)
	}
	var errs []error
	for family, listens := range families {
		flows, err := flowsTo(family, listens)
		errs = append(errs, err)
		for _, fl := range flows {
			m, ours := by[fl.listen.Addr()]
			if port := fl.listen.Port(); !ours || m.before.Sends("udp", port) != fl.at || m.now.Sends("udp", port) == fl.at {
				continue
			}
			f.log.LogAttrs(ctx, slog.LevelDebug, "firewall op", slog.String("op", fmt.Sprintf(
				"conntrack --delete --proto udp --orig-dst %s --orig-port-dst %d --reply-src %s", fl.listen.Addr(), fl.listen.Port(), fl.at.Addr())))
			errs = append(errs, fl.end(family))
		}
	}
	return errors.Join(errs...)
}

// flowsTo returns the flows of UDP to one of some addresses, and perhaps others.
func flowsTo(family uint8, listens []netip.Addr) ([]flow, error) {
	req := nl.NewNetlinkRequest(ctList, unix.NLM_F_DUMP)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	tuple, flags := nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_ORIG, nil), uint32(filterProtocol)
	if len(listens) == 1 && family == unix.AF_INET { // with IPv6 the kernel lists all but what matches
		flags |= filterIPDst
		tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil).AddRtAttr(nl.CTA_IP_V4_DST, listens[0].AsSlice())
	}
	tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil).AddRtAttr(nl.CTA_PROTO_NUM, []byte{unix.IPPROTO_UDP})
	req.AddData(tuple)
	filter := nl.NewRtAttr(unix.NLA_F_NESTED|ctaFilter, nil)
	filter.AddRtAttr(ctaFilterOrig, binary.NativeEndian.AppendUint32(nil, flags))
	filter.AddRtAttr(ctaFilterReply, make([]byte, 4))
	req.AddData(filter)
	msgs, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil, fmt.Errorf("conntrack: list: %w", err)
	}
	var out []flow
	for _, m := range msgs {
		if fl, ok := parseFlow(m); ok {
			out = append(out, fl)
		}
	}
	return out, nil
}

// end ends a flow. One that has ended is no error.
func (fl flow) end(family uint8) error {
	req := nl.NewNetlinkRequest(ctDelete, unix.NLM_F_ACK)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_ORIG, fl.tuple))
	req.AddData(nl.NewRtAttr(nl.CTA_ID, fl.id))
	if _, err := req.Execute(unix.NETLINK_NETFILTER, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("conntrack: delete a flow to %s: %w", fl.listen, err)
	}
	return nil
}

// parseFlow reads a message of ctnetlink; false if it is about no flow of UDP.
func parseFlow(b []byte) (fl flow, ok bool) {
	if len(b) < nfgenmsg {
		return fl, false
	}
	top := attributes(b[nfgenmsg:])
	fl.tuple, fl.id = top[nl.CTA_TUPLE_ORIG], top[nl.CTA_ID]
	orig, reply := attributes(fl.tuple), attributes(top[nl.CTA_TUPLE_REPLY])
	proto := attributes(orig[nl.CTA_TUPLE_PROTO])
	if num := proto[nl.CTA_PROTO_NUM]; len(num) != 1 || num[0] != unix.IPPROTO_UDP {
		return fl, false
	}
	var ok2 bool
	fl.listen, ok = end(orig, nl.CTA_IP_V4_DST, nl.CTA_IP_V6_DST, nl.CTA_PROTO_DST_PORT)
	fl.at, ok2 = end(reply, nl.CTA_IP_V4_SRC, nl.CTA_IP_V6_SRC, nl.CTA_PROTO_SRC_PORT)
	return fl, ok && ok2
}

// end returns one end of a tuple.
func end(tuple map[uint16][]byte, v4, v6, port uint16) (netip.AddrPort, bool) {
	ips, protos := attributes(tuple[nl.CTA_TUPLE_IP]), attributes(tuple[nl.CTA_TUPLE_PROTO])
	b, p := ips[v4], protos[port]
	if b == nil {
		b = ips[v6]
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok || len(p) != 2 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(p)), true
}

// attributes reads netlink attributes.
func attributes(b []byte) map[uint16][]byte {
	out := map[uint16][]byte{}
	for len(b) >= unix.SizeofNlAttr {
		n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if n < unix.SizeofNlAttr || n > len(b) {
			break
		}
		out[kind&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)] = b[unix.SizeofNlAttr:n]
		b = b[min(len(b), (n+3)&^3):]
	}
	return out
}
