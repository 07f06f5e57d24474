package dataplane_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"netctl/network/link"
)

// TestSeenPort holds that carrier and the state of a bridge port are seen at
// once.
func TestSeenPort(t *testing.T) {
	h := newNICHost(t)
	ns := h.space("web")
	w := nics(veth("veth0", link.Netns{Name: ns}), tap("tap0")).with(ns)
	h.apply(w)
	for _, tt := range []struct {
		what, dev        string
		do               func()
		carrier, blocked bool
	}{
		{"nothing has the tap open", "tap0", nil, false, true},
		{"the other end is up", "veth0", nil, true, false},
		{"the other end is down", "veth0", func() { h.in(ns, "ip", "link", "set", "eth0", "down") }, false, true},
		{"the other end is up again", "veth0", func() { h.in(ns, "ip", "link", "set", "eth0", "up") }, true, false},
		{"the tap is opened", "tap0", func() { h.call("OpenTap", map[string]any{"Name": "tap0"}, nil) }, true, false},
		{"the port is blocked", "tap0", func() { h.Run("bridge", "link", "set", "dev", "tap0", "state", "0") }, true, true},
		{"the port forwards", "tap0", func() { h.Run("bridge", "link", "set", "dev", "tap0", "state", "3") }, true, false},
		{"the tap is closed", "tap0", func() { h.call("CloseTap", "tap0", nil) }, false, true},
	} {
		var noticed bool
		h.call("Quiet", "link", &noticed)
		if tt.do != nil {
			tt.do()
			if err := h.try("Changed", "link", nil); err != nil {
				t.Fatalf("%s: %v", tt.what, err)
			}
		}
		h.Lab.Eventually(5*time.Second, tt.what, func() error {
			var o Observed
			h.call("Observe", nil, &o)
			if s := o.Links[tt.dev]; s.Carrier != tt.carrier || s.Blocked != tt.blocked || s.Master != "br0" {
				return fmt.Errorf("%s is %+v", tt.dev, s)
			}
			return nil
		})
		h.settled(w)
	}
}

// TestFullTable holds that a change of a few routes does not cost a look at
// the hundred thousands that others have.
func TestFullTable(t *testing.T) {
	h := newNICHost(t)
	h.apply(nics())
	var batch strings.Builder
	for i := range 200000 {
		fmt.Fprintf(&batch, "route add 11.%d.%d.%d/32 dev br0 proto bird\n", i>>16, i>>8&255, i&255)
	}
	file := h.dir + "/routes"
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Run("ip", "-batch", file)
	w := nics()
	h.call("Apply", w, nil)
	start := time.Now()
	h.call("Plan", w, new([]string)) // reads everything
	all := time.Since(start)
	each := all // at best: others use the machine too
	for i := range 20 {
		w := nics()
		w.Link.Routes = []*link.Route{link.OnLink(prefix(fmt.Sprintf("198.51.100.%d/32", i)), "br0", "br0")}
		start := time.Now()
		h.call("Apply", w, nil)
		each = min(each, time.Since(start))
	}
	t.Logf("a change takes %v, to read everything %v", each, all)
	if each > all/2 {
		t.Errorf("a change of one route takes %v, to read everything %v", each, all)
	}
}
