package netlink

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// enter opens a namespace for the other end of a veth.
func (h *Host) enter(n link.Netns) (*os.File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open(n)
}

// open is enter. One that is to be ours and is not is none.
func (h *Host) open(n link.Netns) (*os.File, error) {
	path := n.Path
	switch {
	case n.Name != "":
		path = filepath.Join(netnsDir, n.Name)
		if wants(h.spaces.wanted, n.Name) && !h.spaces.has(n.Name) && h.spaces.occupied(n.Name) {
			return nil, &TakenError{Namespace: n.Name}
		}
	case n.Path == "":
		path = fmt.Sprintf("/proc/%d/ns/net", n.PID)
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !isNetns(path) {
		if err == nil {
			_ = f.Close()
		}
		if n.Name != "" {
			h.spaces.missing[n.Name] = true
		}
		return nil, fmt.Errorf("%s does not exist", n)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n, err)
	}
	// The number of the process may have become another's before it was opened.
	if n.PID != 0 && n.Start != 0 {
		if start, err := started(n.PID); err != nil || start != n.Start {
			_ = f.Close()
			return nil, fmt.Errorf("%s does not exist: the process has ended", n)
		}
	}
	return f, nil
}

// started returns when a process was started, in the ticks of
// proc_pid_stat(5).
func started(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, which comes second, may hold anything.
	const starttime = 22
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < starttime-2 {
		return 0, fmt.Errorf("/proc/%d/stat: too short", pid)
	}
	return strconv.ParseUint(string(fields[starttime-3]), 10, 64)
}

// inode identifies an open namespace.
func inode(f *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return st.Ino, nil
}

// here reports whether the other end of e is in namespace f.
func (h *Host) here(e *entry, f *os.File) (bool, error) {
	if e.nsid < 0 {
		var own unix.Stat_t
		is, err := inode(f)
		if err = errors.Join(err, unix.Stat("/proc/thread-self/ns/net", &own)); err != nil {
			return false, err
		}
		return own.Ino == is, nil
	}
	id, err := h.ops.GetNetNsIdByFd(int(f.Fd()))
	return id == e.nsid, err
}

// peer returns the other end of e, which is w itself when it was made so,
// whatever has become of it since, or when the namespace of w does not exist
// any more, so that there is nowhere else to put it.
func (h *Host) peer(e *entry, w *link.Peer) *link.Peer {
	f, err := h.open(w.Netns)
	if err != nil {
		return w
	}
	defer func() { _ = f.Close() }()
	ino, err := inode(f)
	if err != nil || e.peer.group == link.PeerGroup(ino, *w) {
		return w
	}
	is := &link.Peer{Name: e.peer.name, MAC: e.peer.mac, MTU: e.peer.mtu, Stale: true}
	if there, err := h.here(e, f); err != nil || there {
		is.Netns = w.Netns
	}
	return is
}

// addVeth makes a veth with the other end where it belongs, down.
func (h *Host) addVeth(attrs vnl.LinkAttrs, p *link.Peer) error {
	f, err := h.enter(p.Netns)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	v := &vnl.Veth{
		LinkAttrs: attrs, PeerName: p.Name, PeerTxQLen: -1, PeerMTU: uint32(p.MTU), PeerNamespace: vnl.NsFd(f.Fd()),
	}
	if p.MAC != "" {
		if v.PeerHardwareAddr, err = net.ParseMAC(p.MAC); err != nil {
			return err
		}
	}
	err = h.ops.LinkAdd(v)
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: interface %s may exist in %s", err, p.Name, p.Netns)
	}
	return err
}

// setPeer makes the other end of a veth what it should be, and notes that this
// was done.
func (h *Host) setPeer(op link.Op) error {
	e, err := h.again(op.Dev)
	if err != nil {
		return err
	}
	f, err := h.enter(op.Peer.Netns)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if there, err := h.here(e, f); err != nil || !there {
		return errors.Join(err, fmt.Errorf("the other end of %s is not in %s", op.Dev, op.Peer.Netns))
	}
	ino, err := inode(f)
	if err != nil {
		return err
	}
	return within(f, func(in *vnl.Handle) error {
		return finishPeer(in, e, *op.Peer, link.PeerGroup(ino, *op.Peer))
	})
}

// finishPeer changes of the other end of e what differs. The note comes last.
func finishPeer(in *vnl.Handle, e *entry, p link.Peer, group uint32) error {
	l := &vnl.GenericLink{LinkAttrs: vnl.LinkAttrs{Index: e.peerIndex, Name: e.peer.name}}
	if e.peer.name != p.Name {
		err := in.LinkSetName(l, p.Name)
		if errors.Is(err, unix.EBUSY) { // an older kernel, while it is up
			if err = in.LinkSetDown(l); err == nil {
				err = in.LinkSetName(l, p.Name)
			}
		}
		if err != nil {
			return fmt.Errorf("rename %s in %s: %w", e.peer.name, p.Netns, err)
		}
	}
	if p.MAC != "" && p.MAC != e.peer.mac {
		mac, err := net.ParseMAC(p.MAC)
		if err != nil {
			return err
		}
		if err := in.LinkSetHardwareAddr(l, mac); err != nil {
			return err
		}
	}
	if p.MTU != 0 && p.MTU != e.peer.mtu {
		if err := in.LinkSetMTU(l, p.MTU); err != nil {
			return err
		}
	}
	if err := in.LinkSetUp(l); err != nil {
		return err
	}
	return in.LinkSetGroup(l, int(group))
}
