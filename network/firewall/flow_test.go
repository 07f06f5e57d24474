package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// some generates forwards of one address, where little is possible.
func some() *rapid.Generator[*Forward] {
	targets := []netip.Addr{addr("10.0.0.5"), addr("10.0.0.6")}
	return rapid.Custom(func(t *rapid.T) *Forward {
		f := &Forward{Listen: addr("192.0.2.1")}
		if rapid.Bool().Draw(t, "rest") {
			f.Target = rapid.SampledFrom(targets).Draw(t, "target")
		}
		for first := uint16(1); first <= 4; {
			last := rapid.Uint16Range(first, 4).Draw(t, "last")
			p := Port{"udp", first, last, rapid.SampledFrom(targets).Draw(t, "to"), 0, 0}
			p.To = rapid.Uint16Range(1, 3).Draw(t, "port")
			if p.ToLast = p.To; rapid.Bool().Draw(t, "range") {
				p.ToLast += last - first
			}
			if rapid.Bool().Draw(t, "there") {
				f.Ports = append(f.Ports, p)
			}
			first = last + 1
		}
		return f
	})
}

// TestMoves holds that a forward that moves nothing sends everything where it
// did, and that more ports alone move nothing.
func TestMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := some().Draw(t, "a"), some().Draw(t, "b")
		for port := range uint16(6) {
			was := a.Sends("udp", port)
			if was.IsValid() && b.Sends("udp", port) != was && !a.Moves("udp", b) {
				t.Fatalf("port %d moves from %s to %s", port, was, b.Sends("udp", port))
			}
			if a.Sends("tcp", port) != a.Sends("tcp", 0) && a.Sends("tcp", port) != netip.AddrPortFrom(a.Target, port) {
				t.Fatalf("TCP port %d goes to %s", port, a.Sends("tcp", port))
			}
		}
		if a.Moves("udp", a) {
			t.Fatal("moves to itself")
		}
		less := *a
		less.Target, less.Ports = netip.Addr{}, slices.Clone(a.Ports)
		if n := len(less.Ports); n > 0 {
			less.Ports = slices.Delete(less.Ports, n-1, n)
		}
		if less.Moves("udp", a) {
			t.Fatal("another port moves something")
		}
		if !a.Moves("udp", nil) || (*Forward)(nil).Sends("udp", 1).IsValid() {
			t.Fatal("nothing is sent somewhere")
		}
	})
}

// TestSends holds that Sends says what the elements do.
func TestSends(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := some().Draw(t, "forward")
		c, err := f.Content()
		if err != nil {
			t.Fatal(err)
		}
		for port := uint16(1); port < 6; port++ {
			if got, want := lookUp(c, port), f.Sends("udp", port); got != want {
				t.Fatalf("port %d goes to %s, want %s: %v", port, got, want, c.Elements)
			}
		}
	})
}

// lookUp does what the rules do with a UDP packet to a port of 192.0.2.1.
func lookUp(c Content, port uint16) netip.AddrPort {
	for _, set := range []string{forwardPort, forwardRange, forwardInto, forwardRest} {
		for _, e := range c.Elements {
			if e.Set != set+"4" {
				continue
			}
			first, last := port, port
			if _, ports, ok := strings.Cut(e.Key, " . udp . "); ok {
				if n, _ := fmt.Sscanf(ports, "%d-%d", &first, &last); n == 1 {
					last = first
				}
			}
			if port < first || port > last {
				continue
			}
			host, to, ok := strings.Cut(e.Value, " . ")
			if !ok {
				to = fmt.Sprint(port)
			}
			return netip.MustParseAddrPort(host + ":" + to)
		}
	}
	return netip.AddrPort{}
}
