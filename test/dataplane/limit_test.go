package dataplane_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"netctl/network/link"
)

// TestLimits holds the traffic of a NIC, over TCP and over UDP, to its limits
// in both directions, also when these change.
func TestLimits(t *testing.T) {
	h := newNICHost(t)
	ns := h.space("web")
	limited := func(out, in uint64) World {
		return nics(veth("veth0", link.Netns{Name: ns}, func(l *link.Link) { l.Limits = &link.Limits{Out: out, In: in} })).with(ns)
	}
	h.apply(limited(20e6, 40e6))
	h.in(ns, "ip", "addr", "add", "10.77.0.9/24", "dev", "eth0")
	guest := h.agentIn(ns)
	guest.call("Sink", "10.77.0.9:7000", nil)
	h.call("Sink", "10.77.0.1:7000", nil)
	for _, tt := range []struct{ out, in uint64 }{{20e6, 40e6}, {100e6, 10e6}} {
		index := h.index("veth0")
		h.apply(limited(tt.out, tt.in))
		if now := h.index("veth0"); now != index {
			t.Errorf("the link was made anew")
		}
		for _, d := range []struct {
			what     string
			from, to *host
			addr     string
			rate     uint64
		}{{"to the instance", h, guest, "10.77.0.9:7000", tt.out}, {"from the instance", guest, h, "10.77.0.1:7000", tt.in}} {
			for _, network := range []string{"tcp", "udp"} {
				got := 0.0
				for try := 0; try < 3 && got < 0.9*float64(d.rate); try++ { // there may be no time to send more
					got = blast(h, d.from, d.to, network, d.addr)
					t.Logf("%s over %s: %.2f of %.0f Mbit/s", d.what, network, got/1e6, float64(d.rate)/1e6)
				}
				if got > 1.1*float64(d.rate) || got < 0.9*float64(d.rate) {
					t.Errorf("%s over %s: %.0f bit/s with a limit of %d", d.what, network, got, d.rate)
				}
			}
		}
	}
}

// TestShape holds what the kernel makes of very slow and of very fast limits,
// and that they go without a trace.
func TestShape(t *testing.T) {
	h := newNICHost(t)
	ns := h.space("web")
	for _, tt := range []struct {
		rate uint64
		want string
	}{{1e6, "rate 1Mbit"}, {1e9, "rate 1Gbit"}, {10e9, "rate 10Gbit"}, {80e9, "rate 80Gbit"}} {
		limits := func(l *link.Link) { l.Limits = &link.Limits{Out: tt.rate, In: tt.rate} }
		h.apply(nics(veth("veth0", link.Netns{Name: ns}, limits), tap("tap0", limits)).with(ns))
		for _, dev := range []string{"veth0", "tap0", link.IFBName("veth0"), link.IFBName("tap0")} {
			h.contains(h.Run("tc", "qdisc", "show", "dev", dev), "tbf 6e63: root", tt.want)
		}
	}
	// Others may have filters there too.
	h.Run("tc", "filter", "add", "dev", "tap0", "ingress", "protocol", "ip", "prio", "1", "u32", "match", "u32", "0", "0", "flowid", "1:1")
	h.apply(nics(veth("veth0", link.Netns{Name: ns}), tap("tap0")).with(ns))
	if out := h.Run("tc", "qdisc", "show", "dev", "veth0"); strings.Contains(out, "tbf") || strings.Contains(out, "ingress") {
		t.Errorf("left over: %s", out)
	}
	if out := h.Run("tc", "filter", "show", "dev", "tap0", "ingress"); !strings.Contains(out, "pref 1 u32") || strings.Contains(out, "mirred") {
		t.Errorf("filters %s", out)
	}
	if out := h.Run("ip", "-o", "link"); strings.Contains(out, "ifb") {
		t.Errorf("left over: %s", out)
	}
	h.apply(nics())
}

// window is how long a rate is measured.
const window = 3 * time.Second

// blast sends as much as goes, and returns the rate at which it arrives, in
// bits per second with the headers of Ethernet, which count too.
func blast(h, from, to *host, network, addr string) float64 {
	h.t.Helper()
	stop := from.agent.Go("Agent.Blast", map[string]any{"Network": network, "Addr": addr, "For": window + 2*time.Second}, nil, nil)
	var before, after Count
	h.Lab.Eventually(5*time.Second, "traffic", func() error {
		if to.call("Sunk", network, &before); before.Bytes == 0 {
			return fmt.Errorf("nothing arrives")
		}
		return nil
	})
	time.Sleep(500 * time.Millisecond) // the burst and the start of TCP are over
	to.call("Sunk", network, &before)
	time.Sleep(window)
	to.call("Sunk", network, &after)
	if err := (<-stop.Done).Error; err != nil {
		h.t.Fatal(err)
	}
	h.t.Helper()
	to.call("Sunk", "", nil)
	const segment, headers = 1448.0, 66.0
	payload := float64(after.Bytes-before.Bytes) * 8 / after.At.Sub(before.At).Seconds()
	if network == "udp" {
		return payload * (datagram + 42) / datagram
	}
	return payload * (segment + headers) / segment
}
