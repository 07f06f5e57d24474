package daemon

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"netctl/api"
	"netctl/config"
	"netctl/network"
	"netctl/network/link"
)

// complete adds the state of an instance when that is wanted.
func (w *instanceView) complete(i api.Instance, v storedInstance) api.Instance {
	if !w.state {
		return i
	}
	s := &api.InstanceState{
		Status: i.Status, StatusCode: i.StatusCode, Network: map[string]api.InstanceStateNetwork{}, Processes: -1,
	}
	if v.Running {
		// Without a process lxc takes an instance for stopped, and shows less.
		s.Netns, s.PID = v.namespace(i.Name), cmp.Or(v.Netns.PID, -1)
		if at, ok := instanceKind.search(w.known.Instances, i.Name); ok {
			for _, nic := range w.known.Instances[at].NICs {
				s.Network[nic.Name] = w.nic(nic)
			}
		}
	}
	i.State = s
	return i
}

// namespace returns the path of the network namespace that a container's NICs
// are in, or nothing for a virtual machine.
func (v storedInstance) namespace(name string) string {
	switch {
	case v.Type == api.VirtualMachine:
		return ""
	case v.Netns.PID != 0:
		return fmt.Sprintf("/proc/%d/ns/net", v.Netns.PID)
	case v.Netns.Path != "":
		return v.Netns.Path
	case v.Netns.Name != "":
		return netnsDir + "/" + v.Netns.Name
	}
	return netnsDir + "/" + name
}

// nic returns what the host sees of one NIC.
func (w *instanceView) nic(nic network.NIC) api.InstanceStateNetwork {
	out := api.InstanceStateNetwork{
		Addresses: []api.NetworkStateAddress{}, Hwaddr: nic.HWAddr, HostName: nic.HostName, State: "down", Type: "broadcast",
	}
	if s, ok := w.traffic[nic.HostName]; ok {
		out.MTU = s.MTU
		if s.Up {
			out.State = "up"
		}
		// What the host sends, the instance receives.
		out.Counters = api.NetworkStateCounters{
			BytesReceived: s.TxBytes, BytesSent: s.RxBytes, PacketsReceived: s.TxPackets, PacketsSent: s.RxPackets,
		}
	}
	known := map[netip.Addr]bool{}
	for _, f := range []config.NICFamily{nic.V4, nic.V6} {
		if f.Address.IsValid() {
			known[f.Address] = true
			out.Addresses = append(out.Addresses, w.address(nic.Network, f.Address))
		}
	}
	for _, a := range w.leasesOf(nic.Network, nic.HWAddr) {
		if !known[a] {
			known[a] = true
			out.Addresses = append(out.Addresses, w.address(nic.Network, a))
		}
	}
	return out
}

// address returns an address of an instance as one of the subnet that it is
// in.
func (w *instanceView) address(name string, a netip.Addr) api.NetworkStateAddress {
	p := netip.PrefixFrom(a, a.BitLen())
	if i, ok := networkKind.search(w.known.Networks, name); ok {
		for _, of := range w.known.Networks[i].Prefixes(member) {
			if of.Contains(a) {
				p = netip.PrefixFrom(a, of.Bits())
			}
		}
	}
	return stateAddress(link.Addr{Prefix: p})
}

// leasesOf returns the addresses that a MAC address has leases for on a
// network.
func (w *instanceView) leasesOf(name, mac string) []netip.Addr {
	if !w.read[name] {
		w.read[name] = true
		leases, err := w.d.parts.DHCP.Leases(name)
		if err != nil {
			return nil
		}
		now := time.Now()
		for _, l := range leases {
			if l.Expires.IsZero() || l.Expires.After(now) {
				key := name + " " + strings.ToLower(l.MAC)
				w.leases[key] = append(w.leases[key], l.Addr)
			}
		}
	}
	return w.leases[name+" "+strings.ToLower(mac)]
}

// getInstanceNothing is GET /1.0/instances/{name}/snapshots and /backups.
func (d *Daemon) getInstanceNothing(r *http.Request) (reply, error) {
	_, _, objs, err := d.findInstance(r)
	if err != nil {
		return reply{}, err
	}
	return reply{revision: int64(objs.Revision()), metadata: []string{}}, nil
}
