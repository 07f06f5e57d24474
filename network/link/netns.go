package link

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// String describes n for messages.
func (n Netns) String() string {
	switch {
	case n.Name != "":
		return "network namespace " + n.Name
	case n.Path != "":
		return "network namespace " + n.Path
	}
	return fmt.Sprintf("network namespace of process %d", n.PID)
}

// arg is n as ip(8) takes it after "netns".
func (n Netns) arg() string {
	switch {
	case n.Name != "":
		return n.Name
	case n.Path != "":
		return n.Path
	}
	return fmt.Sprint(n.PID)
}

// ip is how ip(8) is run in n.
func (n Netns) ip() string {
	switch {
	case n.Name != "":
		return "ip -n " + n.Name
	case n.Path != "":
		return "nsenter --net=" + n.Path + " ip"
	}
	return fmt.Sprintf("nsenter --target %d --net ip", n.PID)
}

// PeerGroup is the link group (IFLA_GROUP) of the end of a veth that an
// instance has, when everything that is wanted of it was done: a digest of
// what that was. The inode is that of the namespace into which it was put. The
// kernel keeps it through whatever the instance does with the interface, so
// that it tells a change of the configuration from one by the instance, which
// is at home there.
func PeerGroup(inode uint64, p Peer) uint32 {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%d %s %s %d", inode, p.Name, p.MAC, p.MTU)
	return max(h.Sum32()&0x7fffffff, 1)
}

// args is what ip(8) takes for the attributes of p that are set.
func (p Peer) args() string {
	var b strings.Builder
	if p.MAC != "" {
		b.WriteString(" address " + p.MAC)
	}
	if p.MTU != 0 {
		fmt.Fprintf(&b, " mtu %d", p.MTU)
	}
	return b.String()
}
