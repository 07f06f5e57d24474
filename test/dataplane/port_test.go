package dataplane_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"netctl/network/firewall"
)

// TestPorts holds that an interface of the host becomes a port and is let go
// again, that one in use is refused, and that a missing one hinders nothing.
func TestPorts(t *testing.T) {
	h := newBare(t)
	for _, dev := range []string{"eth1", "eth2", "eth3"} {
		h.Run("ip", "link", "add", dev, "type", "veth", "peer", "name", dev+"p")
		h.Run("ip", "link", "set", dev+"p", "up")
	}
	master := func(dev, want string) {
		t.Helper()
		out := h.Run("ip", "-d", "-o", "link", "show", dev)
		if got := strings.Contains(out, "master "+want); want != "" && !got || want == "" && strings.Contains(out, "master") {
			t.Errorf("%s should have master %q: %s", dev, want, out)
		}
		if marked := strings.Contains(out, "altname netctl.port."); marked != (want == "br0" || want == "br1") {
			t.Errorf("%s: %s", dev, out)
		}
	}
	with := func(name, v4 string, ports ...string) bridge { return bridge{name: name, v4: v4, ports: ports} }
	h.apply(world(with("br0", "10.77.0.1/24", "eth1", "eth2"), with("br1", "10.78.0.1/24")))
	master("eth1", "br0")
	master("eth2", "br0")
	// One moves, one is let go.
	h.apply(world(with("br0", "10.77.0.1/24"), with("br1", "10.78.0.1/24", "eth2")))
	master("eth1", "")
	master("eth2", "br1")

	// An interface that the host uses, or that another bridge has, or that
	// is not there, is refused; the others are not hindered.
	h.Run("ip", "link", "add", "brx", "type", "bridge")
	h.Run("ip", "link", "set", "eth3", "master", "brx")
	h.Addr("eth1", "192.0.2.1/24")
	w := world(with("br0", "10.99.0.1/24", "eth0", "eth1", "eth3"), with("br1", "10.78.0.1/24", "eth2"))
	err := h.try("Apply", w, nil)
	for _, want := range []string{
		"network br0: ip link property add dev eth0 altname netctl.port.eth0: no such interface",
		"interface eth1 has the address 192.0.2.1/24: only an interface without addresses can be a port",
		"interface eth3 is a port of brx already, which is not ours",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in error %v", want, err)
		}
	}
	// What cannot be marked as ours is not attached either: nobody would know
	// that it is to be let go one day.
	if err != nil && strings.Contains(err.Error(), "ip link set eth0 master") {
		t.Errorf("attached without a mark: %v", err)
	}
	master("eth1", "")
	master("eth3", "brx")
	if out := h.Run("ip", "-o", "addr", "show", "dev", "br0"); !strings.Contains(out, "10.99.0.1/24") {
		t.Errorf("br0 is %s", out)
	}
	// When it comes, that is noticed and it is attached.
	h.Run("ip", "addr", "flush", "dev", "eth1")
	h.Run("ip", "link", "set", "eth3", "nomaster")
	var noticed bool
	h.call("Quiet", "link", &noticed)
	h.Run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0p")
	h.call("Changed", "link", nil)
	h.apply(w)
	for _, dev := range []string{"eth0", "eth1", "eth3"} {
		master(dev, "br0")
	}
	h.apply(world())
	for _, dev := range []string{"eth0", "eth1", "eth2", "eth3"} {
		master(dev, "")
	}
}

// TestBGPPort holds that only peers get to the port of the speaker, and that
// nothing else suffers.
func TestBGPPort(t *testing.T) {
	s := newSite(t, 0)
	s.outside.Addr("eth0", "192.0.2.3/24", "2001:db8::3/64")
	for _, port := range []int{1179, 1180} {
		s.host.call("Mirror", fmt.Sprintf(":%d", port), nil)
	}
	w := world(lan)
	w.Firewall.BGP = &firewall.BGP{Port: 1179, Peers: []netip.Addr{outsideV4, outsideV6}}
	s.host.apply(w)
	for _, tt := range []struct {
		what, from, to string
		ok             bool
	}{
		{"a peer", "192.0.2.2:0", "192.0.2.1:1179", true},
		{"a peer over IPv6", "[2001:db8::2]:0", "[2001:db8::1]:1179", true},
		{"a stranger", "192.0.2.3:0", "192.0.2.1:1179", false},
		{"a stranger over IPv6", "[2001:db8::3]:0", "[2001:db8::1]:1179", false},
		{"a stranger at another port", "192.0.2.3:0", "192.0.2.1:1180", true},
	} {
		if _, err := s.outside.lookFrom(tt.from, tt.to); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
	if _, err := s.host.lookFrom("127.0.0.1:0", "127.0.0.1:1179"); err != nil {
		t.Errorf("the host itself: %v", err)
	}
	// A session that we open to a stranger is answered, even from that port.
	w.Firewall.BGP.Port = 1181
	s.host.apply(w)
	if _, err := s.host.lookFrom("192.0.2.1:1181", "192.0.2.3:7777"); err != nil {
		t.Errorf("a session of ours: %v", err)
	}
	// Another peer and another port are a change of elements.
	w.Firewall.BGP = &firewall.BGP{Port: 1180, Peers: []netip.Addr{addr("192.0.2.3")}}
	s.host.apply(w)
	for _, tt := range []struct {
		what, from, to string
		ok             bool
	}{
		{"the port of before", "192.0.2.3:0", "192.0.2.1:1179", true},
		{"the new peer", "192.0.2.3:0", "192.0.2.1:1180", true},
		{"the peer of before", "192.0.2.2:0", "192.0.2.1:1180", false},
	} {
		if _, err := s.outside.lookFrom(tt.from, tt.to); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}
