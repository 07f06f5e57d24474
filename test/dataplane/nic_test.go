package dataplane_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"netctl/network/link"
	"netctl/test/lab"
)

// nicTools are what the tests of NICs need besides.
var nicTools = append([]string{"tc"}, tools...)

// newNICHost makes a host whose networks can have NICs.
func newNICHost(t *testing.T) *host {
	t.Helper()
	t.Parallel()
	return newHost(t, lab.New(t, nicTools...), "host")
}

// space is a name for a namespace that no other test has.
func (h *host) space(name string) string {
	full := strings.TrimSuffix(h.Full, h.Name) + name
	h.t.Cleanup(func() { _, _ = h.Try("ip", "netns", "del", full) })
	return full
}

// nics is a host with a bridge br0 and links on it. Namespaces are made for
// those whose instance is given the name of one.
func nics(links ...*link.Link) World {
	w := World{Link: world(lan).Link}
	w.Link.Links = append(w.Link.Links, links...)
	slices.SortFunc(w.Link.Links, func(a, b *link.Link) int { return strings.Compare(a.Name, b.Name) })
	return w
}

// with adds namespaces to w.
func (w World) with(names ...string) World {
	slices.Sort(names)
	for _, n := range names {
		w.Link.Namespaces = append(w.Link.Namespaces, &link.Namespace{Name: n, Owner: n})
	}
	return w
}

// veth is the link of a container's NIC, changed as change says.
func veth(name string, in link.Netns, change ...func(*link.Link)) *link.Link {
	l := &link.Link{
		Name: name, Kind: link.Veth, Owner: "web/" + name, MTU: 1500,
		Port:    &link.Port{Bridge: "br0"},
		Peer:    &link.Peer{Netns: in, Name: "eth0", MAC: "02:00:00:00:01:01", MTU: 1500},
		Sysctls: silent(name),
	}
	for _, c := range change {
		c(l)
	}
	return l
}

// silent keeps the host from saying anything by itself on the link of a NIC.
func silent(name string) []link.Sysctl {
	return []link.Sysctl{{Key: "net/ipv6/conf/" + name + "/disable_ipv6", Value: "1"}}
}

// tap is the link of a virtual machine's NIC.
func tap(name string, change ...func(*link.Link)) *link.Link {
	l := &link.Link{
		Name: name, Kind: link.Tap, Owner: "vm/" + name, MTU: 1500,
		Port: &link.Port{Bridge: "br0"}, Tap: &link.Tun{}, Sysctls: silent(name),
	}
	for _, c := range change {
		c(l)
	}
	return l
}

// in runs a command in a network namespace.
func (h *host) in(space string, args ...string) string {
	h.t.Helper()
	return h.Run("ip", append([]string{"netns", "exec", space}, args...)...)
}

// contains fails the test unless out has all of what.
func (h *host) contains(out string, what ...string) {
	h.t.Helper()
	for _, w := range what {
		if !strings.Contains(out, w) {
			h.t.Errorf("no %q in\n%s", w, out)
		}
	}
}

// TestVeth holds how the NIC of a container comes, is changed and goes.
func TestVeth(t *testing.T) {
	h := newNICHost(t)
	ns := h.space("web")
	h.apply(nics(veth("veth0", link.Netns{Name: ns})).with(ns))
	h.contains(h.Run("ip", "-d", "link", "show", "veth0"), "master br0", "alias netctl:web/veth0", fmt.Sprintf("group %d", link.Group), ",UP,LOWER_UP")
	h.contains(h.in(ns, "ip", "-d", "link", "show", "eth0"), "02:00:00:00:01:01", "mtu 1500", ",UP,LOWER_UP")
	h.contains(h.in(ns, "ip", "link", "show", "lo"), "alias netctl:"+ns, "UP")

	// A restarted agent writes nothing.
	h.restart()
	h.settled(nics(veth("veth0", link.Netns{Name: ns})).with(ns))

	index := h.in(ns, "cat", "/sys/class/net/eth0/ifindex")
	for _, change := range []func(*link.Link){
		func(l *link.Link) { l.MTU, l.Peer.MTU = 1400, 1400 },
		func(l *link.Link) { l.Peer.MAC = "02:00:00:00:01:02" },
		func(l *link.Link) { l.Peer.Name = "net0" },
		func(l *link.Link) { l.Port.Isolated = true },
		func(l *link.Link) { l.Port.Hairpin = true },
		func(l *link.Link) { l.Port = nil },
	} {
		l := veth("veth0", link.Netns{Name: ns}, change)
		h.apply(nics(l).with(ns))
		if now := h.in(ns, "cat", "/sys/class/net/"+l.Peer.Name+"/ifindex"); now != index {
			t.Errorf("the interface was made anew for %+v", l)
		}
		out := h.in(ns, "ip", "link", "show", l.Peer.Name)
		h.contains(out, l.Peer.MAC, fmt.Sprintf("mtu %d", l.Peer.MTU), "UP")
		host := h.Run("ip", "-d", "link", "show", "veth0")
		h.contains(host, fmt.Sprintf("mtu %d", l.MTU))
		if l.Port != nil {
			h.contains(host, "isolated "+onOff(l.Port.Isolated), "hairpin "+onOff(l.Port.Hairpin), "master br0")
		} else if strings.Contains(host, "master") {
			t.Errorf("is a port still:\n%s", host)
		}
	}
	h.apply(nics().with(ns))
	if out := h.in(ns, "ip", "-o", "link"); strings.Count(out, "\n") != 1 {
		t.Errorf("left over:\n%s", out)
	}
	h.apply(nics())
	if out := h.Run("ip", "netns", "list"); strings.Contains(out, ns) {
		t.Errorf("namespace %s is left over", ns)
	}
}

// index is the number of an interface of the host.
func (h *host) index(dev string) string {
	h.t.Helper()
	index, _, _ := strings.Cut(h.Run("ip", "-o", "link", "show", "dev", dev), ":")
	return index
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
