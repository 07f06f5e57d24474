package daemon

import (
	"net/http"
	"strconv"

	"netctl/api"
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
