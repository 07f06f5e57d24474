package dataplane_test

import (
	"strings"
	"testing"

	"netctl/network/link"
)

// tun is what is particular to a tap.
func (h *host) tun(dev string) string {
	h.t.Helper()
	return h.Run("ip", "-d", "-o", "link", "show", dev)
}

// TestTap holds how the NIC of a virtual machine comes, is opened, is made anew
// and goes.
func TestTap(t *testing.T) {
	h := newNICHost(t)
	all := func(l *link.Link) { l.Tap = &link.Tun{UID: 1234, GID: 4321, MultiQueue: true} }
	w := nics(tap("tap0"), tap("tap1", all), tap("tap2", func(l *link.Link) { l.Tap.GID = 4321 }))
	h.apply(w)
	h.contains(h.tun("tap0"), "type tap pi off vnet_hdr on persist on user root ")
	h.contains(h.tun("tap1"), "type tap pi off vnet_hdr on multi_queue", "persist on user 1234 group 4321 ")
	h.contains(h.tun("tap2"), "type tap pi off vnet_hdr on persist on group 4321 ")
	h.contains(h.Run("ip", "link", "show", "tap1"), "NO-CARRIER", "master br0", "alias netctl:vm/tap1")
	h.restart()
	h.settled(w)

	index := h.index("tap0")
	var noticed bool
	for _, tt := range []struct {
		name   string
		change func(*link.Link)
	}{
		{"tap0", func(l *link.Link) { l.Tap = &link.Tun{UID: 1235} }},
		{"tap1", func(l *link.Link) { l.Tap = &link.Tun{UID: 1234, GID: 4321} }},
	} {
		h.call("Quiet", "link", &noticed)
		queues := tt.name == "tap1"
		h.call("OpenTap", map[string]any{"Name": tt.name, "MultiQueue": queues}, nil)
		h.call("Changed", "link", nil)
		h.contains(h.Run("ip", "link", "show", tt.name), "LOWER_UP")
		h.settled(w)
		// What has it open is not disturbed; all else is done.
		next := nics(tap(tt.name, tt.change, func(l *link.Link) { l.MTU = 1400 }))
		for _, l := range w.Link.Links {
			if l.Name != tt.name && l.Name != "br0" {
				next = nics(append(next.Link.Links[1:], l)...)
			}
		}
		err := h.try("Apply", next, nil)
		if err == nil || !strings.Contains(err.Error(), "instance vm: device "+tt.name+": ") || !strings.Contains(err.Error(), "tap "+tt.name+" is open") {
			t.Errorf("err = %v", err)
		}
		h.contains(h.Run("ip", "link", "show", tt.name), "LOWER_UP", "mtu 1400")
		h.call("CloseTap", tt.name, nil)
		h.apply(next)
		w = next
	}
	h.contains(h.tun("tap0"), "vnet_hdr on persist on user 1235 ")
	h.contains(h.tun("tap1"), "vnet_hdr on persist on user 1234 group 4321 ")
	if now := h.index("tap0"); now == index {
		t.Error("tap0 was not made anew")
	}
	h.apply(nics())
	if out := h.Run("ip", "-o", "link"); strings.Contains(out, "tap") {
		t.Errorf("left over: %s", out)
	}
}
