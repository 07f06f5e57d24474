package daemon

import (
	"fmt"
	"slices"
	"testing"

	"netctl/network/firewall"
)

// TestFiltersCome has a filtered NIC among others that comes, stays, changes and
// goes.
func TestFiltersCome(t *testing.T) {
	plain := func(owner string) *firewall.NIC { return &firewall.NIC{Owner: owner} }
	filtered := func(owner string) *firewall.NIC { return &firewall.NIC{Owner: owner, FilterMAC: true} }
	a, b, c := plain("a/eth0"), filtered("b/eth0"), plain("c/eth0")
	for name, tt := range map[string]struct {
		was, want []*firewall.NIC
		come      bool
	}{
		"comes":               {[]*firewall.NIC{a, c}, []*firewall.NIC{a, b, c}, true},
		"comes first":         {nil, []*firewall.NIC{b}, true},
		"stays":               {[]*firewall.NIC{a, b, c}, []*firewall.NIC{b, plain("d/eth0")}, false},
		"changes":             {[]*firewall.NIC{a, b, c}, []*firewall.NIC{a, filtered("b/eth0"), c}, true},
		"is filtered now":     {[]*firewall.NIC{a, b, c}, []*firewall.NIC{a, b, filtered("c/eth0")}, true},
		"goes":                {[]*firewall.NIC{a, b, c}, []*firewall.NIC{a, c}, false},
		"others come":         {[]*firewall.NIC{b}, []*firewall.NIC{a, b, c}, false},
		"is filtered no more": {[]*firewall.NIC{b}, []*firewall.NIC{plain("b/eth0")}, false},
	} {
		if come := filtersCome(tt.was, tt.want); come != tt.come {
			t.Errorf("%s: %t", name, come)
		}
	}
}

// TestBothNICs has the NICs of before and after together: those that change in
// their new way, on an interface that goes in the old one.
func TestBothNICs(t *testing.T) {
	nics := func(pairs ...string) []*firewall.NIC {
		var out []*firewall.NIC
		for i := 0; i < len(pairs); i += 3 {
			out = append(out, &firewall.NIC{Owner: pairs[i], Dev: pairs[i+1], MAC: pairs[i+2]})
		}
		return out
	}
	was := nics("a/eth0", "veth1", "1", "b/eth0", "veth2", "2", "c/eth0", "veth3", "3", "d/eth0", "veth4", "4")
	want := nics("a/eth0", "veth1", "1", "b/eth0", "veth2", "9", "c/eth0", "veth9", "3", "e/eth0", "veth5", "5")
	var got []string
	for _, n := range bothNICs(was, want) {
		got = append(got, fmt.Sprint(n.Owner, ":", n.Dev, ":", n.MAC))
	}
	if want := []string{"a/eth0:veth1:1", "b/eth0:veth2:9", "c/eth0:veth9:3", "c/eth0 as veth3:veth3:3", "d/eth0:veth4:4", "e/eth0:veth5:5"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if was[2].Owner != "c/eth0" {
		t.Error("what is shared was modified")
	}
}
