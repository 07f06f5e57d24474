package network

import (
	"net/netip"

	"netctl/config"
	"netctl/network/firewall"
	"netctl/network/link"
)

// An Instance is one instance with the configuration of its NICs decoded. It
// is never modified after its first use.
type Instance struct {
	Name    string
	VM      bool       // its NICs are taps
	Running bool       // its NICs are wanted on this host
	Netns   link.Netns // where the NICs of a container go; one of its own, named after it, when there is none
	NICs    []NIC      // sorted by Device
}

// A NIC is a device of an instance. Its HWAddr, HostName and Name are set.
type NIC struct {
	Device string
	config.NIC
}

// A Forward is one network forward. It is never modified after its first use.
type Forward struct {
	Network string
	Listen  netip.Addr
	config.Forward
}

// An ACL is one network ACL. It is never modified after its first use.
type ACL struct {
	firewall.ACL
}
