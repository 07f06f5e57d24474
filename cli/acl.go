package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/client"
	"netctl/config"
)

// acl returns the commands for network ACLs.
func (a *app) acl() *cobra.Command {
	return group("acl", "Manage network ACLs", `Manage network ACLs: lists of rules for what goes to and comes from instances of
the networks that name them in security.acls.`,
		a.aclList(), a.aclShow(), a.aclCreate(), a.aclGet(), a.aclSet(), a.aclUnset(),
		a.aclEdit(), a.aclRename(), a.aclDelete(), a.aclRule())
}

func (a *app) aclList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List network ACLs", Args: exactly(0),
	}
	format := addFormat(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		acls, err := a.client().NetworkACLs(cmd.Context())
		if err != nil {
			return err
		}
		g := grid{header: []string{"NAME", "DESCRIPTION", "INGRESS", "EGRESS", "USED BY"}}
		for _, acl := range acls {
			g.rows = append(g.rows, []string{
				acl.Name, acl.Description, strconv.Itoa(len(acl.Ingress)), strconv.Itoa(len(acl.Egress)), strconv.Itoa(len(acl.UsedBy)),
			})
		}
		return a.list(*format, acls, g)
	}
	return cmd
}

func (a *app) aclShow() *cobra.Command {
	return &cobra.Command{
		Use: "show <ACL>", Short: "Show a network ACL with its rules", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			acl, _, err := a.client().NetworkACL(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.object("yaml", acl)
		},
		ValidArgsFunction: a.completeACL(nil),
	}
}

func (a *app) aclCreate() *cobra.Command {
	var acl api.NetworkACLsPost
	cmd := &cobra.Command{
		Use: "create <ACL> [<key>=<value>...]", Short: "Create a network ACL",
		Long: `Create a network ACL, without rules. It has an effect on the networks that name it
in security.acls.`,
		Example: `  netctl network acl create web --description "web servers"
  netctl network acl rule add web ingress action=allow protocol=tcp destination_port=80,443
  netctl network set br0 security.acls=web`,
		Args: withAssignments(1, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			acl.Name = args[0]
			if acl.Config, err = assignments(args[1:]); err != nil {
				return err
			}
			c := a.client()
			rev, err := c.CreateNetworkACL(cmd.Context(), acl)
			if err != nil {
				return err
			}
			if err := a.say("Network ACL %s created", acl.Name); err != nil {
				return err
			}
			return a.applied(cmd.Context(), c, rev)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return nil, noFiles },
	}
	cmd.Flags().StringVar(&acl.Description, "description", "", "what the ACL is for")
	return a.addWait(cmd)
}

func (a *app) aclGet() *cobra.Command {
	var property bool
	cmd := &cobra.Command{
		Use: "get <ACL> <key>", Short: "Show the value of one key", Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			acl, _, err := a.client().NetworkACL(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if property {
				if err := describable(args[1]); err != nil {
					return err
				}
				return a.say("%s", acl.Description)
			}
			value, ok := acl.Config[args[1]]
			if !ok {
				if err := known(config.ACLSchema, args[1]); err != nil {
					return fmt.Errorf("network ACL %q: %w", args[0], err)
				}
			}
			return a.say("%s", value)
		},
		ValidArgsFunction: a.completeACL(a.completeSet(aclConfig, 2)),
	}
	addProperty(cmd, &property)
	return cmd
}

func (a *app) aclSet() *cobra.Command {
	var property bool
	cmd := &cobra.Command{
		Use: "set <ACL> <key>=<value>... | <key> <value>", Short: "Change some keys of a network ACL",
		Long: "Change some keys of a network ACL. The others stay as they are. An empty value\nunsets a key.",
		Args: withAssignments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := assignments(args[1:])
			if err != nil {
				return err
			}
			return a.patchACL(cmd, args[0], values, property)
		},
		ValidArgsFunction: a.completeACL(completeAssignment(config.ACLSchema, 1)),
	}
	addProperty(cmd, &property)
	return a.addWait(cmd)
}

func (a *app) aclUnset() *cobra.Command {
	var property bool
	cmd := &cobra.Command{
		Use: "unset <ACL> <key>...", Short: "Unset some keys of a network ACL", Args: atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !property {
				if err := known(config.ACLSchema, args[1:]...); err != nil {
					return fmt.Errorf("network ACL %q: %w", args[0], err)
				}
			}
			return a.patchACL(cmd, args[0], unset(args[1:]), property)
		},
		ValidArgsFunction: a.completeACL(a.completeSet(aclConfig, 0)),
	}
	addProperty(cmd, &property)
	return a.addWait(cmd)
}

