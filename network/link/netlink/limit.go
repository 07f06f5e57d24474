package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	vnl "github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// rates are what was found of the limits of a link.
type rates struct {
	shape   link.Shape // of what it sends; zero for no discipline of ours
	ingress bool       // it has a discipline for what it receives
	marked  bool       // what it receives is redirected by us
	toward  int        // the index of the link that it is redirected to
}

// The marks of what limits a link: the handle of the discipline for what it
// sends, and the priority of the filter that redirects what it receives.
const (
	rateHandle       = link.RateHandle << 16
	redirectPriority = link.RateHandle
)

// limits returns the limits of e as far as they are as w has them, and others
// where they are not.
func (h *Host) limits(e *entry, w *link.Link) (*link.Limits, error) {
	if e.kind != link.Veth && e.kind != link.Tap && e.kind != link.IFB {
		return nil, nil
	}
	is, ok := h.rates[e.index]
	if !ok {
		var err error
		if is, err = h.read.rates(e); err != nil {
			return nil, fmt.Errorf("read limits of %s: %w", e.name, err)
		}
		h.rates[e.index] = is
	}
	var want link.Limits
	if w.Limits != nil {
		want = *w.Limits
	}
	var out link.Limits
	switch {
	case want.Out > 0 && is.shape == link.ShapeOf(want.Out):
		out.Out = want.Out
	case is.shape.Rate > 0:
		out.Out = other(want.Out)
	}
	switch ifb := h.names[link.IFBName(e.name)]; {
	case !is.marked:
	case want.In == 0:
		out.In = other(0)
	case ifb != nil && ifb.index == is.toward:
		out.In = want.In
	}
	if out == (link.Limits{}) {
		return nil, nil
	}
	return &out, nil
}

// other is a rate that is not the one that is wanted.
func other(rate uint64) uint64 {
	if rate == 1 {
		return 2
	}
	return 1
}

// rates reads what limits a link.
func (r *reader) rates(e *entry) (rates, error) {
	var is rates
	if e.qdisc == "tbf" {
		root, err := r.qdisc(e.index, vnl.HANDLE_ROOT)
		if err != nil {
			return is, err
		}
		is.shape = root.shape()
	}
	if e.kind == link.IFB {
		return is, nil
	}
	in, err := r.qdisc(e.index, vnl.HANDLE_INGRESS)
	if is.ingress = in.kind == "ingress"; err != nil || !is.ingress {
		return is, err
	}
	is.marked, is.toward, err = r.redirect(e.index)
	return is, err
}

// A qdisc is a queueing discipline.
type qdisc struct {
	handle, parent uint32
	kind           string
	options        []byte
}

func parseQdisc(b []byte) qdisc {
	q := qdisc{handle: binary.NativeEndian.Uint32(b[8:]), parent: binary.NativeEndian.Uint32(b[12:])}
	for kind, v := range attrs(b[nl.SizeofTcMsg:]) {
		switch kind {
		case nl.TCA_KIND:
			q.kind = text(v)
		case nl.TCA_OPTIONS:
			q.options = slices.Clone(v)
		}
	}
	return q
}

// shape is that of a discipline of ours, zero of others.
func (q qdisc) shape() link.Shape {
	if q.handle != rateHandle || q.kind != "tbf" {
		return link.Shape{}
	}
	return parseShape(q.options)
}

// qdisc reads one queueing discipline of a link; the zero qdisc is none. The
// kernel answers a single question only with an echo of what it then tells to
// everybody who listens, which is us too: see noteQueue.
func (r *reader) qdisc(index int, parent uint32) (q qdisc, err error) {
	err = r.ask(unix.RTM_GETQDISC, unix.NLM_F_ACK|unix.NLM_F_ECHO, unix.RTM_NEWQDISC, func() {}, func(b []byte) {
		if len(b) >= nl.SizeofTcMsg {
			q = parseQdisc(b)
		}
	}, &nl.TcMsg{Ifindex: int32(index), Parent: parent})
	return q, ignore(err, unix.ENOENT, unix.EINVAL, unix.EOPNOTSUPP, unix.ENODEV)
}

// Attributes of linux/pkt_sched.h and linux/pkt_cls.h.
const (
	tbfParms, tbfRate64, tbfBurst = 1, 4, 6
	ingressHandle                 = 0xffff0000
)

// parseShape returns the shape that a token bucket filter has (struct
// tc_tbf_qopt). The kernel tells its burst as the time that it takes.
func parseShape(b []byte) link.Shape {
	var s link.Shape
	var rate64 uint64
	var limit uint32
	for kind, v := range attrs(b) {
		switch {
		case kind == tbfParms && len(v) >= 36:
			s.Rate, limit = uint64(binary.NativeEndian.Uint32(v[8:])), binary.NativeEndian.Uint32(v[24:])
		case kind == tbfRate64 && len(v) >= 8:
			rate64 = binary.NativeEndian.Uint64(v)
		}
	}
	if rate64 > 0 {
		s.Rate = rate64
	}
	// The queue depends on the burst, which is not compared by itself.
	if want := link.ShapeOf(s.Rate * 8); want.Queue == limit {
		return want
	}
	s.Queue = limit
	return s
}

