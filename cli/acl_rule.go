package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"netctl/api"
)

// aclRule returns the commands for the rules of network ACLs.
func (a *app) aclRule() *cobra.Command {
	return group("rule", "Manage the rules of a network ACL", "", a.aclRuleAdd(), a.aclRuleRemove())
}

// ruleFields returns the fields of a rule, by the names that they have in YAML.
func ruleFields(r *api.NetworkACLRule) map[string]*string {
	return map[string]*string{
		"action": &r.Action, "state": &r.State, "source": &r.Source, "destination": &r.Destination, "protocol": &r.Protocol,
		"source_port": &r.SourcePort, "destination_port": &r.DestinationPort,
		"icmp_type": &r.ICMPType, "icmp_code": &r.ICMPCode, "description": &r.Description,
	}
}

func (a *app) aclRuleAdd() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "add <ACL> ingress|egress <field>=<value>...", Short: "Add a rule to a network ACL",
		Long: `Add a rule to a network ACL. Ingress is what goes to instances, egress what comes
from them. A rule matches what all of its fields match: source, destination,
protocol, source_port, destination_port, icmp_type and icmp_code; action is what
becomes of it, and state, which is enabled unless it is given, whether the rule
has an effect.`,
		Example: `  netctl network acl rule add web ingress action=allow protocol=tcp destination_port=80,443
  netctl network acl rule add web egress action=drop destination=10.0.0.0/8 state=logged`,
		Args: withAssignments(2, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := ruleValues(args)
			if err != nil {
				return err
			}
			r := api.NetworkACLRule{State: "enabled"}
			for name, at := range ruleFields(&r) {
				if value, ok := values[name]; ok {
					*at = value
				}
			}
			return a.changeRules(cmd, args, func(rules []api.NetworkACLRule) ([]api.NetworkACLRule, error) {
				return append(rules, r), nil
			})
		},
		ValidArgsFunction: a.completeACL(completeRule),
	})
}

func (a *app) aclRuleRemove() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "remove <ACL> ingress|egress [<field>=<value>...]", Aliases: []string{"rm"}, Short: "Remove a rule from a network ACL",
		Long: `Remove a rule from a network ACL: the one that has the given values. With --force,
all that have them.`,
		Example: `  netctl network acl rule remove web ingress destination_port=80,443`,
		Args:    withAssignments(2, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := ruleValues(args)
			if err != nil {
				return err
			}
			return a.changeRules(cmd, args, func(rules []api.NetworkACLRule) ([]api.NetworkACLRule, error) {
				kept := slices.DeleteFunc(slices.Clone(rules), func(r api.NetworkACLRule) bool {
					fields := ruleFields(&r)
					for name, value := range values {
						if *fields[name] != value {
							return false
						}
					}
					return true
				})
				switch n := len(rules) - len(kept); {
				case n == 0:
					return nil, fmt.Errorf("network ACL %q: no matching rule found", args[0])
				case n > 1 && !force:
					return nil, fmt.Errorf("network ACL %q: multiple rules match: use --force to remove them all", args[0])
				}
				return kept, nil
			})
		},
		ValidArgsFunction: a.completeACL(completeRule),
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove all rules that match")
	return a.addWait(cmd)
}

// ruleValues returns the fields of a rule that the arguments give.
func ruleValues(args []string) (map[string]string, error) {
	values, err := assignments(args[2:])
	if err != nil {
		return nil, err
	}
	fields := ruleFields(&api.NetworkACLRule{})
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if fields[name] == nil {
			return nil, fmt.Errorf("unknown field %q of a rule: there are %s", name, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		}
	}
	return values, nil
}

// changeRules replaces the rules of one direction of an ACL by what change
// makes of them, unless somebody else changes the ACL meanwhile.
func (a *app) changeRules(cmd *cobra.Command, args []string, change func([]api.NetworkACLRule) ([]api.NetworkACLRule, error)) error {
	if args[1] != "ingress" && args[1] != "egress" {
		return &usageError{cmd, fmt.Errorf("direction %q is neither ingress nor egress", args[1])}
	}
	c := a.client()
	acl, etag, err := c.NetworkACL(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	put := writableACL(acl)
	rules := &put.Ingress
	if args[1] == "egress" {
		rules = &put.Egress
	}
	if *rules, err = change(*rules); err != nil {
		return err
	}
	rev, err := c.UpdateNetworkACL(cmd.Context(), args[0], put, etag)
	if err != nil {
		return err
	}
	return a.applied(cmd.Context(), c, rev)
}

// completeRule completes the direction and the fields of a rule.
func completeRule(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return []string{"egress", "ingress"}, noFiles
	}
	field, _, given := strings.Cut(word, "=")
	if given {
		var out []string
		for _, value := range ruleWords[field] {
			out = append(out, field+"="+value)
		}
		return out, noFiles
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(ruleFields(&api.NetworkACLRule{}))) {
		out = append(out, name+"=")
	}
	return out, noFiles | cobra.ShellCompDirectiveNoSpace
}

// ruleWords are the values of fields that have few.
var ruleWords = map[string][]string{
	"action": {"allow", "drop", "reject"}, "state": {"disabled", "enabled", "logged"}, "protocol": {"icmp4", "icmp6", "tcp", "udp"},
}
