package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/client"
	"netctl/config"
)

// forward returns the commands for the forwards of networks.
func (a *app) forward() *cobra.Command {
	return group("forward", "Manage forwards", `Manage forwards: addresses that the host announces, and whose traffic it sends on
to addresses on a network.`,
		a.forwardList(), a.forwardShow(), a.forwardCreate(), a.forwardGet(), a.forwardSet(), a.forwardUnset(),
		a.forwardEdit(), a.forwardDelete(), a.forwardPort())
}

func (a *app) forwardList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list <network>", Aliases: []string{"ls"}, Short: "List the forwards of a network", Args: exactly(1),
		ValidArgsFunction: a.completeNetwork(nil),
	}
	format := addFormat(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		forwards, err := a.client().NetworkForwards(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		g := grid{header: []string{"LISTEN ADDRESS", "DESCRIPTION", "DEFAULT TARGET ADDRESS", "PORTS"}}
		for _, f := range forwards {
			g.rows = append(g.rows, []string{f.ListenAddress, f.Description, f.Config["target_address"], strconv.Itoa(len(f.Ports))})
		}
		return a.list(*format, forwards, g)
	}
	return cmd
}

func (a *app) forwardShow() *cobra.Command {
	return &cobra.Command{
		Use: "show <network> <listen address>", Short: "Show a forward with its ports", Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.readForward(cmd, args)
			if err != nil {
				return err
			}
			return a.object("yaml", f)
		},
		ValidArgsFunction: a.completeForward(nil),
	}
}

// readForward reads the forward that the first two arguments name.
func (a *app) readForward(cmd *cobra.Command, args []string) (api.NetworkForward, error) {
	listen, err := listenArg(cmd, args[1])
	if err != nil {
		return api.NetworkForward{}, err
	}
	f, _, err := a.client().NetworkForward(cmd.Context(), args[0], listen)
	return f, err
}

// listenArg returns the listen address that an argument names.
func listenArg(cmd *cobra.Command, arg string) (netip.Addr, error) {
	listen, err := netip.ParseAddr(arg)
	if err != nil {
		return netip.Addr{}, &usageError{cmd, fmt.Errorf("listen address %q is not an IP address", arg)}
	}
	return listen, nil
}

func (a *app) forwardCreate() *cobra.Command {
	var f api.NetworkForwardsPost
	cmd := &cobra.Command{
		Use: "create <network> <listen address> [<key>=<value>...]", Short: "Create a forward",
		Long: `Create a forward. With target_address, everything that arrives for the listen
address goes there; "port add" sends some ports elsewhere. It is announced over
BGP as soon as it leads anywhere.`,
		Example: `  netctl network forward create br0 198.51.100.7 target_address=10.0.0.10
  netctl network forward create br0 2001:db8::7 --description "web servers"`,
		Args: withAssignments(2, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			listen, err := listenArg(cmd, args[1])
			if err != nil {
				return err
			}
			f.ListenAddress = listen.String()
			if f.Config, err = assignments(args[2:]); err != nil {
				return err
			}
			c := a.client()
			rev, err := c.CreateNetworkForward(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			if err := a.say("Network forward %s created", listen); err != nil {
				return err
			}
			return a.applied(cmd.Context(), c, rev)
		},
		ValidArgsFunction: a.completeNetwork(func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, noFiles
			}
			return completeAssignment(config.ForwardSchema, 2)(cmd, args, word)
		}),
	}
	cmd.Flags().StringVar(&f.Description, "description", "", "what the forward is for")
	return a.addWait(cmd)
}

func (a *app) forwardGet() *cobra.Command {
	var property bool
	cmd := &cobra.Command{
		Use: "get <network> <listen address> <key>", Short: "Show the value of one key", Args: exactly(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.readForward(cmd, args)
			if err != nil {
				return err
			}
			if property {
				if err := describable(args[2]); err != nil {
					return err
				}
				return a.say("%s", f.Description)
			}
			value, ok := f.Config[args[2]]
			if !ok {
				if err := known(config.ForwardSchema, args[2]); err != nil {
					return fmt.Errorf("forward %s: %w", args[1], err)
				}
			}
			return a.say("%s", value)
		},
		ValidArgsFunction: a.completeForward(a.completeSet(forwardConfig, 3)),
	}
	addProperty(cmd, &property)
	return cmd
}

func (a *app) forwardSet() *cobra.Command {
	var property bool
	cmd := &cobra.Command{
		Use: "set <network> <listen address> <key>=<value>... | <key> <value>", Short: "Change some keys of a forward",
		Long:    "Change some keys of a forward. The others stay as they are. An empty value\nunsets a key.",
		Example: `  netctl network forward set br0 198.51.100.7 target_address=10.0.0.11`,
		Args:    withAssignments(2, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := assignments(args[2:])
			if err != nil {
				return err
			}
			return a.patchForward(cmd, args, values, property)
		},
		ValidArgsFunction: a.completeForward(completeAssignment(config.ForwardSchema, 2)),
	}
	addProperty(cmd, &property)
	return a.addWait(cmd)
}

