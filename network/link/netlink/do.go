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
	"time"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
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
	_, err := h.do(ctx, ops, func() {})
	return err
}

// do is Do that counts what succeeded. Before is called before everything that
// takes something down.
func (h *Host) do(ctx context.Context, ops []link.Op, before func()) (done int, err error) {
	r := run{unmade: map[string]bool{}, unaddressed: map[string]bool{}, unmarked: map[string]bool{}}
	for len(ops) > 0 {
		if err := ctx.Err(); err != nil {
			return r.done, errors.Join(append(r.errs, err)...)
		}
		n := 1
		if ops[0].Verb == link.DelLink {
			n = slices.IndexFunc(ops, func(op link.Op) bool { return op.Verb != link.DelLink })
		}
		if n < 0 {
			n = len(ops)
		}
		if ops[0].TakesDown() {
			before()
		}
		h.together(ctx, ops[:n], &r)
		ops = ops[n:]
	}
	return r.done, errors.Join(r.errs...)
}

// A run is what has come of operations.
type run struct {
	done                          int
	errs                          []error
	unmade, unaddressed, unmarked map[string]bool
}

// skip reports whether op cannot be done because another has failed.
func (r *run) skip(op link.Op) bool {
	return r.unmade[op.Dev] || r.unmarked[op.Port] || op.Verb == link.DelAddr && r.unaddressed[op.Dev]
}

// take takes in what has come of op.
func (r *run) take(op link.Op, err error) {
	if err == nil {
		r.done++
		return
	}
	r.errs = append(r.errs, fmt.Errorf("%s%s: %w", whose(op), op, err))
	r.unmade[op.Dev] = r.unmade[op.Dev] || op.Verb == link.AddLink
	r.unaddressed[op.Dev] = r.unaddressed[op.Dev] || op.Verb == link.AddAddr
	r.unmarked[op.Port] = r.unmarked[op.Port] || op.Verb == link.MarkPort
}

// atOnce is how many links are deleted at the same time.
const atOnce = 32

// together carries out one operation, or the deletions of several links. The
// kernel lets some of what each of those takes be done for many at once.
func (h *Host) together(ctx context.Context, ops []link.Op, r *run) {
	var g errgroup.Group
	g.SetLimit(atOnce)
	errs := make([]error, len(ops))
	for i, op := range ops {
		if r.skip(op) {
			continue
		}
		h.log.LogAttrs(ctx, slog.LevelDebug, "link op", slog.String("network", op.Owner), slog.String("op", op.String()))
		h.touch(op)
		if len(ops) == 1 {
			r.take(op, h.one(op))
			return
		}
		g.Go(func() error { errs[i] = h.one(op); return nil })
	}
	_ = g.Wait()
	for i, op := range ops {
		if !r.skip(op) {
			r.take(op, errs[i])
		}
	}
}

