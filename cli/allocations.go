package cli

import (
	"path"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) networkAllocations() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list-allocations [<network>]", Short: "List the addresses and prefixes in use, and by what",
		Long: `List every address and prefix in use, on all networks or on one: those of the
networks, of instances (static, routed or leased) and of forwards.`,
		Args: atMost(1), ValidArgsFunction: a.completeNetwork(nil),
	}
	format := addFormat(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := a.client()
		all, err := c.NetworkAllocations(cmd.Context(), strings.Join(args, ""))
		if err == nil && len(args) > 0 && len(all) == 0 {
			_, _, err = c.Network(cmd.Context(), args[0]) // a misspelled one is not to pass for an empty one
		}
		if err != nil {
			return err
		}
		g := grid{header: []string{"NETWORK", "ADDRESS", "TYPE", "USED BY", "KEY", "NAT", "MAC ADDRESS"}}
		for _, one := range all {
			user := path.Base(one.UsedBy)
			if one.Device != "" {
				user += "/" + one.Device
			}
			nat := "NO"
			if one.NAT {
				nat = "YES"
			}
			g.rows = append(g.rows, []string{one.Network, one.Address, one.Type, user, one.Key, nat, one.Hwaddr})
		}
		return a.list(*format, all, g)
	}
	return cmd
}
