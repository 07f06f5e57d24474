package daemon

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"netctl/api"
	"netctl/config"
	"netctl/network/dhcp"
	"netctl/network/link"
)

// getNetworkState is GET /1.0/networks/{name}/state.
func (d *Daemon) getNetworkState(r *http.Request) (reply, error) {
	name, _, err := d.findNetwork(r)
	if err != nil {
		return reply{}, err
	}
	s, err := d.parts.Links.Stats(name)
	if err != nil {
		return reply{}, api.Errorf(api.NotFound, "network %q: interface is not there: %w", name, err)
	}
	out := api.NetworkState{
		Addresses: []api.NetworkStateAddress{}, Hwaddr: s.MAC, MTU: s.MTU, State: "down", Type: "broadcast",
		Counters: api.NetworkStateCounters{
			BytesReceived: s.RxBytes, BytesSent: s.TxBytes, PacketsReceived: s.RxPackets, PacketsSent: s.TxPackets,
		},
		Bridge: &api.NetworkStateBridge{
			ID: s.BridgeID, STP: s.STP, ForwardDelay: s.ForwardDelay, UpperDevices: s.Ports,
			VLANDefault: s.VLANDefault, VLANFiltering: s.VLANFilter,
		},
	}
	if s.Up {
		out.State = "up"
	}
	for _, a := range s.Addrs {
		out.Addresses = append(out.Addresses, stateAddress(a))
	}
	return reply{metadata: out}, nil
}

func stateAddress(a link.Addr) api.NetworkStateAddress {
	out := api.NetworkStateAddress{Family: "inet6", Address: a.Addr().String(), Netmask: strconv.Itoa(a.Bits()), Scope: "global"}
	if a.Addr().Is4() {
		out.Family = "inet"
	}
	switch {
	case a.Addr().IsLoopback():
		out.Scope = "local"
	case a.Addr().IsLinkLocalUnicast():
		out.Scope = "link"
	}
	return out
}

// getLeases is GET /1.0/networks/{name}/leases: the leases that dnsmasq has
// given, and the bridge's own addresses.
func (d *Daemon) getLeases(r *http.Request) (reply, error) {
	name, objs, err := d.findNetwork(r)
	if err != nil {
		return reply{}, err
	}
	_, cfg, err := networkConfig(objs.Get(networkKey(name)), objs.Get(networkMemberKey(name)))
	if err != nil {
		return reply{}, err
	}
	b, err := config.BridgeSchema.Decode(cfg)
	if err != nil {
		return reply{}, err
	}
	leases, err := d.parts.DHCP.Leases(name)
	if err != nil {
		return reply{}, err
	}
	mac := b.HWAddr
	if s, err := d.parts.Links.Stats(name); err == nil {
		mac = s.MAC
	}
	out := []api.NetworkLease{}
	for _, p := range []netip.Prefix{b.V4.Address, b.V6.Address} {
		if p.IsValid() {
			out = append(out, api.NetworkLease{
				Hostname: name + ".gw", Hwaddr: mac, Address: p.Addr().String(), Type: "gateway", Location: member, Project: "default",
			})
		}
	}
	slices.SortFunc(leases, func(a, b dhcp.Lease) int { return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.MAC, b.MAC)) })
	for _, l := range leases {
		out = append(out, api.NetworkLease{
			Hostname: l.Hostname, Hwaddr: l.MAC, Address: l.Addr.String(), Type: "dynamic", Location: member, Project: "default",
		})
	}
	return reply{metadata: out}, nil
}