// patchACL changes keys of an ACL, or its description.
func (a *app) patchACL(cmd *cobra.Command, name string, values map[string]string, property bool) error {
	patch := api.NetworkACLPatch{Config: values}
	if property {
		for key, value := range values {
			if err := describable(key); err != nil {
				return err
			}
			patch = api.NetworkACLPatch{Description: &value}
		}
	}
	c := a.client()
	rev, err := c.PatchNetworkACL(cmd.Context(), name, patch, "")
	if err != nil {
		return err
	}
	return a.applied(cmd.Context(), c, rev)
}

func aclConfig(ctx context.Context, c *client.Client, args []string) (map[string]string, error) {
	acl, _, err := c.NetworkACL(ctx, args[0])
	return acl.Config, err
}

const aclHelp = `This is the part of a network ACL that can be changed, as YAML. Lines at the top
that start with ### are left out. Without a change nothing is written. A rule:
- action: allow                    # or drop, or reject
  state: enabled                   # or disabled, or logged
  source: 192.0.2.0/24,2001:db8::1-2001:db8::9
  protocol: tcp                    # or udp, icmp4, icmp6
  destination_port: 80,8000-8100`

func (a *app) aclEdit() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "edit <ACL>", Short: "Edit a network ACL as YAML",
		Long: `Edit a network ACL, with its rules, as YAML.

The editor is $VISUAL, $EDITOR or vi. When the standard input is not a
terminal, the text is read from there instead; what "show" prints is accepted.`,
		Example: `  netctl network acl edit web
  netctl network acl edit web < web.yaml`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, name := a.client(), args[0]
			rev, err := edit{
				what: fmt.Sprintf("network ACL %q", name), help: aclHelp,
				load: func(ctx context.Context) (any, string, error) {
					acl, etag, err := c.NetworkACL(ctx, name)
					return writableACL(acl), etag, err
				},
				save: func(ctx context.Context, text []byte, etag string) (int64, error) {
					var acl api.NetworkACL
					if err := decodeYAML(text, &acl); err != nil {
						return 0, err
					}
					if acl.Ingress == nil || acl.Egress == nil {
						return 0, errors.New(`the text has no "ingress" or no "egress": write "ingress: []" to have none`)
					}
					return c.UpdateNetworkACL(ctx, name, writableACL(acl), etag)
				},
			}.run(cmd.Context(), a)
			if err != nil {
				return err
			}
			return a.applied(cmd.Context(), c, rev)
		},
		ValidArgsFunction: a.completeACL(nil),
	})
}

// writableACL returns the part of an ACL that can be changed.
func writableACL(acl api.NetworkACL) api.NetworkACLPut {
	return api.NetworkACLPut{Description: acl.Description, Config: acl.Config, Ingress: acl.Ingress, Egress: acl.Egress}
}

func (a *app) aclRename() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "rename <ACL> <new name>", Aliases: []string{"mv"}, Short: "Give a network ACL that is not in use another name", Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			rev, err := c.RenameNetworkACL(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if err := a.say("Network ACL %s renamed to %s", args[0], args[1]); err != nil {
				return err
			}
			return a.applied(cmd.Context(), c, rev)
		},
		ValidArgsFunction: a.completeACL(nil),
	})
}

func (a *app) aclDelete() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "delete <ACL>", Aliases: []string{"rm"}, Short: "Delete a network ACL that is not in use", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			rev, err := c.DeleteNetworkACL(cmd.Context(), args[0], "")
			if err != nil {
				return err
			}
			if err := a.say("Network ACL %s deleted", args[0]); err != nil {
				return err
			}
			return a.applied(cmd.Context(), c, rev)
		},
		ValidArgsFunction: a.completeACL(nil),
	})
}

// completeACL completes the name of an ACL as the first argument, and the
// others with rest, which may be nil.
func (a *app) completeACL(rest completer) completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) > 0 && rest == nil:
			return nil, noFiles
		case len(args) > 0:
			return rest(cmd, args, word)
		}
		return a.ask(cmd, func(ctx context.Context, c *client.Client) []string {
			acls, err := c.NetworkACLs(ctx)
			if err != nil {
				return nil
			}
			var names []string
			for _, acl := range acls {
				names = append(names, acl.Name)
			}
			slices.Sort(names)
			return names
		}), noFiles
	}
}