// redirect reads where a filter of ours redirects what a link receives.
func (r *reader) redirect(index int) (marked bool, toward int, err error) {
	err = r.ask(unix.RTM_GETTFILTER, unix.NLM_F_DUMP, unix.RTM_NEWTFILTER, func() { marked, toward = false, 0 }, func(b []byte) {
		if len(b) < nl.SizeofTcMsg || binary.NativeEndian.Uint32(b[16:])>>16 != redirectPriority {
			return
		}
		marked = true
		for kind, v := range attrs(b[nl.SizeofTcMsg:]) {
			if kind == nl.TCA_OPTIONS {
				toward = max(toward, mirredTo(v))
			}
		}
	}, &nl.TcMsg{Ifindex: int32(index), Parent: ingressHandle})
	return marked, toward, ignore(err, unix.EINVAL, unix.ENODEV)
}

// mirredTo returns the link that a u32 filter redirects to (struct tc_mirred).
func mirredTo(options []byte) (index int) {
	const u32Act, actOptions, mirredParms, ifindex = 7, 2, 2, 24
	for kind, acts := range attrs(options) {
		if kind != u32Act {
			continue
		}
		for _, act := range attrs(acts) {
			for kind, v := range attrs(act) {
				if kind != actOptions {
					continue
				}
				for kind, v := range attrs(v) {
					if kind == mirredParms && len(v) >= ifindex+4 {
						index = int(binary.NativeEndian.Uint32(v[ifindex:]))
					}
				}
			}
		}
	}
	return index
}

// noteQueue notes that disciplines or filters of a link have changed, unless
// the notification says what is known, as one to which reading them has led.
func (h *Host) noteQueue(kind uint16, b []byte) {
	if len(b) < nl.SizeofTcMsg {
		return
	}
	index := int(int32(binary.NativeEndian.Uint32(b[4:])))
	e := h.links[index]
	if e == nil || !e.ours() {
		return
	}
	is, known := h.rates[index]
	if kind == unix.RTM_NEWQDISC && known {
		switch q := parseQdisc(b); {
		case q.parent == vnl.HANDLE_ROOT && q.kind == e.qdisc && q.shape() == is.shape:
			return
		case q.parent == vnl.HANDLE_INGRESS && is.ingress:
			return
		}
	}
	h.mark(index)
	delete(h.rates, index)
	h.matches.drop(e)
	h.news = h.news || known && !h.touched[e.name]
}

// setRate shapes what a link sends. A discipline of the same kind is changed in
// its place, without losing what waits in it.
func (*Host) setRate(op link.Op, e *entry) error {
	s := link.ShapeOf(op.Rate)
	req := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
	req.AddData(&nl.TcMsg{Ifindex: int32(e.index), Handle: rateHandle, Parent: vnl.HANDLE_ROOT})
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("tbf")))
	var parms [36]byte
	binary.NativeEndian.PutUint32(parms[8:], uint32(min(s.Rate, 1<<32-1)))
	binary.NativeEndian.PutUint32(parms[24:], s.Queue)
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(tbfParms, parms[:])
	options.AddRtAttr(tbfBurst, nl.Uint32Attr(s.Burst))
	if s.Rate >= 1<<32 {
		options.AddRtAttr(tbfRate64, nl.Uint64Attr(s.Rate))
	}
	req.AddData(options)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return supported(err, "token bucket filters (CONFIG_NET_SCH_TBF)")
}

// delRate lets a link send as much as it can.
func (h *Host) delRate(_ link.Op, e *entry) error {
	root := vnl.QdiscAttrs{LinkIndex: e.index, Handle: rateHandle, Parent: vnl.HANDLE_ROOT}
	return ignore(h.ops.QdiscDel(&vnl.Tbf{QdiscAttrs: root}), unix.ENOENT, unix.EINVAL)
}

// addRedirect sends what a link receives through an IFB.
func (h *Host) addRedirect(op link.Op, e *entry) error {
	ifb, err := h.find(op.Port)
	if err != nil {
		return fmt.Errorf("interface %s: %w", op.Port, err)
	}
	if err := h.ops.QdiscAdd(ingress(e.index)); err != nil && !errors.Is(err, unix.EEXIST) {
		return supported(err, "ingress queueing (CONFIG_NET_SCH_INGRESS)")
	}
	if err := h.delFilter(e.index); err != nil {
		return err
	}
	return supported(h.ops.FilterAdd(&vnl.U32{FilterAttrs: redirectFilter(e.index), RedirIndex: ifb.index}),
		"u32 filters with mirred actions (CONFIG_NET_CLS_U32, CONFIG_NET_ACT_MIRRED)")
}

func ingress(index int) *vnl.Ingress {
	return &vnl.Ingress{QdiscAttrs: vnl.QdiscAttrs{LinkIndex: index, Handle: ingressHandle, Parent: vnl.HANDLE_INGRESS}}
}

func redirectFilter(index int) vnl.FilterAttrs {
	return vnl.FilterAttrs{LinkIndex: index, Parent: ingressHandle, Priority: redirectPriority, Protocol: unix.ETH_P_ALL}
}

func (h *Host) delFilter(index int) error {
	return ignore(h.ops.FilterDel(&vnl.U32{FilterAttrs: redirectFilter(index)}), unix.ENOENT, unix.EINVAL)
}

// delRedirect undoes addRedirect, and leaves filters of others alone.
func (h *Host) delRedirect(_ link.Op, e *entry) error {
	if err := h.delFilter(e.index); err != nil {
		return err
	}
	left, err := h.ops.FilterList(generic(e), ingressHandle)
	if err != nil || len(left) > 0 {
		return err
	}
	return ignore(h.ops.QdiscDel(ingress(e.index)), unix.ENOENT, unix.EINVAL)
}
