package gobgp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	api "github.com/osrg/gobgp/v3/api"

	"netctl/bgp"
)

// A class is what paths have in common that are exported alike: who may hear
// them and their own next hop, if they have one.
type class struct {
	key    classKey
	id     uint32
	count  map[bgp.Family]int
	peers  []netip.Addr
	attrs4 [][]byte // path attributes of the class's IPv4 paths, with its marker
	attrs6 [][]byte
}

type classKey struct {
	peers   bgp.PeerSet
	nextHop netip.Addr
}

// A scope assigns paths to classes.
type scope struct {
	classes map[classKey]*class
	paths   map[netip.Prefix]*class
	used    map[uint32]bool // numbers of classes
	next    uint32
}

func newScope() *scope {
	return &scope{classes: map[classKey]*class{}, paths: map[netip.Prefix]*class{}, used: map[uint32]bool{}}
}

// maxClass is the greatest number of a class: one less than what fits into a
// marker.
const maxClass = 1<<24 - 2

// marker returns the next hop that stands for a class within GoBGP's table:
// an address of "this network" (RFC 1122 section 3.2.1.3) or of the
// discard-only prefix 100::/64 (RFC 6666). Neither is ever a next hop.
func marker(id uint32, f bgp.Family) netip.Addr {
	if f == bgp.IPv4Unicast {
		return netip.AddrFrom4([4]byte{0, byte(id >> 16), byte(id >> 8), byte(id)})
	}
	b := [16]byte{0: 0x01}
	binary.BigEndian.PutUint32(b[12:], id)
	return netip.AddrFrom16(b)
}

// The networks that markers are from.
var (
	markers4 = netip.PrefixFrom(netip.IPv4Unspecified(), 8)
	markers6 = netip.PrefixFrom(marker(0, bgp.IPv6Unicast), 64)
)

// class returns the class of a path, a new one if need be.
func (s *scope) class(p bgp.Path) *class {
	key := classKey{p.Peers, p.NextHop}
	c := s.classes[key]
	if c == nil {
		for s.next = s.next%maxClass + 1; s.used[s.next]; s.next = s.next%maxClass + 1 {
		}
		s.used[s.next] = true
		c = &class{
			key: key, id: s.next, count: map[bgp.Family]int{}, peers: p.Peers.Addrs(),
			attrs4: pathAttributes(marker(s.next, bgp.IPv4Unicast), s.next), attrs6: pathAttributes(marker(s.next, bgp.IPv6Unicast), s.next),
		}
		s.classes[key] = c
	}
	return c
}

// set moves a path into class c; nil takes it out.
func (s *scope) set(p netip.Prefix, c *class) {
	f := bgp.FamilyOf(p)
	if old := s.paths[p]; old != nil {
		old.count[f]--
	}
	if c == nil {
		delete(s.paths, p)
		return
	}
	s.paths[p] = c
	c.count[f]++
}

// prune forgets classes without paths. Their paths must be gone from GoBGP's
// table: a withdrawal is sent to those for whom the policy would still have
// accepted the path.
func (s *scope) prune() {
	for key, c := range s.classes {
		if c.count[bgp.IPv4Unicast] == 0 && c.count[bgp.IPv6Unicast] == 0 {
			delete(s.classes, key)
			delete(s.used, c.id)
		}
	}
}

// list returns the paths, sorted by prefix.
func (s *scope) list() []*bgp.Path {
	list := make([]*bgp.Path, 0, len(s.paths))
	for p, c := range s.paths {
		list = append(list, &bgp.Path{Prefix: p, NextHop: c.key.nextHop, Peers: c.key.peers})
	}
	slices.SortFunc(list, func(a, b *bgp.Path) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	return list
}

// sorted returns the classes in the order of their numbers.
func (s *scope) sorted() []*class {
	list := make([]*class, 0, len(s.classes))
	for _, c := range s.classes {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *class) int { return int(a.id) - int(b.id) })
	return list
}

