package daemon

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"netctl/api"
	"netctl/config"
	"netctl/db"
	"netctl/network"
)

// A storedForward is the value of /forward/<network>/<listen address>.
type storedForward struct {
	Description string                   `json:"description"`
	Config      map[string]string        `json:"config"`
	Ports       []api.NetworkForwardPort `json:"ports"`
}

// forwardsPrefix is what the keys of all forwards of a network begin with.
func forwardsPrefix(network string) string { return db.Key("forward", network) + "/" }

func forwardKey(network string, listen netip.Addr) string {
	return forwardsPrefix(network) + listen.String()
}

// spec returns the forward as package config takes it.
func (s storedForward) spec(listen netip.Addr) config.ForwardSpec {
	out := config.ForwardSpec{Listen: listen, Config: s.Config}
	for _, p := range s.Ports {
		out.Ports = append(out.Ports, config.PortSpec{
			Protocol: p.Protocol, ListenPort: p.ListenPort, TargetAddress: p.TargetAddress, TargetPort: p.TargetPort,
		})
	}
	return out
}

// A forwardName is what a forward is known by.
type forwardName struct {
	network string
	listen  netip.Addr
	key     string
}

// newForwardName returns the name of the forward that is stored under a key
// with these parts.
func newForwardName(key string, parts []string) forwardName {
	listen, _ := netip.ParseAddr(parts[2]) // decodeForward refuses what is none
	return forwardName{parts[1], listen, key}
}

func (n forwardName) compare(o forwardName) int {
	return cmp.Or(strings.Compare(n.network, o.network), n.listen.Compare(o.listen), strings.Compare(n.key, o.key))
}

var forwardKind = objectKind[network.Forward, forwardName]{
	name: func(f *network.Forward) forwardName {
		return forwardName{f.Network, f.Listen, forwardKey(f.Network, f.Listen)}
	},
	compare: forwardName.compare,
	key:     func(n forwardName) string { return n.key },
	decode:  decodeForward,
}

func decodeForward(objs *db.Objects, name forwardName) (*network.Forward, error) {
	if name.key != forwardKey(name.network, name.listen) {
		return nil, fmt.Errorf("object %s: not the key of a forward", name.key)
	}
	var s storedForward
	if err := load(objs.Get, name.key, &s); err != nil {
		return nil, err
	}
	f, err := s.spec(name.listen).Decode()
	if err != nil {
		return nil, forwardError(name.network, name.listen, err)
	}
	return &network.Forward{Network: name.network, Listen: name.listen, Forward: f}, nil
}

// forwardError says of which forward it is that err complains about.
func forwardError(network string, listen netip.Addr, err error) error {
	return configError(fmt.Sprintf("forward %s of network %q", listen, network), err)
}
