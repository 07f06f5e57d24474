package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/client"
	"netctl/config"
)

// network returns the commands for networks.
func (a *app) network() *cobra.Command {
	return a.addTarget(group("network", "Manage networks", "",
		a.networkList(), a.networkCreate(), a.networkShow(), a.networkGet(), a.networkSet(), a.networkUnset(),
		a.networkEdit(), a.networkRename(), a.networkDelete(), a.networkInfo(), a.networkLeases(), a.networkAllocations(), a.forward(), a.acl()))
}

func (a *app) networkList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List networks", Args: exactly(0),
	}
	format := addFormat(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		networks, err := a.client().Networks(cmd.Context())
		if err != nil {
			return err
		}
		g := grid{header: []string{"NAME", "TYPE", "IPV4", "IPV6", "DESCRIPTION", "USED BY", "STATE"}}
		for _, n := range networks {
			g.rows = append(g.rows, []string{
				n.Name, n.Type, n.Config["ipv4.address"], n.Config["ipv6.address"], n.Description, strconv.Itoa(len(n.UsedBy)), n.Status,
			})
		}
		return a.list(*format, networks, g)
	}
	return cmd
}

func (a *app) networkCreate() *cobra.Command {
	var n api.NetworksPost
	cmd := &cobra.Command{
		Use: "create <name> [<key>=<value>...]", Short: "Create a network",
		Long: `Create a network.

A subnet of each family is chosen unless ipv4.address and ipv6.address say
otherwise: a CIDR, or none.`,
		Example: `  netctl network create br0 ipv4.address=192.0.2.1/24 ipv6.address=none
  netctl network create br1 --description "customers of rack 7"`,
		Args: withAssignments(1, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			n.Name = args[0]
			if n.Config, err = assignments(args[1:]); err != nil {
				return err
			}
			c := a.client()
			rev, err := c.CreateNetwork(cmd.Context(), n)
			if err != nil {
				return err
			}
			if err := a.say("Network %s created", n.Name); err != nil {
				return err
			}
			return a.applied(cmd.Context(), c, rev)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, noFiles
			}
			return completeAssignment(config.BridgeSchema, 1)(cmd, args, word)
		},
	}
	cmd.Flags().StringVar(&n.Description, "description", "", "what the network is for")
	cmd.Flags().StringVarP(&n.Type, "type", "t", "bridge", "type of the network")
	return a.addWait(cmd)
}

func (a *app) networkShow() *cobra.Command {
	return &cobra.Command{
		Use: "show <network>", Short: "Show a network with its configuration", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, _, err := a.client().Network(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.object("yaml", n)
		},
		ValidArgsFunction: a.completeNetwork(nil),
	}
}

func (a *app) networkGet() *cobra.Command {
	var property bool
	cmd := &cobra.Command{
		Use: "get <network> <key>", Short: "Show the value of one key", Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, _, err := a.client().Network(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if property {
				if err := describable(args[1]); err != nil {
					return err
				}
				return a.say("%s", n.Description)
			}
			value, ok := n.Config[args[1]]
			if !ok {
				if err := known(config.BridgeSchema, args[1]); err != nil {
					return fmt.Errorf("network %q: %w", args[0], err)
				}
			}
			return a.say("%s", value)
		},
		ValidArgsFunction: a.completeNetwork(a.completeSet(networkConfig, 2)),
	}
	addProperty(cmd, &property)
	return cmd
}

func (a *app) networkSet() *cobra.Command {
	var property bool
	cmd := &cobra.Command{
		Use: "set <network> <key>=<value>... | <key> <value>", Short: "Change some keys of a network",
		Long: `Change some keys of a network. The others stay as they are.

All keys that are given change together or not at all. An empty value unsets a
key.`,
		Example: `  netctl network set br0 bgp.peers.tor.asn=65000 bgp.peers.tor.address=192.0.2.1
  netctl network set br0 bgp.peers.tor.asn 65000`,
		Args: withAssignments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := assignments(args[1:])
			if err != nil {
				return err
			}
			return a.patchNetwork(cmd.Context(), args[0], values, property)
		},
		ValidArgsFunction: a.completeNetwork(completeAssignment(config.BridgeSchema, 1)),
	}
	addProperty(cmd, &property)
	return a.addWait(cmd)
}

func (a *app) networkUnset() *cobra.Command {
	var property bool
	cmd := &cobra.Command{
		Use: "unset <network> <key>...", Short: "Unset some keys of a network", Args: atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !property {
				if err := known(config.BridgeSchema, args[1:]...); err != nil {
					return fmt.Errorf("network %q: %w", args[0], err)
				}
			}
			return a.patchNetwork(cmd.Context(), args[0], unset(args[1:]), property)
		},
		ValidArgsFunction: a.completeNetwork(a.completeSet(networkConfig, 0)),
	}
	addProperty(cmd, &property)
	return a.addWait(cmd)
}