// desired counts the paths that peer should hear, and those of them that take
// their next hop from the peer.
func (s *scope) desired(peer netip.Addr, f bgp.Family) (all, default_ int) {
	for _, c := range s.classes {
		if slices.Contains(c.peers, peer) {
			all += c.count[f]
			if !c.key.nextHop.IsValid() {
				default_ += c.count[f]
			}
		}
	}
	return all, default_
}

// A rule is one export statement: for these peers, as GoBGP knows them, paths
// with one of these markers get this next hop.
//
// A rule without markers is for paths that take the place of others. GoBGP
// looks at the path that was there before to find out whether a peer has heard
// it and must now be told of its withdrawal; but it looks with the new path's
// next hop in hand, so markers do not serve. Such a rule recognises the classes
// by their community, which takes longer, and stays only for as long as paths
// change their classes. It is for classes that another rule lets through to the
// same peers, so nothing gets through by it alone.
type rule struct {
	peers   []netip.Addr
	markers []netip.Addr
	nextHop netip.Addr

	family  bgp.Family // of the paths in classes
	classes []uint32
}

func (r rule) String() string {
	return fmt.Sprint(r.peers, r.markers, r.nextHop, r.family, r.classes)
}

// An audience is a peer as far as it matters to the policy.
type audience struct {
	addr    netip.Addr
	inner   netip.Addr // as GoBGP knows it
	nextHop map[bgp.Family]netip.Addr
}

// families lists the families of every session.
var families = []bgp.Family{bgp.IPv4Unicast, bgp.IPv6Unicast}

// rules returns the export statements. There is one for each peer and family,
// and one for each class with a next hop of its own. While paths are moving
// from class to class there is one more for each peer and family.
func (s *scope) rules(peers []audience, moving bool) []rule {
	classes := s.sorted()
	rules := []rule{{markers: []netip.Addr{marker(fenceClass, bgp.IPv4Unicast), marker(fenceClass, bgp.IPv6Unicast)}, nextHop: netip.IPv6Loopback()}}
	for _, p := range peers {
		for _, f := range families {
			if r := p.rule(classes, f); r.markers != nil {
				rules = append(rules, r)
			}
		}
	}
	for _, c := range classes {
		if r := c.rule(peers); r.peers != nil {
			rules = append(rules, r)
		}
	}
	if !moving {
		return rules
	}
	for _, p := range peers {
		for _, f := range families {
			r := rule{peers: []netip.Addr{p.inner}, family: f}
			for _, c := range classes {
				if p.hears(c, f) {
					r.classes = append(r.classes, c.id)
				}
			}
			if r.classes != nil {
				rules = append(rules, r)
			}
		}
	}
	return rules
}

// hears reports whether paths of a class and family are sent to the peer.
func (p audience) hears(c *class, f bgp.Family) bool {
	if !slices.Contains(c.peers, p.addr) {
		return false
	}
	if c.key.nextHop.IsValid() {
		return f == familyOfAddr(c.key.nextHop)
	}
	return p.nextHop[f].IsValid()
}

func familyOfAddr(a netip.Addr) bgp.Family { return bgp.FamilyOf(netip.PrefixFrom(a, a.BitLen())) }

// rule is for paths of a family that take their next hop from the peer.
func (p audience) rule(classes []*class, f bgp.Family) rule {
	r := rule{peers: []netip.Addr{p.inner}, nextHop: p.nextHop[f]}
	for _, c := range classes {
		if !c.key.nextHop.IsValid() && p.hears(c, f) {
			r.markers = append(r.markers, marker(c.id, f))
		}
	}
	return r
}

// rule is for the paths of a class with a next hop of its own.
func (c *class) rule(peers []audience) rule {
	nh := c.key.nextHop
	r := rule{nextHop: nh}
	if !nh.IsValid() {
		return r
	}
	r.markers = []netip.Addr{marker(c.id, familyOfAddr(nh))}
	for _, p := range peers {
		if slices.Contains(c.peers, p.addr) {
			r.peers = append(r.peers, p.inner)
		}
	}
	return r
}

// moves reports whether a path leaves the ears of a peer by moving into class
// c.
func (s *scope) moves(p netip.Prefix, c *class) bool {
	old := s.paths[p]
	return old != nil && slices.ContainsFunc(old.peers, func(a netip.Addr) bool { return !slices.Contains(c.peers, a) })
}

