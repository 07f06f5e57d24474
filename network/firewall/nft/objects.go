package nft

import (
	"strconv"
	"strings"

	"sigs.k8s.io/knftables"

	"netctl/network/firewall"
)

// chain is c as knftables has it.
func chain(c firewall.Chain) *knftables.Chain {
	k := &knftables.Chain{Name: c.Name}
	if c.Hook != "" {
		k.Type = new(knftables.BaseChainType(c.Type))
		k.Hook = new(knftables.BaseChainHook(c.Hook))
		k.Priority = new(knftables.BaseChainPriority(strconv.Itoa(c.Priority)))
		k.Policy = new(knftables.AcceptPolicy)
	}
	return k
}

// set is s as knftables has it.
func set(s firewall.Set) knftables.Object {
	key := strings.Join(s.Key, " . ")
	var flags []knftables.SetFlag
	if s.Interval {
		flags = []knftables.SetFlag{knftables.IntervalFlag}
	}
	if s.Value != "" {
		return &knftables.Map{Name: s.Name, Type: key + " : " + s.Value, Flags: flags}
	}
	return &knftables.Set{Name: s.Name, Type: key, Flags: flags}
}

// element is e as knftables has it.
func element(e firewall.Element) *knftables.Element {
	k := &knftables.Element{Key: []string{e.Key}}
	if e.Value != "" {
		k.Map, k.Value = e.Set, []string{e.Value}
	} else {
		k.Set = e.Set
	}
	return k
}
