package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/client"
)

// version returns the command that tells what is installed.
func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the versions of the command and of the daemon", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			server := "unreachable"
			s, _, err := a.client().Server(cmd.Context())
			switch {
			case errors.Is(err, client.ErrUnreachable):
			case err != nil:
				return err
			case s.Auth != "trusted" && a.away:
				server = "not for you: the daemon does not trust this user's key"
			case s.Auth != "trusted":
				server = "not for you: this needs root or the group of netctld"
			default:
				server = s.Environment.ServerVersion
			}
			return a.say("Client version: %s (commit %s)\nServer version: %s", api.Version, api.Commit, server)
		},
	}
}
