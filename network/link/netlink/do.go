package netlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// Do carries out operations. One that fails does not keep the others from
// being tried, except that nothing more is done on a link that could not be
// made, nor to a port that could not be marked as ours, and that the addresses
// of a link stay when a new one could not be added. The errors are joined; each
// names the network and the command.
func (h *Host) Do(ctx context.Context, ops []link.Op) error {
	defer h.settle()
	_, err := h.do(ctx, ops)
	return err
}

// do is Do that counts what succeeded.
func (h *Host) do(ctx context.Context, ops []link.Op) (done int, err error) {
	var errs []error
	unmade, unaddressed, unmarked := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, op := range ops {
		if err := ctx.Err(); err != nil {
			return done, errors.Join(append(errs, err)...)
		}
		if unmade[op.Dev] || unmarked[op.Port] || op.Verb == link.DelAddr && unaddressed[op.Dev] {
			continue
		}
		h.log.LogAttrs(ctx, slog.LevelDebug, "link op", slog.String("network", op.Owner), slog.String("op", op.String()))
		h.touch(op)
		if err := h.one(op); err != nil {
			if op.Owner == "" {
				errs = append(errs, fmt.Errorf("%s: %w", op, err))
			} else {
				errs = append(errs, fmt.Errorf("network %s: %s: %w", op.Owner, op, err))
			}
			unmade[op.Dev] = unmade[op.Dev] || op.Verb == link.AddLink
			unaddressed[op.Dev] = unaddressed[op.Dev] || op.Verb == link.AddAddr
			unmarked[op.Port] = unmarked[op.Port] || op.Verb == link.MarkPort
			continue
		}
		done++
	}
	return done, errors.Join(errs...)
}

// touch notes that changes to the links of op are our doing, and marks them
// for being read again.
func (h *Host) touch(op link.Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range []string{op.Dev, op.Port} {
		if name == "" {
			continue
		}
		h.touched[name] = true
		if e := h.names[name]; e != nil {
			h.mark(e.index, op.Verb == link.AddRoute || op.Verb == link.DelRoute)
		}
	}
}

// one carries out a single operation.
func (h *Host) one(op link.Op) error {
	switch op.Verb {
	case link.AddLink:
		return h.addLink(op)
	case link.SetSysctl:
		return h.setSysctl(op.Sysctl)
	case link.MarkPort, link.AddPort, link.SetPortUp, link.ReleasePort, link.UnmarkPort:
		return h.port(op)
	case link.DelLink:
		return h.delLink(op)
	case link.SetAlias, link.SetMAC, link.SetMTU, link.SetUp, link.AddAddr, link.DelAddr, link.AddRoute, link.DelRoute:
	}
	dev, err := h.find(op.Dev)
	if err != nil {
		return err
	}
	if !dev.ours() {
		return &TakenError{Name: op.Dev}
	}
	l := &vnl.GenericLink{LinkAttrs: vnl.LinkAttrs{Index: dev.index, Name: dev.name}}
	switch op.Verb {
	case link.SetAlias:
		return h.ops.LinkSetAlias(l, link.AliasPrefix+op.Owner)
	case link.SetMAC:
		mac, err := net.ParseMAC(op.MAC)
		if err != nil {
			return err
		}
		return h.ops.LinkSetHardwareAddr(l, mac)
	case link.SetMTU:
		return h.ops.LinkSetMTU(l, op.MTU)
	case link.SetUp:
		return h.ops.LinkSetUp(l)
	case link.AddAddr:
		return ignore(h.ops.AddrAdd(l, address(op.Prefix)), unix.EEXIST)
	case link.DelAddr:
		return ignore(h.ops.AddrDel(l, address(op.Prefix)), unix.EADDRNOTAVAIL)
	case link.AddRoute:
		return h.ops.RouteAdd(onLink(dev.index, op.Prefix))
	case link.DelRoute:
		return ignore(h.ops.RouteDel(onLink(dev.index, op.Prefix)), unix.ESRCH)
	case link.AddLink, link.SetSysctl, link.MarkPort, link.AddPort, link.SetPortUp, link.ReleasePort, link.UnmarkPort, link.DelLink:
	}
	return fmt.Errorf("unknown operation %s", op)
}

// find returns the link called name as the kernel has it now.
func (h *Host) find(name string) (*entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.names[name]; e != nil {
		return e, nil
	}
	return h.named(name)
}

// named reads the link called name.
func (h *Host) named(name string) (*entry, error) {
	e, err := h.complete(h.read.named(name))
	if err != nil {
		return nil, err
	}
	// The kernel finds it by an alternative name too.
	if e == nil || e.name != name {
		return nil, errors.New("no such interface")
	}
	h.set(e.index, e)
	return e, nil
}

// again is find that does not trust the picture.
func (h *Host) again(name string) (*entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.named(name)
}

func (h *Host) addLink(op link.Op) error {
	attrs := vnl.LinkAttrs{Name: op.Dev, MTU: op.MTU, Group: link.Group, TxQLen: -1}
	if op.MAC != "" {
		mac, err := net.ParseMAC(op.MAC)
		if err != nil {
			return err
		}
		attrs.HardwareAddr = mac
	}
	if op.Kind != link.Bridge {
		return fmt.Errorf("unknown kind of link %q", op.Kind)
	}
	if err := h.ops.LinkAdd(&vnl.Bridge{LinkAttrs: attrs}); err != nil {
		return err
	}
	_, err := h.again(op.Dev)
	return err
}

func (h *Host) setSysctl(s link.Sysctl) error {
	err := writeSysctl(s.Key, s.Value)
	h.mu.Lock()
	defer h.mu.Unlock()
	if hostWide(s.Key) {
		clear(h.sysctls) // the kernel has written others with it
		clear(h.matches)
		h.lost = true
	} else {
		delete(h.sysctls[device(s.Key)], s.Key)
		delete(h.matches, device(s.Key))
	}
	return err
}

// hostWide reports whether writing key changes other settings too.
func hostWide(key string) bool {
	return key == forward6 || key == "net/ipv4/ip_forward" || key == "net/ipv4/conf/all/forwarding"
}

// delLink deletes a link that is ours still.
func (h *Host) delLink(op link.Op) error {
	dev, err := h.again(op.Dev)
	if err != nil {
		return err
	}
	if !dev.ours() {
		return &TakenError{Name: op.Dev}
	}
	return ignore(h.ops.LinkDel(&vnl.GenericLink{LinkAttrs: vnl.LinkAttrs{Index: dev.index, Name: dev.name}}), unix.ENODEV)
}

// address is p as the netlink package has it. IPv6 addresses are usable at
// once, without duplicate address detection.
func address(p netip.Prefix) *vnl.Addr {
	a := &vnl.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// onLink is a route to p through a link.
func onLink(index int, p netip.Prefix) *vnl.Route {
	r := &vnl.Route{LinkIndex: index, Dst: ipNet(p), Protocol: link.Protocol, Table: unix.RT_TABLE_MAIN}
	if p.Addr().Is4() {
		r.Scope = vnl.SCOPE_LINK
	}
	return r
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// ignore turns errors into success that mean that it was done already.
func ignore(err error, those ...error) error {
	if slices.ContainsFunc(those, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return err
}
