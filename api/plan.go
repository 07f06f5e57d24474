package api

// A Plan says what a write would change, or what the host lacks of what is
// stored: the answer to any write with ?dry-run=1, and GET /1.0/plan.
type Plan struct {
	Revision int64        `json:"revision" yaml:"revision"` // that it starts from
	Members  []PlanMember `json:"members" yaml:"members"`
}

// A PlanMember is the part of a Plan that concerns one member.
type PlanMember struct {
	Member  string       `json:"member" yaml:"member"`
	Changes []PlanChange `json:"changes" yaml:"changes"` // to the host, in order
	Peers   []PlanPeer   `json:"peers" yaml:"peers"`     // whose session or prefixes change, sorted
}

// A PlanChange is one step, as the command that would do the same.
type PlanChange struct {
	Target  string `json:"target" yaml:"target"` // link, firewall, dhcp or bgp
	Command string `json:"command" yaml:"command"`
}

// A PlanPeer is what would change toward one peer.
type PlanPeer struct {
	Address  string       `json:"address" yaml:"address"`
	Session  string       `json:"session" yaml:"session"` // add, change, remove, restart or empty
	Prefixes []PlanPrefix `json:"prefixes" yaml:"prefixes"`
}

// A PlanPrefix is one prefix that a peer would be told.
type PlanPrefix struct {
	Action  string `json:"action" yaml:"action"` // announce, change or withdraw
	Prefix  string `json:"prefix" yaml:"prefix"`
	NextHop string `json:"nexthop,omitempty" yaml:"nexthop,omitempty"`
}

// Empty reports whether nothing would change.
func (p Plan) Empty() bool {
	for _, m := range p.Members {
		if len(m.Changes) > 0 || len(m.Peers) > 0 {
			return false
		}
	}
	return true
}

// A BGPExplanation is GET /1.0/bgp/explain?prefix=P: why a prefix, or the one
// that an address belongs to, is announced or not.
type BGPExplanation struct {
	Query   string           `json:"query" yaml:"query"`
	Prefix  string           `json:"prefix" yaml:"prefix"`                   // the most specific one that was found; empty when there is none
	Summary string           `json:"summary" yaml:"summary"`                 // in a sentence
	Route   *BGPRoute        `json:"route,omitempty" yaml:"route,omitempty"` // absent unless it should be announced
	Reasons []BGPReason      `json:"reasons" yaml:"reasons"`
	NextHop []BGPNextHopRule `json:"nexthops" yaml:"nexthops"` // by peer
}

// A BGPReason is one object that has the prefix, and what follows from its
// configuration.
type BGPReason struct {
	Network  string `json:"network" yaml:"network"`
	Instance string `json:"instance,omitempty" yaml:"instance,omitempty"`
	Device   string `json:"device,omitempty" yaml:"device,omitempty"`
	Forward  string `json:"forward,omitempty" yaml:"forward,omitempty"`
	Key      string `json:"key" yaml:"key"`
	Prefix   string `json:"prefix" yaml:"prefix"`
	Exported bool   `json:"exported" yaml:"exported"`
	Rule     string `json:"rule" yaml:"rule"`
}

// A BGPNextHopRule says which next hop a peer is given, and why.
type BGPNextHopRule struct {
	Peer    string `json:"peer" yaml:"peer"`
	NextHop string `json:"nexthop" yaml:"nexthop"` // empty when there is none
	Why     string `json:"why" yaml:"why"`
}
