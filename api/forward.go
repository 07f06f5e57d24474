package api

// A NetworkForward sends what arrives for an address to addresses on a network.
type NetworkForward struct {
	Description   string               `json:"description" yaml:"description"`
	Config        map[string]string    `json:"config" yaml:"config"`
	Ports         []NetworkForwardPort `json:"ports" yaml:"ports"`
	ListenAddress string               `json:"listen_address" yaml:"listen_address"`
	Location      string               `json:"location" yaml:"location"` // the member that has it
}

// A NetworkForwardPort sends some of the ports to an address of their own.
type NetworkForwardPort struct {
	Description   string `json:"description" yaml:"description"`
	Protocol      string `json:"protocol" yaml:"protocol"`       // tcp or udp
	ListenPort    string `json:"listen_port" yaml:"listen_port"` // ports and ranges, as in 80,8000-8100
	TargetPort    string `json:"target_port" yaml:"target_port"` // as many, or one for all; the same ports when empty
	TargetAddress string `json:"target_address" yaml:"target_address"`
}

// A NetworkForwardsPost is the body of POST /1.0/networks/{name}/forwards.
type NetworkForwardsPost struct {
	Description   string               `json:"description" yaml:"description"`
	Config        map[string]string    `json:"config" yaml:"config"`
	Ports         []NetworkForwardPort `json:"ports" yaml:"ports"`
	ListenAddress string               `json:"listen_address" yaml:"listen_address"`
}

// A NetworkForwardPut is the body of PUT
// /1.0/networks/{name}/forwards/{listen}.
type NetworkForwardPut struct {
	Description string               `json:"description" yaml:"description"`
	Config      map[string]string    `json:"config" yaml:"config"`
	Ports       []NetworkForwardPort `json:"ports" yaml:"ports"`
}

// A NetworkForwardPatch is NetworkForwardPut with parts that may be left alone.
type NetworkForwardPatch struct {
	Description *string              `json:"description,omitempty"`
	Config      map[string]string    `json:"config,omitempty"`
	Ports       []NetworkForwardPort `json:"ports,omitempty"` // all of them, unless it is left out
}
