package link

import (
	"fmt"
	"net/netip"
)

// A Verb says what an [Op] does.
type Verb int

// The verbs, in the order in which a new link is made and an old one taken
// down.
const (
	AddNamespace  Verb = iota + 1 // create the network namespace Dev, with its loopback up and marked as Owner's
	MarkNamespace                 // mark the namespace Dev, which is ours, as Owner's
	AddLink                       // create Dev of Kind, with MAC, MTU, Peer and Tun as far as they are set, down
	SetAlias                      // mark Dev as belonging to Owner
	SetMAC                        // give Dev the address MAC
	SetMTU                        // give Dev the maximum transmission unit MTU
	SetWary                       // let the bridge Dev learn nothing from frames to link-local groups
	SetSysctl                     // set Sysctl; Dev is empty when it is one of the host
	SetMaster                     // make Dev, which is ours, a port of the bridge Port
	SetPort                       // set Isolated and Hairpin of the bridge port Dev
	SetRate                       // hold what Dev sends to Rate
	AddRedirect                   // redirect what Dev receives to the IFB Port
	SetUp                         // set Dev up
	SetPeer                       // make the other end of Dev, which is called Port now, what Peer says, and up
	MarkPort                      // mark the foreign interface Port as a port by our doing
	AddPort                       // make Port a port of Dev
	SetPortUp                     // set Port up
	AddAddr                       // add the address Prefix to Dev
	AddRoute                      // add Route
	SetRoute                      // replace the hops of a route of ours by those of Route
	DelRoute                      // remove Route
	DelAddr                       // remove the address Prefix from Dev
	DelRate                       // hold what Dev sends to no rate
	DelRedirect                   // let what Dev receives go its way
	DelMaster                     // let Dev, which is ours, be a port no longer
	ReleasePort                   // let Port be a port of Dev no longer
	UnmarkPort                    // take our mark from Port
	DelIdle                       // delete the tap Dev unless somebody has it open
	DelLink                       // delete Dev
	DelNamespace                  // delete the network namespace Dev
)

// An Op is one change to the kernel. It prints as the ip(8), bridge(8), tc(8)
// or sysctl(8) command that would make the same change.
type Op struct {
	Verb   Verb
	Owner  string // whose doing it is; empty for the host's
	Dev    string
	Kind   Kind
	MAC    string
	MTU    int
	Port   string
	Prefix netip.Prefix
	Sysctl Sysctl
	Peer   *Peer  // shared, never modified
	Tun    *Tun   // shared, never modified
	Route  *Route // shared, never modified
	Rate   uint64 // bits per second

	Isolated, Hairpin bool
}

// Space reports whether o is about a network namespace.
func (o Op) Space() bool {
	return o.Verb == AddNamespace || o.Verb == MarkNamespace || o.Verb == DelNamespace
}

// TakesDown reports whether traffic may stop because of o.
func (o Op) TakesDown() bool {
	switch o.Verb {
	case DelRoute, DelAddr, ReleasePort, DelMaster, DelIdle, DelLink, DelNamespace:
		return true
	case AddNamespace, MarkNamespace, AddLink, SetAlias, SetMAC, SetMTU, SetWary, SetSysctl, SetMaster, SetPort, SetRate, AddRedirect, SetUp,
		SetPeer, MarkPort, SetPortUp, AddPort, AddAddr, AddRoute, SetRoute, DelRate, DelRedirect, UnmarkPort:
	}
	return false
}

