package netlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"

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
			errs = append(errs, fmt.Errorf("%s%s: %w", whose(op), op, err))
			unmade[op.Dev] = unmade[op.Dev] || op.Verb == link.AddLink
			unaddressed[op.Dev] = unaddressed[op.Dev] || op.Verb == link.AddAddr
			unmarked[op.Port] = unmarked[op.Port] || op.Verb == link.MarkPort
			continue
		}
		done++
	}
	return done, errors.Join(errs...)
}

// whose starts an error about op.
func whose(op link.Op) string {
	switch op.Verb {
	case link.AddNamespace, link.MarkNamespace, link.DelNamespace:
		return "instance " + op.Owner + ": "
	default:
		return ownerPrefix(op.Owner)
	}
}

// ownerPrefix starts an error about a link or route of owner, which is empty
// for the host.
func ownerPrefix(owner string) string {
	instance, device, nic := strings.Cut(owner, "/")
	switch {
	case nic:
		return "instance " + instance + ": device " + device + ": "
	case owner != "":
		return "network " + owner + ": "
	}
	return ""
}

// touch notes that changes to what op is about are our doing, and marks links
// for being read again.
func (h *Host) touch(op link.Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch op.Verb {
	case link.AddRoute, link.SetRoute, link.DelRoute:
		h.own.touched[op.Route.Prefix] = true
		return
	case link.AddNamespace, link.MarkNamespace, link.DelNamespace:
		h.spaces.touched[op.Dev], h.spaces.stale[op.Dev] = true, true
		return
	default:
	}
	for _, name := range []string{op.Dev, op.Port} {
		if name == "" {
			continue
		}
		h.touched[name] = true
		if e := h.names[name]; e != nil {
			h.mark(e.index)
		}
	}
}

// one carries out a single operation.
func (h *Host) one(op link.Op) error {
	switch op.Verb {
	case link.AddNamespace, link.MarkNamespace, link.DelNamespace:
		return h.namespace(op)
	case link.AddLink:
		return h.addLink(op)
	case link.SetSysctl:
		return h.setSysctl(op.Sysctl)
	case link.MarkPort, link.AddPort, link.SetPortUp, link.ReleasePort, link.UnmarkPort:
		return h.port(op)
	case link.AddRoute, link.SetRoute, link.DelRoute:
		return h.route(op)
	case link.DelLink, link.DelIdle:
		return h.delLink(op)
	default:
		return h.change(op)
	}
}

// change carries out an operation that changes a link of ours.
func (h *Host) change(op link.Op) error {
	dev, err := h.find(op.Dev)
	if err != nil {
		return err
	}
	if !dev.ours() {
		return &TakenError{Name: op.Dev}
	}
	l := generic(dev)
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
	case link.SetMaster, link.DelMaster, link.SetPort:
		return h.bridgePort(op, l)
	case link.SetPeer:
		return h.setPeer(op)
	case link.SetRate, link.DelRate, link.AddRedirect, link.DelRedirect:
		return h.limit(op, dev)
	default:
		return fmt.Errorf("unknown operation %s", op)
	}
}

// generic is a link as the netlink package has it.
func generic(e *entry) vnl.Link {
	return &vnl.GenericLink{LinkAttrs: vnl.LinkAttrs{Index: e.index, Name: e.name}}
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
	e, err := h.read.named(name)
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
	var err error
	switch op.Kind {
	case link.Bridge:
		err = h.ops.LinkAdd(&vnl.Bridge{LinkAttrs: attrs})
	case link.IFB:
		err = supported(h.ops.LinkAdd(&vnl.Ifb{LinkAttrs: attrs}), "IFB interfaces (CONFIG_IFB)")
	case link.Veth:
		err = h.addVeth(attrs, op.Peer)
	case link.Tap:
		err = h.addTap(attrs, op.Tun)
	default:
		err = fmt.Errorf("unknown kind of link %q", op.Kind)
	}
	if err != nil {
		return err
	}
	_, err = h.again(op.Dev)
	return err
}

// supported explains an error that means that the kernel lacks something.
func supported(err error, what string) error {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the kernel of this host has no %s: %w", what, err)
	}
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
	if op.Verb == link.DelIdle && dev.tun.Open {
		return fmt.Errorf("tap %s is open: its user, group and queues can only change while nothing has it open", op.Dev)
	}
	return ignore(h.ops.LinkDel(generic(dev)), unix.ENODEV)
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