// Names of GoBGP's policies.
const (
	importPolicy = "own-paths-only"
	exportPolicy = "scope"
	globalTable  = "global"
)

// policies puts rules into the words of GoBGP. Locally added paths pass the
// import policy too, which is why it accepts them and nothing else.
func policies(rules []rule) *api.SetPoliciesRequest {
	export := &api.Policy{Name: exportPolicy}
	req := &api.SetPoliciesRequest{Policies: []*api.Policy{
		{Name: importPolicy, Statements: []*api.Statement{{
			Name:       importPolicy,
			Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
			Actions:    &api.Actions{RouteAction: api.RouteAction_ACCEPT},
		}}},
		export,
	}}
	sets := map[string]bool{}
	define := func(t api.DefinedType, list []string) *api.MatchSet {
		name := strings.Join(list, ",")
		if !sets[name] {
			sets[name] = true
			req.DefinedSets = append(req.DefinedSets, &api.DefinedSet{DefinedType: t, Name: name, List: list})
		}
		return &api.MatchSet{Type: api.MatchSet_ANY, Name: name}
	}
	for i, r := range rules {
		st := &api.Statement{
			Name:       fmt.Sprintf("%s-%d", exportPolicy, i),
			Conditions: &api.Conditions{},
			Actions:    &api.Actions{RouteAction: api.RouteAction_ACCEPT, Community: &api.CommunityAction{Type: api.CommunityAction_REPLACE}},
		}
		if r.peers != nil {
			st.Conditions.NeighborSet = define(api.DefinedType_NEIGHBOR, prefixes(r.peers))
		}
		if r.markers != nil {
			st.Conditions.NextHopInList = prefixes(r.markers)
			st.Actions.Nexthop = &api.NexthopAction{Address: r.nextHop.String()}
		} else {
			st.Conditions.AfiSafiIn = []*api.Family{apiFamily(r.family)}
			st.Conditions.CommunitySet = define(api.DefinedType_COMMUNITY, []string{communities(r.classes)})
		}
		export.Statements = append(export.Statements, st)
	}
	return req
}

// communities writes a regular expression for the communities of classes.
func communities(classes []uint32) string {
	list := make([]string, len(classes))
	for i, c := range classes {
		list[i] = fmt.Sprintf("%d:%d", c>>16, c&0xffff)
	}
	return "^(" + strings.Join(list, "|") + ")$"
}

// prefixes writes addresses as host prefixes.
func prefixes(addrs []netip.Addr) []string {
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = netip.PrefixFrom(a, a.BitLen()).String()
	}
	return list
}

// pathAttributes returns the path attributes of a path of ours. GoBGP turns an
// IPv6 NEXT_HOP into MP_REACH_NLRI (RFC 4760 section 3).
func pathAttributes(nextHop netip.Addr, class uint32) [][]byte {
	nh := nextHop.AsSlice()
	return [][]byte{
		{attrTransitive, attrOrigin, 1, originIGP},
		append([]byte{attrTransitive, attrNextHop, byte(len(nh))}, nh...),
		binary.BigEndian.AppendUint32([]byte{attrOptional | attrTransitive, attrCommunities, 4}, class),
	}
}

// Family numbers in the words of GoBGP.
var (
	apiFamily4 = &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}
	apiFamily6 = &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}
)

func apiFamily(f bgp.Family) *api.Family {
	if f == bgp.IPv4Unicast {
		return apiFamily4
	}
	return apiFamily6
}

// encode puts a path of class c into the words of GoBGP.
func encode(p netip.Prefix, c *class) *api.Path {
	out := &api.Path{NlriBinary: nlri(p)}
	if p.Addr().Is4() {
		out.Family, out.PattrsBinary = apiFamily4, c.attrs4
	} else {
		out.Family, out.PattrsBinary = apiFamily6, c.attrs6
	}
	return out
}

// nlri is the wire form of a prefix (RFC 4271 section 4.3).
func nlri(p netip.Prefix) []byte {
	return append([]byte{byte(p.Bits())}, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
}
