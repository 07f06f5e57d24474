package api

// A NetworkAllocation is an address or a prefix in use on a network, and by
// what.
type NetworkAllocation struct {
	Address string `json:"addresses" yaml:"addresses"` // with its length; the plural is LXD's
	UsedBy  string `json:"used_by" yaml:"used_by"`     // the path of what uses it
	Type    string `json:"type" yaml:"type"`           // network, instance or network-forward
	NAT     bool   `json:"nat" yaml:"nat"`             // the network translates it on the way out
	Hwaddr  string `json:"hwaddr" yaml:"hwaddr"`       // of what uses it; empty for none
	Network string `json:"network" yaml:"network"`
	Device  string `json:"device,omitempty" yaml:"device,omitempty"` // of the instance
	// Key is what the address comes from: the key that has it, lease for one
	// that DHCP gave, or slaac for one that the instance forms.
	Key string `json:"key" yaml:"key"`
}