// whose starts an error about op.
func whose(op link.Op) string {
	if op.Space() {
		return "instance " + op.Owner + ": "
	}
	return ownerPrefix(op.Owner)
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
	if op.Space() {
		h.spaces.touched[op.Dev], h.spaces.stale[op.Dev] = true, true
		return
	}
	if op.Route != nil {
		h.own.touched[op.Route.Prefix] = true
		return
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

// changes are what carries out each operation on a link of ours that is there.
var changes = map[link.Verb]func(*Host, link.Op, *entry) error{
	link.SetAlias: func(h *Host, op link.Op, e *entry) error {
		return h.ops.LinkSetAlias(generic(e), link.AliasPrefix+op.Owner)
	},
	link.SetMAC: func(h *Host, op link.Op, e *entry) error {
		mac, err := net.ParseMAC(op.MAC)
		if err != nil {
			return err
		}
		return h.ops.LinkSetHardwareAddr(generic(e), mac)
	},
	link.SetMTU:  func(h *Host, op link.Op, e *entry) error { return h.ops.LinkSetMTU(generic(e), op.MTU) },
	link.SetWary: (*Host).setWary,
	link.SetUp:   func(h *Host, _ link.Op, e *entry) error { return h.ops.LinkSetUp(generic(e)) },
	link.AddAddr: func(h *Host, op link.Op, e *entry) error {
		return ignore(h.ops.AddrAdd(generic(e), address(op.Prefix)), unix.EEXIST)
	},
	link.DelAddr: func(h *Host, op link.Op, e *entry) error {
		return ignore(h.ops.AddrDel(generic(e), address(op.Prefix)), unix.EADDRNOTAVAIL)
	},
	link.SetMaster:   (*Host).setMaster,
	link.DelMaster:   func(h *Host, _ link.Op, e *entry) error { return h.ops.LinkSetNoMaster(generic(e)) },
	link.SetPort:     (*Host).setPort,
	link.SetPeer:     func(h *Host, op link.Op, _ *entry) error { return h.setPeer(op) },
	link.SetRate:     (*Host).setRate,
	link.DelRate:     (*Host).delRate,
	link.AddRedirect: (*Host).addRedirect,
	link.DelRedirect: (*Host).delRedirect,
}

// others are what carries out each of the other operations.
var others = map[link.Verb]func(*Host, link.Op) error{
	link.AddNamespace:  (*Host).namespace,
	link.MarkNamespace: (*Host).namespace,
	link.DelNamespace:  (*Host).namespace,
	link.AddLink:       (*Host).addLink,
	link.DelLink:       (*Host).delLink,
	link.DelIdle:       (*Host).delLink,
	link.SetSysctl:     func(h *Host, op link.Op) error { return h.setSysctl(op.Sysctl) },
	link.AddRoute:      (*Host).route,
	link.SetRoute:      (*Host).route,
	link.DelRoute:      (*Host).route,
	link.MarkPort:      (*Host).port,
	link.AddPort:       (*Host).port,
	link.SetPortUp:     (*Host).port,
	link.ReleasePort:   (*Host).port,
	link.UnmarkPort:    (*Host).port,
}

// one carries out a single operation.
func (h *Host) one(op link.Op) error {
	if f := others[op.Verb]; f != nil {
		return f(h, op)
	}
	f := changes[op.Verb]
	if f == nil {
		return fmt.Errorf("unknown operation %s", op)
	}
	dev, err := h.find(op.Dev)
	if err != nil {
		return err
	}
	if !dev.ours() {
		return &TakenError{Name: op.Dev}
	}
	return f(h, op, dev)
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
	if old := h.names[name]; e == nil && old != nil {
		h.set(old.index, nil) // the notification may still be on its way
	}
	// The kernel finds it by an alternative name too.
	if e == nil || e.name != name {
		return nil, ErrNotFound
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
		h.matches.drop(h.names[device(s.Key)])
	}
	return err
}

// hostWide reports whether writing key changes other settings too.
func hostWide(key string) bool {
	return key == forward6 || key == "net/ipv4/ip_forward" || key == "net/ipv4/conf/all/forwarding"
}

// delLink deletes a link that is ours still. It returns when the link is gone
// for everybody. The kernel answers tens of milliseconds after that, when it
// has made sure that nothing of its own has the link in hand any more, and
// nobody has to wait for it.
func (h *Host) delLink(op link.Op) error {
	dev, err := h.again(op.Dev)
	if err != nil {
		return ignore(err, ErrNotFound) // as the links of a namespace that goes
	}
	if !dev.ours() {
		return &TakenError{Name: op.Dev}
	}
	if op.Verb == link.DelIdle && dev.tun.Open {
		return fmt.Errorf("tap %s is open: its user, group and queues can only change while nothing has it open", op.Dev)
	}
	answer := make(chan error, 1)
	h.leaving <- struct{}{}
	go func() {
		answer <- vnl.LinkDel(generic(dev)) // by a socket of its own
		<-h.leaving
	}()
	for wait := firstLook; ; wait *= 2 {
		select {
		case err := <-answer:
			return ignore(err, unix.ENODEV)
		case <-time.After(wait):
		}
		if h.gone(dev) {
			return nil
		}
	}
}

// gone reports whether the kernel has no such link any more.
func (h *Host) gone(e *entry) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, err := h.read.link(e.index)
	return err == nil && now == nil
}

// firstLook is after what time it is looked first whether a link that is being
// deleted is gone.
const firstLook = 200 * time.Microsecond

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
