package fault

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"netctl/config"
	"netctl/network"
)

// member is who everything here is derived for.
const member = "none"

// A draft is what a client may want: a network, and on it the NIC of an
// instance and a forward, and a rule of the ACLs of the network. Each is the
// lines key=value of a configuration.
type draft struct {
	name                       string // of the network
	network, nic, forward, acl map[string]string
}

// lines reads the lines of a configuration.
func lines(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		out[key] = value
	}
	maps.DeleteFunc(out, func(k, v string) bool { return v == "" || k == "raw.dnsmasq" }) // which is meant to be raw
	return out
}

// take returns the value of a key that is none of the configuration.
func take(from map[string]string, key string) string {
	v := from[key]
	delete(from, key)
	return v
}

// derive returns what the host makes of a draft, or an error when the daemon
// would refuse it.
func (d *draft) derive() (*network.Host, error) {
	if err := config.ValidateName(d.name); err != nil {
		return nil, err
	}
	bridge, err := config.BridgeSchema.Decode(d.network)
	if err := errors.Join(err, config.BridgeSchema.Validate(d.network)); err != nil {
		return nil, err
	}
	server, err := config.ServerSchema.Decode(map[string]string{"core.bgp_asn": "65001", "core.bgp_address": "192.0.2.2:179"})
	if err != nil {
		return nil, err
	}
	objects := network.Objects{Networks: []*network.Network{{Name: d.name, Config: map[string]config.Bridge{member: bridge}}}}
	objects.ACLs, err = d.acls(bridge.ACLs)
	if err != nil {
		return nil, err
	}
	if len(d.nic) > 0 {
		i, err := d.instance()
		if err != nil {
			return nil, err
		}
		objects.Instances = []*network.Instance{i}
	}
	if len(d.forward) > 0 {
		f, err := d.listen()
		if err != nil {
			return nil, err
		}
		objects.Forwards = []*network.Forward{f}
	}
	return network.Derive(&network.Snapshot{
		Revision: 1, Servers: map[string]config.Server{member: server}, Objects: objects,
	}, nil, member)
}

// acls returns ACLs with a rule.
func (d *draft) acls(names []string) ([]*network.ACL, error) {
	rule := config.RuleSpec{
		Action: "drop", State: "logged", Source: d.acl["source"], Destination: d.acl["destination"], Protocol: d.acl["protocol"],
		SourcePort: d.acl["source_port"], DestinationPort: d.acl["destination_port"], ICMPType: d.acl["icmp_type"], ICMPCode: d.acl["icmp_code"],
	}
	if action, ok := d.acl["action"]; ok {
		rule.Action = action
	}
	decoded, err := config.ACLSpec{Ingress: []config.RuleSpec{rule}}.Decode()
	var out []*network.ACL
	for _, name := range slices.Sorted(slices.Values(names)) {
		err = errors.Join(err, config.ValidateACLName(name))
		out = append(out, network.NewACL(name, decoded))
	}
	return out, err
}

// instance returns a running instance with one NIC.
func (d *draft) instance() (*network.Instance, error) {
	cfg := maps.Clone(d.nic)
	name, device := take(cfg, "instance"), take(cfg, "device")
	cfg["network"] = d.name
	nic, err := config.NICSchema.Decode(cfg)
	i := &network.Instance{Name: name, VM: take(cfg, "vm") != "", Running: true}
	err = errors.Join(err, config.NICSchema.Validate(cfg), config.ValidateInstanceName(name), config.ValidateDeviceName(device))
	if nic.Name == "" {
		nic.Name = device
		err = errors.Join(err, config.ValidateInterfaceName(device))
	}
	if nic.HWAddr == "" {
		nic.HWAddr = "00:16:3e:00:00:01"
	}
	if nic.HostName == "" {
		nic.HostName = "veth0"
	}
	i.NICs = []network.NIC{{Device: device, NIC: nic}}
	return i, err
}

// listen returns a forward with one entry of ports.
func (d *draft) listen() (*network.Forward, error) {
	addr, err := config.ParseListenAddress(d.forward["listen"])
	if err != nil {
		return nil, err
	}
	spec := config.ForwardSpec{Listen: addr, Config: map[string]string{}}
	if target := d.forward["target"]; target != "" {
		spec.Config["target_address"] = target
	}
	if d.forward["listen_port"] != "" {
		spec.Ports = []config.PortSpec{{
			Protocol: d.forward["protocol"], ListenPort: d.forward["listen_port"], TargetAddress: d.forward["target_address"], TargetPort: d.forward["target_port"],
		}}
	}
	f, err := spec.Decode()
	return &network.Forward{Network: d.name, Listen: addr, Forward: f}, err
}

