package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// port carries out an operation on a foreign interface that is, or becomes, a
// port of a link of ours.
func (h *Host) port(op link.Op) error {
	p, err := h.again(op.Port)
	if err != nil {
		return err
	}
	l := generic(p)
	switch v := op.Verb; {
	case v == link.MarkPort:
		if err := h.free(p); err != nil {
			return err
		}
		return ignore(h.ops.LinkAddAltName(l, link.PortMark+p.name), unix.EEXIST)
	case v == link.UnmarkPort:
		for _, m := range p.marks {
			if err := h.ops.LinkDelAltName(l, m); err != nil {
				return err
			}
		}
		return nil
	case v == link.ReleasePort && h.mastered(p):
		return h.ops.LinkSetNoMaster(l)
	case v == link.ReleasePort:
		return nil
	}
	dev, err := h.find(op.Dev)
	switch {
	case err != nil:
		return err
	case op.Verb == link.AddPort:
		if p.master == dev.index {
			return nil
		}
		if err := h.free(p); err != nil {
			return err
		}
		return h.ops.LinkSetMasterByIndex(l, dev.index)
	case p.master != dev.index:
		return errors.New("not a port")
	}
	return h.ops.LinkSetUp(l)
}

// free reports why p cannot become a port: the host must not lose an
// interface that it uses itself.
func (h *Host) free(p *entry) error {
	for _, a := range p.addrs {
		if a.global {
			return fmt.Errorf("interface %s has the address %s: only an interface without addresses can be a port", p.name, a.Prefix)
		}
	}
	if p.master == 0 || h.mastered(p) {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if m := h.links[p.master]; m != nil {
		return fmt.Errorf("interface %s is a port of %s already, which is not ours", p.name, m.name)
	}
	return fmt.Errorf("interface %s is a port of another interface already, which is not ours", p.name)
}

// mastered reports whether p is a port of a link of ours.
func (h *Host) mastered(p *entry) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.links[p.master]
	return m != nil && m.ours()
}

// setMaster makes a link of ours a port of a bridge.
func (h *Host) setMaster(op link.Op, e *entry) error {
	bridge, err := h.find(op.Port)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", op.Port, err)
	}
	return h.ops.LinkSetMasterByIndex(generic(e), bridge.index)
}

// setPort has a bridge treat a port as op says.
func (*Host) setPort(op link.Op, e *entry) error {
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
	msg.Index = int32(e.index)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
	info.AddRtAttr(portIsolated, flag(op.Isolated))
	info.AddRtAttr(portHairpin, flag(op.Hairpin))
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// setWary keeps a bridge from learning what no filter has seen. A kernel that
// does not know the option passes over it.
func (*Host) setWary(_ link.Op, e *entry) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(e.index)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, nl.NonZeroTerminated(string(link.Bridge)))
	options := binary.NativeEndian.AppendUint32(nil, noLocalLearn)
	info.AddRtAttr(infoData, nil).AddRtAttr(bridgeOptions, binary.NativeEndian.AppendUint32(options, noLocalLearn))
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func flag(on bool) []byte {
	if on {
		return []byte{1}
	}
	return []byte{0}
}
