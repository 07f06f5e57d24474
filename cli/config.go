package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/client"
	"netctl/config"
)

// config returns the commands for the configuration of the daemon.
func (a *app) config() *cobra.Command {
	return a.addTarget(group("config", "Manage the configuration of the daemon", "",
		a.configShow(), a.configGet(), a.configSet(), a.configUnset(), a.configEdit(), a.trust()))
}

func (a *app) configShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the configuration of the daemon", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := a.client().Server(cmd.Context())
			if err != nil {
				return err
			}
			return a.object("yaml", api.ServerPut{Config: s.Config})
		},
	}
}

func (a *app) configGet() *cobra.Command {
	return &cobra.Command{
		Use: "get <key>", Short: "Show the value of one key", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, _, err := a.client().Server(cmd.Context())
			if err != nil {
				return err
			}
			value, ok := s.Config[args[0]]
			if !ok {
				if err := known(config.ServerSchema, args[0]); err != nil {
					return err
				}
			}
			return a.say("%s", value)
		},
		ValidArgsFunction: a.completeSet(serverConfig, 1),
	}
}

func (a *app) configSet() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "set <key>=<value>... | <key> <value>", Short: "Change some keys of the daemon",
		Long: `Change some keys of the daemon. The others stay as they are.

All keys that are given change together or not at all. An empty value unsets a
key.`,
		Example: `  netctl config set core.bgp_asn=65001 core.bgp_address=:179`,
		Args:    withAssignments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := assignments(args)
			if err != nil {
				return err
			}
			return a.patchServer(cmd.Context(), values)
		},
		ValidArgsFunction: completeAssignment(config.ServerSchema, 0),
	})
}

func (a *app) configUnset() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "unset <key>...", Short: "Unset some keys of the daemon", Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := known(config.ServerSchema, args...); err != nil {
				return err
			}
			return a.patchServer(cmd.Context(), unset(args))
		},
		ValidArgsFunction: a.completeSet(serverConfig, 0),
	})
}

func (a *app) patchServer(ctx context.Context, values map[string]string) error {
	c := a.client()
	rev, err := c.PatchServer(ctx, api.ServerPut{Config: values}, "")
	if err != nil {
		return err
	}
	return a.applied(ctx, c, rev)
}

func serverConfig(ctx context.Context, c *client.Client, _ []string) (map[string]string, error) {
	s, _, err := c.Server(ctx)
	return s.Config, err
}

const configHelp = `This is the configuration of the daemon, as YAML. Lines at the top that start
with ### are left out. Without a change nothing is written.`

func (a *app) configEdit() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "edit", Short: "Edit the configuration of the daemon as YAML",
		Long: `Edit the configuration of the daemon as YAML.

The editor is $VISUAL, $EDITOR or vi. When the standard input is not a
terminal, the text is read from there instead; what "show" prints is accepted.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := a.client()
			rev, err := edit{
				what: "the configuration", help: configHelp,
				load: func(ctx context.Context) (any, string, error) {
					s, etag, err := c.Server(ctx)
					return api.ServerPut{Config: s.Config}, etag, err
				},
				save: func(ctx context.Context, text []byte, etag string) (int64, error) {
					var s api.ServerPut
					if err := decodeYAML(text, &s); err != nil {
						return 0, fmt.Errorf("configuration: %w", err)
					}
					return c.UpdateServer(ctx, s, etag)
				},
			}.run(cmd.Context(), a)
			if err != nil {
				return err
			}
			return a.applied(cmd.Context(), c, rev)
		},
	})
}
