package api

// A NetworkACL is a list of rules for the traffic of networks that name it in
// security.acls.
type NetworkACL struct {
	Name        string            `json:"name" yaml:"name"`
	Description string            `json:"description" yaml:"description"`
	Config      map[string]string `json:"config" yaml:"config"`
	Ingress     []NetworkACLRule  `json:"ingress" yaml:"ingress"` // toward instances
	Egress      []NetworkACLRule  `json:"egress" yaml:"egress"`   // from instances
	UsedBy      []string          `json:"used_by" yaml:"used_by"`
}

// A NetworkACLRule matches packets that all of its fields match; an empty one
// matches all.
type NetworkACLRule struct {
	Action          string `json:"action" yaml:"action"`                                         // allow, drop or reject
	Source          string `json:"source,omitempty" yaml:"source,omitempty"`                     // addresses, prefixes and ranges first-last, separated by commas
	Destination     string `json:"destination,omitempty" yaml:"destination,omitempty"`           // the same
	Protocol        string `json:"protocol,omitempty" yaml:"protocol,omitempty"`                 // tcp, udp, icmp4 or icmp6
	SourcePort      string `json:"source_port,omitempty" yaml:"source_port,omitempty"`           // ports and ranges, as in 80,8000-8100; of TCP and UDP
	DestinationPort string `json:"destination_port,omitempty" yaml:"destination_port,omitempty"` // the same
	ICMPType        string `json:"icmp_type,omitempty" yaml:"icmp_type,omitempty"`               // a number
	ICMPCode        string `json:"icmp_code,omitempty" yaml:"icmp_code,omitempty"`               // a number
	Description     string `json:"description,omitempty" yaml:"description,omitempty"`
	State           string `json:"state" yaml:"state"` // enabled, disabled or logged
}

// A NetworkACLsPost is the body of POST /1.0/network-acls.
type NetworkACLsPost struct {
	Name        string            `json:"name" yaml:"name"`
	Description string            `json:"description" yaml:"description"`
	Config      map[string]string `json:"config" yaml:"config"`
	Ingress     []NetworkACLRule  `json:"ingress" yaml:"ingress"`
	Egress      []NetworkACLRule  `json:"egress" yaml:"egress"`
}

// A NetworkACLPut is the body of PUT /1.0/network-acls/{name}.
type NetworkACLPut struct {
	Description string            `json:"description" yaml:"description"`
	Config      map[string]string `json:"config" yaml:"config"`
	Ingress     []NetworkACLRule  `json:"ingress" yaml:"ingress"`
	Egress      []NetworkACLRule  `json:"egress" yaml:"egress"`
}

// A NetworkACLPatch is NetworkACLPut with parts that may be left alone.
type NetworkACLPatch struct {
	Description *string           `json:"description,omitempty"`
	Config      map[string]string `json:"config,omitempty"`
	Ingress     []NetworkACLRule  `json:"ingress,omitempty"` // all of them, unless it is left out
	Egress      []NetworkACLRule  `json:"egress,omitempty"`  // the same
}

// A NetworkACLPost is the body of POST /1.0/network-acls/{name}, a change of
// name.
type NetworkACLPost struct {
	Name string `json:"name" yaml:"name"`
}