func (a *app) forwardUnset() *cobra.Command {
	var property bool
	cmd := &cobra.Command{
		Use: "unset <network> <listen address> <key>...", Short: "Unset some keys of a forward", Args: atLeast(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !property {
				if err := known(config.ForwardSchema, args[2:]...); err != nil {
					return fmt.Errorf("forward %s: %w", args[1], err)
				}
			}
			return a.patchForward(cmd, args, unset(args[2:]), property)
		},
		ValidArgsFunction: a.completeForward(a.completeSet(forwardConfig, 0)),
	}
	addProperty(cmd, &property)
	return a.addWait(cmd)
}

// patchForward changes keys of a forward, or its description.
func (a *app) patchForward(cmd *cobra.Command, args []string, values map[string]string, property bool) error {
	listen, err := listenArg(cmd, args[1])
	if err != nil {
		return err
	}
	patch := api.NetworkForwardPatch{Config: values}
	if property {
		for key, value := range values {
			if err := describable(key); err != nil {
				return err
			}
			patch = api.NetworkForwardPatch{Description: &value}
		}
	}
	c := a.client()
	rev, err := c.PatchNetworkForward(cmd.Context(), args[0], listen, patch, "")
	if err != nil {
		return err
	}
	return a.applied(cmd.Context(), c, rev)
}

func forwardConfig(ctx context.Context, c *client.Client, args []string) (map[string]string, error) {
	listen, err := netip.ParseAddr(args[1])
	if err != nil {
		return nil, err
	}
	f, _, err := c.NetworkForward(ctx, args[0], listen)
	return f.Config, err
}

const forwardHelp = `This is the part of a forward that can be changed, as YAML. Lines at the top
that start with ### are left out. Without a change nothing is written. A port:
- description: ""
  protocol: tcp
  listen_port: 80,8000-8100
  target_port: ""
  target_address: 10.0.0.10`

func (a *app) forwardEdit() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "edit <network> <listen address>", Short: "Edit a forward as YAML",
		Long: `Edit a forward, with its ports, as YAML.

The editor is $VISUAL, $EDITOR or vi. When the standard input is not a
terminal, the text is read from there instead; what "show" prints is accepted.`,
		Example: `  netctl network forward edit br0 198.51.100.7
  netctl network forward edit br0 198.51.100.7 < web.yaml`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, name := a.client(), args[0]
			listen, err := listenArg(cmd, args[1])
			if err != nil {
				return err
			}
			rev, err := edit{
				what: fmt.Sprintf("forward %s", listen), help: forwardHelp,
				load: func(ctx context.Context) (any, string, error) {
					f, etag, err := c.NetworkForward(ctx, name, listen)
					return api.NetworkForwardPut{Description: f.Description, Config: f.Config, Ports: f.Ports}, etag, err
				},
				save: func(ctx context.Context, text []byte, etag string) (int64, error) {
					var f api.NetworkForward
					if err := decodeYAML(text, &f); err != nil {
						return 0, err
					}
					if f.Ports == nil {
						return 0, errors.New(`the text has no "ports": write "ports: []" to have none`)
					}
					return c.UpdateNetworkForward(ctx, name, listen, api.NetworkForwardPut{Description: f.Description, Config: f.Config, Ports: f.Ports}, etag)
				},
			}.run(cmd.Context(), a)
			if err != nil {
				return err
			}
			return a.applied(cmd.Context(), c, rev)
		},
		ValidArgsFunction: a.completeForward(nil),
	})
}

func (a *app) forwardDelete() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "delete <network> <listen address>", Aliases: []string{"rm"}, Short: "Delete a forward", Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			listen, err := listenArg(cmd, args[1])
			if err != nil {
				return err
			}
			c := a.client()
			rev, err := c.DeleteNetworkForward(cmd.Context(), args[0], listen, "")
			if err != nil {
				return err
			}
			if err := a.say("Network forward %s deleted", listen); err != nil {
				return err
			}
			return a.applied(cmd.Context(), c, rev)
		},
		ValidArgsFunction: a.completeForward(nil),
	})
}

// completeForward completes the name of a network, then the listen address of
// one of its forwards, and the other arguments with rest, which may be nil.
func (a *app) completeForward(rest completer) completer {
	return a.completeNetwork(func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) > 1 && rest == nil:
			return nil, noFiles
		case len(args) > 1:
			return rest(cmd, args, word)
		}
		return a.ask(cmd, func(ctx context.Context, c *client.Client) []string {
			forwards, err := c.NetworkForwards(ctx, args[0])
			if err != nil {
				return nil
			}
			var out []string
			for _, f := range forwards {
				out = append(out, f.ListenAddress)
			}
			return out
		}), noFiles
	})
}