// patchNetwork changes keys of a network, or its properties.
func (a *app) patchNetwork(ctx context.Context, name string, values map[string]string, property bool) error {
	patch := api.NetworkPatch{Config: values}
	if property {
		for key, value := range values {
			if err := describable(key); err != nil {
				return err
			}
			patch = api.NetworkPatch{Description: &value}
		}
	}
	if _, ok := patch.Config["description"]; ok {
		return fmt.Errorf("network %q: the description is not one of the keys: change it with --property", name)
	}
	c := a.client()
	rev, err := c.PatchNetwork(ctx, name, patch, "")
	if err != nil {
		return err
	}
	return a.applied(ctx, c, rev)
}

// addProperty gives cmd the flag that makes it work on the description instead
// of the configuration.
func addProperty(cmd *cobra.Command, property *bool) {
	cmd.Flags().BoolVarP(property, "property", "p", false, `the key is not one of the configuration but "description"`)
}

// describable refuses properties other than the description.
func describable(property string) error {
	if property != "description" {
		return fmt.Errorf(`property %q cannot be read or changed here: there is only "description"`, property)
	}
	return nil
}

func networkConfig(ctx context.Context, c *client.Client, args []string) (map[string]string, error) {
	n, _, err := c.Network(ctx, args[0])
	return n.Config, err
}

const networkHelp = `This is the part of a network that can be changed, as YAML. Lines at the top
that start with ### are left out. Without a change nothing is written.`

func (a *app) networkEdit() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "edit <network>", Short: "Edit a network as YAML",
		Long: `Edit the description and the configuration of a network as YAML.

The editor is $VISUAL, $EDITOR or vi. When the standard input is not a
terminal, the text is read from there instead; what "show" prints is accepted.`,
		Example: `  netctl network edit br0
  netctl network edit br0 < br0.yaml`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, name := a.client(), args[0]
			rev, err := edit{
				what: fmt.Sprintf("network %q", name), help: networkHelp,
				load: func(ctx context.Context) (any, string, error) {
					n, etag, err := c.Network(ctx, name)
					return api.NetworkPut{Description: n.Description, Config: n.Config}, etag, err
				},
				save: func(ctx context.Context, text []byte, etag string) (int64, error) {
					var n api.Network
					if err := decodeYAML(text, &n); err != nil {
						return 0, err
					}
					return c.UpdateNetwork(ctx, name, api.NetworkPut{Description: n.Description, Config: n.Config}, etag)
				},
			}.run(cmd.Context(), a)
			if err != nil {
				return err
			}
			return a.applied(cmd.Context(), c, rev)
		},
		ValidArgsFunction: a.completeNetwork(nil),
	})
}

func (a *app) networkRename() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "rename <network> <new name>", Aliases: []string{"mv"}, Short: "Give a network another name", Args: exactly(2),
		Long: `Give a network another name.

The bridge is made anew under the new name, which interrupts the network. That is
refused while it has ports that are not netctl's, as those of guests, for they
would be lost: take them out of the bridge first. The bridge gets another MAC
address with the name, unless bridge.hwaddr is set.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			rev, err := c.RenameNetwork(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if err := a.say("Network %s renamed to %s", args[0], args[1]); err != nil {
				return err
			}
			return a.applied(cmd.Context(), c, rev)
		},
		ValidArgsFunction: a.completeNetwork(nil),
	})
}

func (a *app) networkDelete() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "delete <network>...", Aliases: []string{"rm"}, Short: "Delete networks", Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			var last int64
			var failed error
			for _, name := range args {
				rev, err := c.DeleteNetwork(cmd.Context(), name, "")
				if err != nil {
					failed = err
					break
				}
				if err := a.say("Network %s deleted", name); err != nil {
					return err
				}
				last = max(last, rev)
			}
			if err := a.applied(cmd.Context(), c, last); failed == nil {
				return err
			}
			return failed
		},
		ValidArgsFunction: a.completeNetworks,
	})
}

func (a *app) networkLeases() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list-leases <network>", Short: "List the addresses in use on a network", Args: exactly(1),
		ValidArgsFunction: a.completeNetwork(nil),
	}
	format := addFormat(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		leases, err := a.client().NetworkLeases(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		g := grid{header: []string{"HOSTNAME", "MAC ADDRESS", "IP ADDRESS", "TYPE"}}
		for _, l := range leases {
			g.rows = append(g.rows, []string{l.Hostname, l.Hwaddr, l.Address, l.Type})
		}
		return a.list(*format, leases, g)
	}
	return cmd
}
