package dataplane_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"netctl/network/link"
)

// TestAtHome holds that an instance may do with its end of a veth what it
// likes, until what is wanted of it changes.
func TestAtHome(t *testing.T) {
	h := newNICHost(t)
	ns, nested := h.space("web"), h.space("nested")
	w := nics(veth("veth0", link.Netns{Name: ns})).with(ns)
	h.apply(w)
	h.Run("ip", "netns", "add", nested)
	index := h.in(ns, "cat", "/sys/class/net/eth0/ifindex")
	for _, cmd := range []string{
		"ip link set eth0 mtu 1300", "ip link set eth0 address 02:00:00:00:09:09", "ip addr add 10.77.0.9/24 dev eth0",
		"ip link set eth0 down", "ip link set eth0 name wan", "ip link set wan alias mine", "ip link set wan netns " + nested,
	} {
		h.in(ns, strings.Fields(cmd)...)
		h.call("Apply", w, nil)
		h.restart()
		h.settled(w)
	}
	if out := h.in(nested, "cat", "/sys/class/net/wan/ifindex"); out != index {
		t.Errorf("index %q, want %q", out, index)
	}
	h.in(nested, "ip", "link", "set", "wan", "netns", ns)
	w = nics(veth("veth0", link.Netns{Name: ns}, func(l *link.Link) { l.Peer.MAC = "02:00:00:00:01:02" })).with(ns)
	h.apply(w)
	h.contains(h.in(ns, "ip", "link", "show", "eth0"), "02:00:00:00:01:02", "mtu 1500", ",UP,LOWER_UP")
}

