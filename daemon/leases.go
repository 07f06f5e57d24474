package daemon

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"netctl/api"
	"netctl/config"
	"netctl/network"
)

// A lease is an address of a network in somebody's hands.
type lease struct {
	addr     netip.Addr
	typ      string // gateway, static or dynamic
	mac      string // empty when unknown
	hostname string // empty when unknown
	nic      *ownedNIC
}

// An ownedNIC is a NIC with the instance that has it.
type ownedNIC struct {
	instance string
	running  bool
	network.NIC
}

// nicsOf returns the NICs of all instances by their network, sorted by
// instance and device.
func nicsOf(s *network.Snapshot) map[string][]*ownedNIC {
	out := map[string][]*ownedNIC{}
	for _, i := range s.Instances {
		for _, n := range i.NICs {
			out[n.Network] = append(out[n.Network], &ownedNIC{i.Name, i.Running, n})
		}
	}
	return out
}

// leases returns who has which address of a network: the bridge, the NICs with
// static addresses, those that form their own (RFC 4862), and the clients that
// dnsmasq has given one.
func (d *Daemon) leases(n *network.Network, nics []*ownedNIC) ([]lease, error) {
	c := n.Config[member]
	given, err := d.parts.DHCP.Leases(n.Name)
	if err != nil {
		return nil, err
	}
	gateway := lease{typ: "gateway", mac: c.HWAddr, hostname: n.Name + ".gw"}
	if s, err := d.parts.Links.Stats(n.Name); err == nil {
		gateway.mac = s.MAC
	}
	var out []lease
	for _, f := range []config.Family{c.V4, c.V6} {
		if f.Address.IsValid() {
			gateway.addr = f.Address.Addr()
			out = append(out, gateway)
		}
	}
	var dynamic []lease
	taken, byMAC := map[netip.Addr]bool{}, map[string]*ownedNIC{}
	for _, nic := range nics {
		mac := strings.ToLower(nic.HWAddr)
		byMAC[mac] = nic
		for _, f := range []config.NICFamily{nic.V4, nic.V6} {
			if f.Address.IsValid() {
				taken[f.Address] = true
				out = append(out, lease{f.Address, "static", mac, nic.instance, nic})
			}
		}
		if a, ok := ownAddress(c.V6, mac); ok && nic.running && !taken[a] {
			taken[a] = true
			dynamic = append(dynamic, lease{a, "dynamic", mac, nic.instance, nic})
		}
	}
	now := time.Now()
	for _, l := range given {
		if taken[l.Addr] || !l.Expires.IsZero() && l.Expires.Before(now) {
			continue
		}
		one := lease{l.Addr, "dynamic", l.MAC, l.Hostname, byMAC[l.MAC]}
		if one.nic != nil {
			one.hostname = one.nic.instance
		}
		dynamic = append(dynamic, one)
	}
	slices.SortFunc(dynamic, func(a, b lease) int { return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.mac, b.mac)) })
	return append(out, dynamic...), nil
}

// ownAddress returns the address that a client with a MAC address forms in a
// subnet (RFC 4291, appendix A), where clients do so.
func ownAddress(f config.Family, mac string) (netip.Addr, bool) {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 || !f.Address.IsValid() || f.Address.Bits() != 64 || f.DHCP && f.Stateful {
		return netip.Addr{}, false
	}
	a := f.Address.Addr().As16()
	copy(a[8:], []byte{hw[0] ^ 0x02, hw[1], hw[2], 0xff, 0xfe, hw[3], hw[4], hw[5]})
	return netip.AddrFrom16(a), true
}

// getLeases is GET /1.0/networks/{name}/leases.
func (d *Daemon) getLeases(r *http.Request) (reply, error) {
	name, objs, err := d.findNetwork(r)
	if err != nil {
		return reply{}, err
	}
	s, err := d.decoder.snapshot(objs)
	if err != nil {
		return reply{}, err
	}
	i, ok := networkKind.search(s.Networks, name)
	if !ok {
		return reply{}, notFound(name)
	}
	leases, err := d.leases(s.Networks[i], nicsOf(s)[name])
	if err != nil {
		return reply{}, err
	}
	out := []api.NetworkLease{}
	for _, l := range leases {
		out = append(out, api.NetworkLease{
			Hostname: l.hostname, Hwaddr: l.mac, Address: l.addr.String(), Type: l.typ, Location: member, Project: "default",
		})
	}
	return reply{metadata: out}, nil
}