// instanceName, hostName and peerName are what an accepted draft has, or
// something that occurs nowhere.
func (d *draft) instanceName() string { return cmp.Or(d.nic["instance"], "#") }
func (d *draft) hostName() string     { return cmp.Or(d.nic["host_name"], "veth0") }
func (d *draft) peerName() string     { return cmp.Or(d.nic["name"], d.nic["device"], "#") }

// some are the addresses of a network.
const some = "ipv4.address=10.0.0.1/24\nipv6.address=fd42::1/64\n"

// seedNetworks adds the corpus of package config, and hostile networks.
func seedNetworks(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("../../config/testdata/bridge-*.yml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		m := map[string]string{}
		if err := yaml.Unmarshal(text, &m); err != nil {
			f.Fatal(err)
		}
		var b strings.Builder
		for key, value := range m {
			fmt.Fprintf(&b, "%s=%s\n", key, value)
		}
		f.Add("br0", b.String(), "", "", "")
	}
	for _, h := range hostile {
		f.Add(h, some, "", "", "")
		for _, key := range []string{"dns.domain", "dns.search", "bridge.external_interfaces", "bridge.hwaddr", "ipv4.nat.address", "ipv4.routes", "bgp.peers." + h + ".password", h} {
			f.Add("br0", some+key+"="+h+"\n", "", "", "")
		}
	}
	for _, name := range []string{"br-0", "br.0", "br_0", "a1", "b.c.d", "veryverylongnam", "user", "table", "drop", "accept", "inet", "jump", "th", "0x"} {
		f.Add(name, some+"ipv4.nat=true\nipv6.nat=true\nipv4.routes=10.1.0.0/16\nipv6.dhcp.stateful=true\nipv4.routing=false\n", "", "", "")
	}
}

// seedOthers adds NICs, forwards and rules of ACLs, and hostile ones.
func seedOthers(f *testing.F) {
	f.Helper()
	const (
		network = some + "ipv4.nat=true\nipv6.dhcp.stateful=true\nsecurity.acls=web\n"
		nic     = "instance=web\ndevice=eth0\nipv4.address=10.0.0.9\nipv6.address=fd42::9\nipv4.routes.external=198.51.100.7/32,203.0.113.0/24\nipv6.routes=2001:db8::/64\n" +
			"security.ipv4_filtering=true\nsecurity.ipv6_filtering=true\nsecurity.port_isolation=true\nlimits.max=10Mbit\nlimits.priority=7\n"
		forward = "listen=198.51.100.20\ntarget=10.0.0.8\nprotocol=tcp\nlisten_port=80-90,443\ntarget_address=10.0.0.9\ntarget_port=8080-8090,8443\n"
		acl     = "action=reject\nsource=10.0.0.0/8,fd00::/8\ndestination=192.0.2.1-192.0.2.9\nprotocol=tcp\nsource_port=1-9\ndestination_port=80,443\n"
	)
	f.Add("br0", network, nic, forward, acl)
	f.Add("br0", network, nic+"vm=true\ntap.uid=107\nmtu=1400\n", "listen=2001:db8::20\ntarget=fd42::9\n", "protocol=icmp6\nicmp_type=1\nicmp_code=3\n")
	for _, h := range append(slices.Clone(hostile), "ignore", "infinite", "set", "tag", "id", "inet", "drop", "root", "averylongdevicename1") {
		for _, key := range []string{"instance", "device", "name", "host_name", "hwaddr", "ipv4.address", "ipv4.routes.external", "limits.max", "limits.priority", h} {
			f.Add("br0", network, nic+key+"="+h+"\n", "", "")
		}
		for _, key := range []string{"listen", "target", "protocol", "listen_port", "target_address", "target_port"} {
			f.Add("br0", network, "", forward+key+"="+h+"\n", "")
		}
		for _, key := range []string{"action", "source", "destination", "protocol", "source_port", "destination_port", "icmp_type", "icmp_code"} {
			f.Add("br0", network, "", "", acl+key+"="+h+"\n")
		}
		f.Add("br0", some+"security.acls="+h+"\n", "", "", acl)
	}
}