// TestForeignNamespace holds how NICs go into namespaces that others make, by
// name, by path and by process, and what happens when these go and come back.
func TestForeignNamespace(t *testing.T) {
	h := newNICHost(t)
	ns := h.space("theirs")
	h.Run("ip", "netns", "add", ns)
	sleeper := h.Start("unshare", "-n", "sleep", "1000")
	pid := sleeper.Cmd.Process.Pid
	h.Lab.Eventually(5*time.Second, "a process in a namespace", func() error {
		if comm := read(t, fmt.Sprintf("/proc/%d/comm", pid)); comm != "sleep\n" {
			return fmt.Errorf("it is %q", comm)
		}
		return nil
	})
	start, err := strconv.ParseUint(strings.Fields(strings.SplitN(read(t, fmt.Sprintf("/proc/%d/stat", pid)), ") ", 2)[1])[19], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	byPID := link.Netns{PID: pid, Start: start}
	byPath := link.Netns{Path: fmt.Sprintf("/proc/%d/ns/net", pid)}
	w := nics(
		veth("a0", link.Netns{Name: ns}),
		veth("b0", byPID),
		veth("c0", byPath, func(l *link.Link) { l.Peer.Name = "eth1" }),
		tap("d0"),
	)
	h.apply(w)
	in := []string{"nsenter", "--target", fmt.Sprint(pid), "--net", "ip", "link"}
	h.contains(h.Run(in[0], in[1:]...), "eth0@", "eth1@")
	h.contains(h.in(ns, "ip", "link"), "eth0@")

	// Another process with that number is not the one.
	wrong := nics(veth("b1", link.Netns{PID: pid, Start: start + 1}))
	if err := h.try("Apply", wrong, nil); err == nil ||
		!strings.Contains(err.Error(), "instance web: device b1: ") ||
		!strings.Contains(err.Error(), fmt.Sprintf("network namespace of process %d does not exist: the process has ended", pid)) {
		t.Errorf("err = %v", err)
	}
	h.apply(w)

	// A namespace that goes takes its NIC along. The error names it, and the
	// other NICs do not notice.
	before := h.Run("ip", "-o", "link", "show", "b0") + h.Run("ip", "-o", "link", "show", "d0")
	var noticed bool
	h.call("Quiet", "link", &noticed)
	h.Run("ip", "netns", "del", ns)
	h.call("Changed", "link", nil)
	h.Lab.Eventually(5*time.Second, "a lost NIC", func() error {
		if err := h.try("Apply", w, nil); err == nil || !strings.Contains(err.Error(), "network namespace "+ns+" does not exist") {
			return fmt.Errorf("the error is %w", err)
		}
		return nil
	})
	if after := h.Run("ip", "-o", "link", "show", "b0") + h.Run("ip", "-o", "link", "show", "d0"); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	h.call("Quiet", "link", &noticed)
	h.Run("ip", "netns", "add", ns)
	h.call("Changed", "link", nil)
	h.apply(w)
	h.contains(h.in(ns, "ip", "link"), "eth0@")

	// A process that ends while its namespace goes on keeps its NIC.
	heir := h.Start("nsenter", "--target", fmt.Sprint(pid), "--net", "sleep", "1000")
	h.Lab.Eventually(5*time.Second, "an heir", func() error {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
		if mine, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", heir.Cmd.Process.Pid)); err == nil && mine != theirs {
			return fmt.Errorf("is in %s, not %s", mine, theirs)
		}
		return err
	})
	index := h.index("b0")
	if err := sleeper.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = sleeper.Wait(5 * time.Second)
	h.settled(w)
	if now := h.index("b0"); now != index {
		t.Errorf("index %s became %s", index, now)
	}
	h.apply(nics())
	// What has gone by itself meanwhile is gone.
	h.call("Do", []link.Op{{Verb: link.DelLink, Owner: "web/b0", Dev: "b0"}}, nil)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTakenNamespace holds that a namespace of somebody else that has the name
// of a wanted one is left alone, and that one of ours that is deleted comes
// again.
func TestTakenNamespace(t *testing.T) {
	h := newNICHost(t)
	ns, other := h.space("web"), h.space("other")
	h.Run("ip", "netns", "add", ns)
	w := nics(veth("veth0", link.Netns{Name: ns}), veth("veth1", link.Netns{Name: other})).with(ns, other)
	err := h.try("Apply", w, nil)
	if want := "instance " + ns + ": network namespace " + ns + " exists and is not ours"; err == nil || err.Error() != want {
		t.Errorf("err = %v, want %s", err, want)
	}
	if out := h.in(ns, "ip", "link"); strings.Contains(out, "eth0") || strings.Contains(out, "LOWER_UP") {
		t.Errorf("the namespace of somebody else has\n%s", out)
	}
	h.contains(h.in(other, "ip", "link"), "eth0@")
	// Nor is it deleted, or that of another netctl.
	if err := h.try("Do", []link.Op{{Verb: link.DelNamespace, Owner: ns, Dev: ns}}, nil); err == nil {
		t.Error("a namespace of somebody else was deleted")
	}
	h.in(ns, "ip", "link", "set", "lo", "alias", "netctl:"+ns)
	h.restart()
	if err := h.try("Apply", w, nil); err == nil || !strings.Contains(err.Error(), "exists and is not ours") {
		t.Errorf("err = %v", err)
	}
	h.Run("ip", "netns", "del", ns)
	h.apply(w)

	var noticed bool
	for range 3 {
		h.call("Quiet", "link", &noticed)
		h.Run("ip", "netns", "del", ns)
		h.call("Changed", "link", nil)
		h.apply(w)
		h.contains(h.in(ns, "ip", "link"), "eth0@", "alias netctl:"+ns)
	}
	// Also when something goes on in the one that was deleted.
	keeper := h.Start("ip", "netns", "exec", ns, "sleep", "1000")
	h.Lab.Eventually(5*time.Second, "a process in the namespace", func() error {
		if comm := read(t, fmt.Sprintf("/proc/%d/comm", keeper.Cmd.Process.Pid)); comm != "sleep\n" {
			return fmt.Errorf("it is %s", comm)
		}
		return nil
	})
	h.Run("ip", "netns", "del", ns)
	h.apply(w)
	h.contains(h.in(ns, "ip", "link"), "eth0@", "alias netctl:"+ns)
	h.apply(nics())
}
