package config

import "net/netip"

// Forward is the decoded form of a network forward, without its listen
// address.
type Forward struct {
	Target netip.Addr // of what no port of Ports takes; zero for none
	Ports  []ForwardPort
}

// ForwardPort sends a range of ports elsewhere.
type ForwardPort struct {
	Protocol    string // tcp or udp
	First, Last uint16 // listened on
	Target      netip.Addr
	To          uint16 // the port that First goes to, and so on; with ToLast equal to To all go there
	ToLast      uint16
}

// ForwardSchema declares the keys of network forwards.
var ForwardSchema = newSchema("network-forward", "Network forward", nil,
	field(Key{
		Name: "target_address", DefaultDoc: "none",
		Doc: "Address that everything goes to which none of the ports says otherwise of.",
	}, endpointOfNetwork, func(f *Forward) *addr { return &f.Target }),
)

// endpointOfNetwork accepts an address that an instance can have.
var endpointOfNetwork = Type[netip.Addr]{
	Name: "IP address", Kind: "string",
	Parse: func(s string) (netip.Addr, error) {
		a, err := parseAddr(s, 0)
		if err == nil {
			err = checkRoutable(a)
		}
		return a, err
	},
}
