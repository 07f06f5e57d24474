package netlink

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	vnl "github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"netctl/network/link"
)

// netnsDir is where ip-netns(8) keeps the names of namespaces.
const netnsDir = "/run/netns"

// Namespaces of ours bear their mark as the alias of their loopback interface,
// and this namespace knows them by a number (RTM_GETNSID) that the kernel keeps
// as long as both exist. A namespace that is marked but has no number belongs
// to another netctl, in another namespace. By the number it can be looked at
// without being entered.
type spaces struct {
	lost    bool
	stale   map[string]bool // names to look at again
	touched map[string]bool // names that we are changing
	list    []*link.Namespace
	wanted  []*link.Namespace // that are to be ours, of the last Apply
	missing map[string]bool   // names that were asked for and did not exist
	watch   *os.File          // inotify(7)
	watched bool              // on netnsDir, which exists
}

func newSpaces() spaces {
	return spaces{lost: true, stale: map[string]bool{}, touched: map[string]bool{}, missing: map[string]bool{}}
}

func compareSpace(n *link.Namespace, name string) int { return strings.Compare(n.Name, name) }

// ours returns the namespaces of ours.
func (s *spaces) ours() []*link.Namespace { return slices.Clone(s.list) }

func (s *spaces) has(name string) bool {
	_, ok := slices.BinarySearchFunc(s.list, name, compareSpace)
	return ok
}

// set takes in what a namespace is, nil when it is none of ours, and reports
// whether that is news.
func (s *spaces) set(name string, n *link.Namespace) (changed bool) {
	i, found := slices.BinarySearchFunc(s.list, name, compareSpace)
	switch {
	case n == nil && !found || n != nil && found && *n == *s.list[i]:
		return false
	case n == nil:
		s.list = slices.Delete(s.list, i, i+1)
	case found:
		s.list[i] = n
	default:
		s.list = slices.Insert(s.list, i, n)
	}
	return !s.touched[name]
}

// occupied reports whether there is something under the name of a namespace
// that is not just what an interrupted making leaves: an empty file.
func (*spaces) occupied(name string) bool {
	path := filepath.Join(netnsDir, name)
	fi, err := os.Lstat(path)
	return err == nil && (isNetns(path) || !fi.Mode().IsRegular() || fi.Size() > 0)
}

func isNetns(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// readSpaces looks at the namespaces that have changed, or at all, and reports
// whether one of ours has, other than by us.
func (h *Host) readSpaces() (changed bool, err error) {
	s := &h.spaces
	if s.lost {
		entries, err := os.ReadDir(netnsDir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
		for _, e := range entries {
			s.stale[e.Name()] = true
		}
		for _, n := range s.list {
			s.stale[n.Name] = true
		}
		s.lost = false
	}
	for name := range s.stale {
		n, err := h.readSpace(name)
		if err != nil {
			return changed, fmt.Errorf("network namespace %s: %w", name, err)
		}
		changed = s.set(name, n) || changed
		delete(s.stale, name)
	}
	return changed, nil
}

// readSpace looks at one namespace; nil is one that is not ours, or none.
func (h *Host) readSpace(name string) (*link.Namespace, error) {
	f, err := os.Open(filepath.Join(netnsDir, name))
	if err != nil {
		return nil, nil // gone, or nothing that we have made
	}
	defer func() { _ = f.Close() }()
	if !isNetns(f.Name()) {
		return nil, nil
	}
	id, err := h.ops.GetNetNsIdByFd(int(f.Fd()))
	if err != nil || id < 0 {
		return nil, err
	}
	alias, err := h.read.alias(id)
	if err != nil {
		return nil, err
	}
	owner, ours := strings.CutPrefix(alias, link.AliasPrefix)
	if !ours {
		return nil, nil
	}
	return &link.Namespace{Name: name, Owner: owner}, nil
}

// namespace carries out an operation on a namespace of ours, and takes in what
// it has led to: links may go into it next.
func (h *Host) namespace(op link.Op) error {
	h.mu.Lock()
	ours, taken := h.spaces.has(op.Dev), h.spaces.occupied(op.Dev)
	h.mu.Unlock()
	if !ours && taken {
		return &TakenError{Namespace: op.Dev}
	}
	err := h.changeNamespace(op, filepath.Join(netnsDir, op.Dev))
	h.mu.Lock()
	defer h.mu.Unlock()
	n, rerr := h.readSpace(op.Dev)
	if rerr != nil {
		h.spaces.stale[op.Dev] = true
		return errors.Join(err, rerr)
	}
	h.spaces.set(op.Dev, n)
	return err
}

func (h *Host) changeNamespace(op link.Op, path string) error {
	if op.Verb == link.AddNamespace {
		return h.addNamespace(path, op.Owner)
	}
	if op.Verb == link.MarkNamespace {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		return within(f, func(in *vnl.Handle) error { return in.LinkSetAlias(loopbackLink(), link.AliasPrefix+op.Owner) })
	}
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return ignore(os.Remove(path), os.ErrNotExist)
}

func loopbackLink() vnl.Link {
	return &vnl.GenericLink{LinkAttrs: vnl.LinkAttrs{Index: loopback, Name: "lo"}}
}

// addNamespace makes a namespace. It gets its name when it is complete, so
// that what an interruption leaves is gone with the process, or is an empty
// file at most.
func (h *Host) addNamespace(path, owner string) error {
	if err := shareDir(); err != nil {
		return err
	}
	return aside(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		in, err := vnl.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer in.Close()
		if err := errors.Join(in.LinkSetAlias(loopbackLink(), link.AliasPrefix+owner), in.LinkSetUp(loopbackLink())); err != nil {
			return err
		}
		if err := h.ops.SetNetNsIdByFd(int(f.Fd()), -1); err != nil {
			return fmt.Errorf("number the network namespace: %w", err)
		}
		file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0)
		if err != nil {
			return err
		}
		_ = file.Close()
		if err := unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", path, err)
		}
		return nil
	})
}

// aside runs f on a thread that may change its namespace: it ends with f.
func aside(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// within runs f with a handle in another namespace.
func within(ns *os.File, f func(*vnl.Handle) error) error {
	in, err := vnl.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("enter %s: %w", ns.Name(), err)
	}
	defer in.Close()
	return f(in)
}

// shareDir makes the directory of the namespaces' names as ip-netns(8) does: a
// mount point whose mounts are seen in all mount namespaces that share it.
func shareDir() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	dir, err := os.Open(netnsDir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", netnsDir, err)
	}
	err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // it is no mount point yet
		err = unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, "")
		if err == nil {
			err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("share %s: %w", netnsDir, err)
	}
	return nil
}
