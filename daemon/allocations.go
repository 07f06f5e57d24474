package daemon

import (
	"net/http"
	"net/netip"

	"netctl/api"
	"netctl/config"
	"netctl/network"
)

// getAllocations is GET /1.0/network-allocations: every address and prefix in
// use, network by network.
func (d *Daemon) getAllocations(r *http.Request) (reply, error) {
	match, err := parseFilter(r.URL.Query().Get("filter"))
	if err != nil {
		return reply{}, err
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	s, err := d.decoder.snapshot(objs)
	if err != nil {
		return reply{}, err
	}
	nics, out := nicsOf(s), []api.NetworkAllocation{}
	for _, n := range s.Networks {
		leases, err := d.leases(n, nics[n.Name])
		if err != nil {
			return reply{}, err
		}
		a := allocations{network: n, config: n.Config[member]}
		a.addNetwork(leases)
		a.addNICs(nics[n.Name])
		for _, f := range forwardsOf(s, n.Name) {
			a.add(netip.PrefixFrom(f.Listen, f.Listen.BitLen()), api.NetworkAllocation{
				Type: "network-forward", UsedBy: forwardURL(n.Name, f.Listen), Key: "listen_address",
			})
		}
		for _, one := range a.list {
			if match(one) {
				out = append(out, one)
			}
		}
	}
	return reply{revision: int64(objs.Revision()), metadata: out}, nil
}

// allocations collects what is in use on one network.
type allocations struct {
	network *network.Network
	config  config.Bridge
	list    []api.NetworkAllocation
}

// add adds a prefix to the list.
func (a *allocations) add(p netip.Prefix, as api.NetworkAllocation) {
	f := a.config.V6
	if p.Addr().Is4() {
		f = a.config.V4
	}
	as.Address, as.Network = p.String(), a.network.Name
	as.NAT = f.NAT && f.Address.IsValid() && f.Address.Contains(p.Addr())
	a.list = append(a.list, as)
}

// addNetwork adds what the network has itself, and then what those have who
// are on it.
func (a *allocations) addNetwork(leases []lease) {
	var clients []lease
	mac := ""
	for _, l := range leases {
		if l.typ != "gateway" {
			clients = append(clients, l)
			continue
		}
		mac = l.mac
	}
	for _, v := range []struct {
		prefix string
		config.Family
	}{{"ipv4.", a.config.V4}, {"ipv6.", a.config.V6}} {
		own := api.NetworkAllocation{Type: "network", UsedBy: networkURL(a.network.Name)}
		if !v.Address.IsValid() {
			continue
		}
		own.Key, own.Hwaddr = v.prefix+"address", mac
		a.add(v.Address, own)
		own.Hwaddr = ""
		if v.NAT && v.NATAddress.IsValid() {
			own.Key = v.prefix + "nat.address"
			a.add(netip.PrefixFrom(v.NATAddress, v.NATAddress.BitLen()), own)
		}
		own.Key = v.prefix + "routes"
		for _, p := range v.Routes {
			a.add(p, own)
		}
	}
	for _, l := range clients {
		a.addClient(l)
	}
}

// addClient adds an address that an instance, or a client that is none, has.
func (a *allocations) addClient(l lease) {
	as := api.NetworkAllocation{Type: "network", UsedBy: networkURL(a.network.Name), Hwaddr: l.mac, Key: "lease"}
	if l.nic != nil {
		as.Type, as.UsedBy, as.Device = "instance", instanceURL(l.nic.instance), l.nic.Device
		own, _ := ownAddress(a.config.V6, l.mac)
		switch {
		case l.typ == "static" && l.addr.Is4():
			as.Key = "ipv4.address"
		case l.typ == "static":
			as.Key = "ipv6.address"
		case l.addr == own:
			as.Key = "slaac"
		}
	}
	a.add(netip.PrefixFrom(l.addr, l.addr.BitLen()), as)
}

// addNICs adds what is routed to NICs.
func (a *allocations) addNICs(nics []*ownedNIC) {
	for _, nic := range nics {
		for _, v := range []struct {
			prefix string
			config.NICFamily
		}{{"ipv4.", nic.V4}, {"ipv6.", nic.V6}} {
			as := api.NetworkAllocation{
				Type: "instance", UsedBy: instanceURL(nic.instance), Hwaddr: nic.HWAddr, Device: nic.Device, Key: v.prefix + "routes",
			}
			for _, p := range v.Routes {
				a.add(p, as)
			}
			as.Key = v.prefix + "routes.external"
			for _, p := range v.External {
				a.add(p, as)
			}
		}
	}
}
