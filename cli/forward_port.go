package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"netctl/api"
)

// forwardPort returns the commands for the ports of forwards.
func (a *app) forwardPort() *cobra.Command {
	return group("port", "Manage the ports of a forward", "", a.forwardPortAdd(), a.forwardPortRemove())
}

func (a *app) forwardPortAdd() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use:   "add <network> <listen address> tcp|udp <listen ports> <target address> [<target ports>]",
		Short: "Send ports of a forward to an address",
		Long: `Send ports of a forward to an address.

Ports are a list of numbers and ranges. There are as many target ports as listen
ports, or one that all go to; without any, the ports stay the same.`,
		Example: `  netctl network forward port add br0 198.51.100.7 tcp 80,443 10.0.0.10
  netctl network forward port add br0 198.51.100.7 tcp 8000-8010 10.0.0.11 80`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := atLeast(5)(cmd, args); err != nil {
				return err
			}
			return atMost(6)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p := api.NetworkForwardPort{Description: description, Protocol: args[2], ListenPort: args[3], TargetAddress: args[4]}
			if len(args) == 6 {
				p.TargetPort = args[5]
			}
			return a.changePorts(cmd, args, func(ports []api.NetworkForwardPort) ([]api.NetworkForwardPort, error) {
				return append(ports, p), nil
			})
		},
		ValidArgsFunction: a.completeForward(completeProtocol),
	}
	cmd.Flags().StringVar(&description, "description", "", "what the ports are for")
	return a.addWait(cmd)
}

func (a *app) forwardPortRemove() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "remove <network> <listen address> [tcp|udp [<listen ports>]]",
		Short: "Take ports away from a forward", Aliases: []string{"rm"},
		Long: `Take ports away from a forward: the entry of its ports that has the given
protocol and, exactly so, the given listen ports. With --force, all that match.`,
		Example: `  netctl network forward port remove br0 198.51.100.7 tcp 80,443
  netctl network forward port remove br0 198.51.100.7 udp --force`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := atLeast(2)(cmd, args); err != nil {
				return err
			}
			return atMost(4)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			match := func(p api.NetworkForwardPort) bool {
				return (len(args) < 3 || p.Protocol == args[2]) && (len(args) < 4 || p.ListenPort == strings.ReplaceAll(args[3], " ", ""))
			}
			return a.changePorts(cmd, args, func(ports []api.NetworkForwardPort) ([]api.NetworkForwardPort, error) {
				kept := slices.DeleteFunc(slices.Clone(ports), match)
				switch n := len(ports) - len(kept); {
				case n == 0:
					return nil, fmt.Errorf("forward %s: no matching port found", args[1])
				case n > 1 && !force:
					return nil, fmt.Errorf("forward %s: multiple ports match: use --force to remove them all", args[1])
				}
				return kept, nil
			})
		},
		ValidArgsFunction: a.completeForward(completeProtocol),
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove all ports that match")
	return a.addWait(cmd)
}

// changePorts replaces the ports of a forward by what change makes of them,
// unless somebody else changes the forward meanwhile.
func (a *app) changePorts(cmd *cobra.Command, args []string, change func([]api.NetworkForwardPort) ([]api.NetworkForwardPort, error)) error {
	listen, err := listenArg(cmd, args[1])
	if err != nil {
		return err
	}
	c := a.client()
	f, etag, err := c.NetworkForward(cmd.Context(), args[0], listen)
	if err != nil {
		return err
	}
	put := api.NetworkForwardPut{Description: f.Description, Config: f.Config}
	if put.Ports, err = change(f.Ports); err != nil {
		return err
	}
	rev, err := c.UpdateNetworkForward(cmd.Context(), args[0], listen, put, etag)
	if err != nil {
		return err
	}
	return a.applied(cmd.Context(), c, rev)
}

// completeProtocol completes the protocol of a port.
func completeProtocol(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 2 {
		return []string{"tcp", "udp"}, noFiles
	}
	return nil, noFiles
}
