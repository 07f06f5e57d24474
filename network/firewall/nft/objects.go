package nft

import (
	"strconv"
	"strings"

	"sigs.k8s.io/knftables"

	"netctl/network/firewall"
)

// table is the table of l as knftables has it.
func table(l *firewall.Layout) *knftables.Table {
	return &knftables.Table{Family: knftables.Family(l.Family), Name: firewall.Table}
}

// chain is c as knftables has it.
func chain(l *firewall.Layout, c firewall.Chain) *knftables.Chain {
	k := &knftables.Chain{Family: knftables.Family(l.Family), Table: firewall.Table, Name: c.Name}
	if c.Hook != "" {
		k.Type = new(knftables.BaseChainType(c.Type))
		k.Hook = new(knftables.BaseChainHook(c.Hook))
		k.Priority = new(knftables.BaseChainPriority(strconv.Itoa(c.Priority)))
		k.Policy = new(knftables.AcceptPolicy)
	}
	return k
}

// rule is r as knftables has it.
func rule(l *firewall.Layout, r firewall.Rule) *knftables.Rule {
	return &knftables.Rule{
		Family: knftables.Family(l.Family), Table: firewall.Table,
		Chain: r.Chain, Rule: r.Text, Comment: &r.Comment,
	}
}

// set is s as knftables has it.
func set(l *firewall.Layout, s firewall.Set) knftables.Object {
	family, key := knftables.Family(l.Family), strings.Join(s.Key, " . ")
	var flags []knftables.SetFlag
	if s.Interval {
		flags = []knftables.SetFlag{knftables.IntervalFlag}
	}
	switch {
	case s.Value != "":
		return &knftables.Map{Family: family, Table: firewall.Table, Name: s.Name, Type: key + " : " + s.Value, Flags: flags}
	case s.TypeOf != "":
		return &knftables.Set{Family: family, Table: firewall.Table, Name: s.Name, TypeOf: s.TypeOf, Flags: flags}
	}
	return &knftables.Set{Family: family, Table: firewall.Table, Name: s.Name, Type: key, Flags: flags}
}

// element is the element of an operation as knftables has it.
func element(o firewall.Op) *knftables.Element {
	e := o.Element
	k := &knftables.Element{Family: knftables.Family(o.Family()), Table: firewall.Table, Key: []string{e.Key}}
	if e.Value != "" {
		k.Map, k.Value = e.Set, []string{e.Value}
	} else {
		k.Set = e.Set
	}
	return k
}
