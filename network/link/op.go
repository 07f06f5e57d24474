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
	AddLink     Verb = iota + 1 // create Dev of Kind, with MAC and MTU when they are set, down
	SetAlias                    // mark Dev as belonging to Owner
	SetMAC                      // give Dev the address MAC
	SetMTU                      // give Dev the maximum transmission unit MTU
	SetSysctl                   // set Sysctl; Dev is empty when it is one of the host
	SetUp                       // set Dev up
	MarkPort                    // mark the foreign interface Port as a port by our doing
	AddPort                     // make Port a port of Dev
	SetPortUp                   // set Port up
	AddAddr                     // add the address Prefix to Dev
	AddRoute                    // add a route to Prefix on Dev
	DelRoute                    // remove the route to Prefix on Dev
	DelAddr                     // remove the address Prefix from Dev
	ReleasePort                 // let Port be a port of Dev no longer
	UnmarkPort                  // take our mark from Port
	DelLink                     // delete Dev
)

// An Op is one change to the kernel. It prints as the ip(8) or sysctl(8)
// command that would make the same change.
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
}

// TakesDown reports whether traffic may stop because of o.
func (o Op) TakesDown() bool {
	switch o.Verb {
	case DelRoute, DelAddr, ReleasePort, DelLink:
		return true
	case AddLink, SetAlias, SetMAC, SetMTU, SetSysctl, SetUp, MarkPort, SetPortUp, AddPort, AddAddr, AddRoute, UnmarkPort:
	}
	return false
}

func (o Op) String() string {
	switch o.Verb {
	case AddLink:
		s := "ip link add " + o.Dev
		if o.MAC != "" {
			s += " address " + o.MAC
		}
		if o.MTU != 0 {
			s += fmt.Sprintf(" mtu %d", o.MTU)
		}
		return s + fmt.Sprintf(" group %d type %s", Group, o.Kind)
	case SetAlias:
		return fmt.Sprintf("ip link set %s alias %s", o.Dev, AliasPrefix+o.Owner)
	case SetMAC:
		return fmt.Sprintf("ip link set %s address %s", o.Dev, o.MAC)
	case SetMTU:
		return fmt.Sprintf("ip link set %s mtu %d", o.Dev, o.MTU)
	case SetSysctl:
		return fmt.Sprintf("sysctl -w %s=%s", o.Sysctl.Key, o.Sysctl.Value)
	case SetUp:
		return fmt.Sprintf("ip link set %s up", o.Dev)
	case MarkPort:
		return fmt.Sprintf("ip link property add dev %s altname %s", o.Port, PortMark+o.Port)
	case SetPortUp:
		return fmt.Sprintf("ip link set %s up", o.Port)
	case AddPort:
		return fmt.Sprintf("ip link set %s master %s", o.Port, o.Dev)
	case AddAddr, DelAddr:
		return fmt.Sprintf("ip addr %s %s dev %s%s", addOrDel(o.Verb == AddAddr), o.Prefix, o.Dev, o.nodad())
	case AddRoute, DelRoute:
		return fmt.Sprintf("ip route %s %s dev %s proto %d", addOrDel(o.Verb == AddRoute), o.Prefix, o.Dev, Protocol)
	case ReleasePort:
		return fmt.Sprintf("ip link set %s nomaster", o.Port)
	case UnmarkPort:
		return fmt.Sprintf("ip link property del dev %s altname %s", o.Port, PortMark+o.Port)
	case DelLink:
		return "ip link del " + o.Dev
	}
	return fmt.Sprintf("Verb(%d)", o.Verb)
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
