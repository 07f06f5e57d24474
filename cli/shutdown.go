package cli

import (
	"github.com/spf13/cobra"

	"netctl/api"
)

// shutdown returns the command that takes the host out of service.
func (a *app) shutdown() *cobra.Command {
	var s api.Shutdown
	cmd := &cobra.Command{
		Use: "shutdown", Short: "Withdraw every route and stop the daemon", Args: exactly(0),
		Long: `Withdraw every route and stop the daemon.

This is for a host that goes out of service. Peers remove our routes at once.
To restart or upgrade the daemon, stop it in the ordinary way, for instance with
"systemctl restart netctld": then peers keep our routes meanwhile.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.client().Shutdown(cmd.Context(), s); err != nil {
				return err
			}
			return a.say("Every route is withdrawn")
		},
	}
	cmd.Flags().StringVarP(&s.Message, "message", "m", "", "text for the operators of the peers (RFC 9003)")
	cmd.Flags().BoolVar(&s.RemoveBridges, "remove-bridges", false, "take the bridges and the NICs of instances down too")
	return cmd
}
