package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"netctl/network/firewall"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// configs generates configurations whose parts share elements, are the same
// pointers as in others or only equal, and cannot be realised when they are
// called "bad name".
func configs() *rapid.Generator[firewall.Config] {
	pool := map[string]any{}
	return rapid.Custom(func(t *rapid.T) firewall.Config {
		var c firewall.Config
		yes := func(label string) bool { return rapid.Bool().Draw(t, label) }
		for _, name := range []string{"bad name", "br0", "br1"} {
			if !yes(name) {
				continue
			}
			n := &firewall.Network{Name: name, V4: firewall.Family{Subnet: prefix("10.0.0.0/24"), Routing: true, Filter: yes("filter")}}
			if yes("nat") {
				n.V4.NAT, n.V4.NATAddr = true, addr("192.0.2.5")
			}
			if len(c.ACLs) == 0 && yes("acl") {
				c.ACLs = []*firewall.ACL{{Name: "a", Ingress: slices.Repeat([]firewall.ACLRule{{Action: firewall.Drop}}, rapid.IntRange(0, 2).Draw(t, "rules"))}}
			}
			if len(c.ACLs) > 0 && yes("guarded") {
				n.ACLs, n.Ingress, n.Egress = []string{"a"}, firewall.Default{Action: firewall.Drop}, firewall.Default{Action: firewall.Allow}
			}
			c.Networks = append(c.Networks, kept(t, pool, n))
		}
		for _, dev := range []string{"bad name", "v0", "v1"} {
			if yes(dev) {
				c.NICs = append(c.NICs, kept(t, pool, &firewall.NIC{
					Owner: "i/" + dev, Dev: dev, MAC: "02:00:00:00:00:01", FilterMAC: yes("mac"),
					V4: firewall.NICFamily{Subnet: prefix("10.0.0.0/24"), NAT: true, Behind: []netip.Prefix{prefix("10.0.0.128/25")}},
				}))
			}
		}
		for _, listen := range []string{"192.0.2.5", "192.0.2.6", "2001:db8::1%bad"} {
			if yes(listen) {
				c.Forwards = append(c.Forwards, kept(t, pool, &firewall.Forward{Listen: addr(listen), Subnet: prefix("10.0.0.0/24")}))
			}
		}
		return c
	})
}

// kept returns p or a pointer to the same that was used before.
func kept[T any](t *rapid.T, pool map[string]any, p *T) *T {
	key := fmt.Sprintf("%T %+v", p, *p)
	if old, ok := pool[key].(*T); ok && rapid.Bool().Draw(t, "kept") {
		return old
	}
	pool[key] = p
	return p
}

// TestCompare holds that configurations that follow each other leave the tables
// with the last one, and that all operations can be carried out.
func TestCompare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have := empty()
		elements, lists := map[firewall.Element]bool{}, map[string][]string{}
		for range rapid.IntRange(1, 6).Draw(t, "turns") {
			c := configs().Draw(t, "config")
			todo, err := compare(have, nil, c)
			want, wantErr := c.Content()
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("error %v, want %v", err, wantErr)
			}
			for _, l := range todo.del {
				for e := range elements {
					if firewall.FamilyOf(e.Set) == l.Family {
						delete(elements, e)
					}
				}
				if l == firewall.Inet {
					clear(lists)
				}
			}
			for _, op := range todo.ops {
				switch op.Verb {
				case firewall.AddElement:
					if elements[op.Element] {
						t.Fatalf("%s is there", op)
					}
					elements[op.Element] = true
				case firewall.DelElement:
					if !elements[op.Element] {
						t.Fatalf("%s is not there", op)
					}
					delete(elements, op.Element)
				case firewall.AddChain, firewall.FlushChain:
					lists[op.Chain] = []string{}
				case firewall.DelChain:
					delete(lists, op.Chain)
				case firewall.AddRule:
					lists[op.Chain] = append(lists[op.Chain], op.Rule.Text)
				}
			}
			todo.commit(&have)
			wanted, wantedLists := map[firewall.Element]bool{}, map[string][]string{}
			for _, e := range want.Elements {
				wanted[e] = true
			}
			for _, l := range want.Lists {
				wantedLists[l.Name] = []string{}
				for _, r := range l.Rules {
					wantedLists[l.Name] = append(wantedLists[l.Name], r.Text)
				}
			}
			if d := cmp.Diff(wanted, elements); d != "" {
				t.Fatalf("elements (-want +got)\n%s", d)
			}
			if d := cmp.Diff(wantedLists, lists); d != "" {
				t.Fatalf("chains (-want +got)\n%s", d)
			}
			for _, l := range firewall.Layouts {
				if have.present[l.Family] != c.Needs(l) {
					t.Fatalf("table %s: %v", l.Family, have.present[l.Family])
				}
			}
			if again, _ := compare(have, nil, c); !again.empty() {
				t.Fatalf("still to do:\n%s", strings.Join(again.commands(), "\n"))
			}
		}
	})
}

// TestSame holds what counts as the same want.
func TestSame(t *testing.T) {
	f := func() firewall.Config {
		return firewall.Config{Forwards: []*firewall.Forward{{Listen: addr("192.0.2.1")}, {Listen: addr("192.0.2.2")}}}
	}
	a, b := f(), f()
	if !same(a, a) || !same(a, b) {
		t.Error("the same is another")
	}
	b.Forwards[1].Target = addr("192.0.2.3")
	if same(a, b) || same(a, firewall.Config{}) {
		t.Error("another is the same")
	}
}