func (o Op) String() string {
	set := "ip link set " + o.Dev
	switch o.Verb {
	case AddNamespace:
		return fmt.Sprintf("ip netns add %s && ip -n %[1]s link set lo up alias %s", o.Dev, AliasPrefix+o.Owner)
	case MarkNamespace:
		return fmt.Sprintf("ip -n %s link set lo alias %s", o.Dev, AliasPrefix+o.Owner)
	case AddLink:
		return o.addLink()
	case SetAlias:
		return set + " alias " + AliasPrefix + o.Owner
	case SetMAC:
		return set + " address " + o.MAC
	case SetMTU:
		return fmt.Sprintf("%s mtu %d", set, o.MTU)
	case SetWary:
		return set + " type bridge no_linklocal_learn 1"
	case SetSysctl:
		return fmt.Sprintf("sysctl -w %s=%s", o.Sysctl.Key, o.Sysctl.Value)
	case SetUp:
		return set + " up"
	case SetMaster:
		return set + " master " + o.Port
	case DelMaster:
		return set + " nomaster"
	case SetPort:
		return fmt.Sprintf("bridge link set dev %s isolated %s hairpin %s", o.Dev, onOrOff(o.Isolated), onOrOff(o.Hairpin))
	case SetPeer:
		return o.setPeer()
	case SetRate, DelRate, AddRedirect, DelRedirect:
		return o.limit()
	case MarkPort, UnmarkPort, SetPortUp, AddPort, ReleasePort:
		return o.foreign()
	case AddAddr, DelAddr:
		return fmt.Sprintf("ip addr %s %s dev %s%s", addOrDel(o.Verb == AddAddr), o.Prefix, o.Dev, o.nodad())
	case AddRoute:
		return "ip route add " + o.Route.args()
	case SetRoute:
		return "ip route replace " + o.Route.args()
	case DelRoute:
		return "ip route del " + o.Route.args()
	case DelIdle, DelLink:
		return "ip link del " + o.Dev
	case DelNamespace:
		return "ip netns del " + o.Dev
	}
	return fmt.Sprintf("Verb(%d)", o.Verb)
}

// addLink prints AddLink.
func (o Op) addLink() string {
	if o.Kind == Tap {
		s := "ip tuntap add dev " + o.Dev + " mode tap"
		if o.Tun.UID != 0 || o.Tun.GID == 0 {
			s += fmt.Sprintf(" user %d", o.Tun.UID)
		}
		if o.Tun.GID != 0 {
			s += fmt.Sprintf(" group %d", o.Tun.GID)
		}
		if o.Tun.MultiQueue {
			s += " multi_queue"
		}
		return s + " vnet_hdr && ip link set " + o.Dev + Peer{MAC: o.MAC, MTU: o.MTU}.args() + fmt.Sprintf(" group %d", Group)
	}
	s := "ip link add " + o.Dev + Peer{MAC: o.MAC, MTU: o.MTU}.args() + fmt.Sprintf(" group %d type %s", Group, o.Kind)
	if o.Peer != nil {
		s += " peer name " + o.Peer.Name + o.Peer.args() + " netns " + o.Peer.Netns.arg()
	}
	return s
}

// setPeer prints SetPeer.
func (o Op) setPeer() string {
	s := o.Peer.Netns.ip() + " link set " + o.Port
	if o.Port != o.Peer.Name {
		s += " name " + o.Peer.Name
	}
	return s + o.Peer.args() + " up"
}

// limit prints what changes the limits of a link.
func (o Op) limit() string {
	if o.Verb == SetRate {
		return fmt.Sprintf("tc qdisc replace dev %s root handle %x: %s", o.Dev, RateHandle, ShapeOf(o.Rate).tc())
	}
	if o.Verb == DelRate {
		return fmt.Sprintf("tc qdisc del dev %s root", o.Dev)
	}
	if o.Verb == AddRedirect {
		return fmt.Sprintf("tc qdisc replace dev %s ingress && tc filter replace dev %[1]s ingress protocol all prio %[2]d"+
			" u32 match u32 0 0 action mirred egress redirect dev %[3]s", o.Dev, RateHandle, o.Port)
	}
	return fmt.Sprintf("tc qdisc del dev %s ingress", o.Dev)
}

// foreign prints what is done to a foreign interface.
func (o Op) foreign() string {
	if o.Verb == MarkPort || o.Verb == UnmarkPort {
		return fmt.Sprintf("ip link property %s dev %s altname %s", addOrDel(o.Verb == MarkPort), o.Port, PortMark+o.Port)
	}
	if o.Verb == AddPort {
		return fmt.Sprintf("ip link set %s master %s", o.Port, o.Dev)
	}
	if o.Verb == ReleasePort {
		return fmt.Sprintf("ip link set %s nomaster", o.Port)
	}
	return fmt.Sprintf("ip link set %s up", o.Port)
}

func onOrOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func addOrDel(add bool) string {
	if add {
		return "add"
	}
	return "del"
}

// nodad is how a new IPv6 address of ours skips duplicate address detection
// (RFC 4862, section 5.4): it is usable at once, also before the bridge has a
// port.
func (o Op) nodad() string {
	if o.Verb == AddAddr && o.Prefix.Addr().Is6() {
		return " nodad"
	}
	return ""
}
