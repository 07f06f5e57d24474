package daemon

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"netctl/api"
	"netctl/db"
)

// TestDecodeAfter decodes one state after another, as writes make them, and
// from nothing: the two are the same, and what a write did not touch is still
// the same pointer.
func TestDecodeAfter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		objs := db.NewObjects(0, nil)
		var before decoded
		for range rapid.IntRange(1, 8).Draw(t, "writes") {
			next, change, err := db.Apply(t.Context(), objs, nil, func(tx *db.Tx) error {
				for range rapid.IntRange(1, 3).Draw(t, "changes") {
					if err := drawChange(t, tx); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			have, err := decodeAfter(before, next)
			if err != nil {
				t.Fatal(err)
			}
			want, err := decodeAfter(decoded{}, next)
			if err != nil {
				t.Fatal(err)
			}
			if !equal(have.Networks, want.Networks) || !equal(have.Instances, want.Instances) || !equal(have.Forwards, want.Forwards) ||
				!equal(have.ACLs, want.ACLs) || !reflect.DeepEqual(have.Servers, want.Servers) {
				t.Fatalf("after %+v: have %+v, want %+v", change, have.Objects, want.Objects)
			}
			if before.snapshot != nil {
				var touched touched
				for _, key := range append(change.Puts, change.Deletes...) {
					touched.add(key)
				}
				kept(t, networkKind, before.snapshot.Networks, have.Networks, touched.networks)
				kept(t, instanceKind, before.snapshot.Instances, have.Instances, touched.instances)
				kept(t, aclKind, before.snapshot.ACLs, have.ACLs, touched.acls)
				kept(t, forwardKind, before.snapshot.Forwards, have.Forwards, touched.forwards)
			}
			objs, before = next, decoded{next, have}
		}
	})
}

func equal[T any](a, b []*T) bool {
	return slices.EqualFunc(a, b, func(a, b *T) bool { return reflect.DeepEqual(a, b) })
}

// kept fails unless everything but what was touched is the same pointer.
func kept[T any, N comparable](t *rapid.T, k objectKind[T, N], was, is []*T, touched []N) {
	for _, v := range was {
		name := k.name(v)
		i, found := k.search(is, name)
		if !slices.Contains(touched, name) && (!found || is[i] != v) {
			t.Fatalf("%v was decoded anew", name)
		}
	}
}

// drawChange puts or deletes one of a few objects, whose names begin alike.
func drawChange(t *rapid.T, tx *db.Tx) error {
	name := rapid.SampledFrom([]string{"a", "a-1", "a1", "ab"}).Draw(t, "name")
	n := rapid.IntRange(1, 5).Draw(t, "n")
	switch rapid.IntRange(0, 10).Draw(t, "change") {
	case 0:
		return tx.Put(serverKey, schemaVersion, storedServer{map[string]string{"core.bgp_asn": fmt.Sprint(65000 + n)}})
	case 1:
		return tx.Put(networkKey(name), schemaVersion, storedNetwork{Type: "bridge", Config: map[string]string{"ipv4.address": fmt.Sprintf("10.0.%d.1/24", n)}})
	case 2:
		return tx.Put(networkMemberKey(name), schemaVersion, storedMember{map[string]string{"bridge.external_interfaces": fmt.Sprintf("eth%d", n)}})
	case 3:
		tx.Delete(networkKey(name))
	case 4:
		return tx.Put(instanceKey(name), schemaVersion, storedInstance{
			Type: api.Container, Running: n > 2,
			Config: map[string]string{
				"volatile.eth0.hwaddr": fmt.Sprintf("00:16:3e:00:00:%02x", n), "volatile.eth0.host_name": fmt.Sprintf("veth%d", n),
			},
			Devices: map[string]map[string]string{"eth0": {"network": "br0"}, "eth1": {"network": "br0", "host_name": fmt.Sprintf("x%d", n)}},
		})
	case 5:
		tx.Delete(instanceKey(name))
	case 6:
		tx.Delete(forwardKey(name, listenOf(n)))
	case 7:
		tx.Delete(aclKey(name))
	case 8:
		return tx.Put(aclKey(name), schemaVersion, storedACL{Ingress: []api.NetworkACLRule{
			{Action: "allow", State: "enabled", Protocol: "icmp4", ICMPType: fmt.Sprint(n)},
		}})
	default:
		return tx.Put(forwardKey(name, listenOf(n)), schemaVersion, storedForward{
			Config: map[string]string{"target_address": rapid.SampledFrom([]string{"", "10.0.0.7"}).Draw(t, "target")},
		})
	}
	return nil
}

// listenOf returns one of some addresses, whose order is not that of their
// texts.
func listenOf(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(n * 3)}) }

func TestStoredInstance(t *testing.T) {
	t.Parallel()
	v := storedInstance{
		Type: api.VirtualMachine, Running: true, Netns: storedNetns{PID: 7, Start: 9},
		Config: map[string]string{"volatile.eth0.hwaddr": "00:16:3e:00:00:01", "volatile.eth0.host_name": "tap1", "volatile.eth1.hwaddr": "00:16:3e:00:00:02"},
		Devices: map[string]map[string]string{
			"eth1": {"network": "br1", "name": "up", "hwaddr": "02:00:00:00:00:01", "host_name": "port1"},
			"eth0": {"network": "br0"},
		},
	}
	i, err := v.decode("web")
	if err != nil {
		t.Fatal(err)
	}
	if !i.VM || !i.Running || i.Netns.PID != 7 || i.Netns.Start != 9 || len(i.NICs) != 2 {
		t.Fatalf("decoded %+v", i)
	}
	for n, want := range []string{"eth0 eth0 00:16:3e:00:00:01 tap1", "eth1 up 02:00:00:00:00:01 port1"} {
		nic := i.NICs[n]
		if have := fmt.Sprint(nic.Device, " ", nic.Name, " ", nic.HWAddr, " ", nic.HostName); have != want {
			t.Errorf("NIC %d is %q, want %q", n, have, want)
		}
	}
	v.Config["nosuch"] = "x"
	v.Devices["eth0"]["ipv4.adress"] = "x"
	v.Devices["eth1"]["type"] = "disk"
	_, err = v.decode("web")
	const want = `instance "web": unknown key "nosuch"
instance "web": device "eth0": unknown key "ipv4.adress", did you mean "ipv4.address"?
instance "web": device "eth1": invalid value "disk" for key "type": not one of nic`
	if err == nil || err.Error() != want {
		t.Errorf("have %v, want %s", err, want)
	}
}
