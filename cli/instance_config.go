package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/client"
	"netctl/config"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (a *app) instanceGet() *cobra.Command {
	var property bool
	cmd := &cobra.Command{
		Use: "get <instance> <key>", Short: "Show the value of one key", Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, _, err := a.client().Instance(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if property {
				if err := describable(args[1]); err != nil {
					return err
				}
				return a.say("%s", i.Description)
			}
			value, ok := i.Config[args[1]]
			if !ok {
				if err := known(config.InstanceSchema, args[1]); err != nil {
					return fmt.Errorf("instance %q: %w", args[0], err)
				}
			}
			return a.say("%s", value)
		},
		ValidArgsFunction: a.completeInstance(a.completeSet(instanceConfig, 2)),
	}
	addProperty(cmd, &property)
	return cmd
}

func (a *app) instanceSet() *cobra.Command {
	var property bool
	cmd := &cobra.Command{
		Use: "set <instance> <key>=<value>... | <key> <value>", Short: "Change some keys of an instance",
		Long: `Change some keys of an instance. The others stay as they are.

Those of its NICs are changed with "netctl instance device set".`,
		Example: `  netctl instance set web boot.autostart=true`,
		Args:    withAssignments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := assignments(args[1:])
			if err != nil {
				return err
			}
			return a.patchInstance(cmd.Context(), args[0], values, property)
		},
		ValidArgsFunction: a.completeInstance(completeAssignment(config.InstanceSchema, 1)),
	}
	addProperty(cmd, &property)
	return a.addWait(cmd)
}

func (a *app) instanceUnset() *cobra.Command {
	var property bool
	cmd := &cobra.Command{
		Use: "unset <instance> <key>...", Short: "Unset some keys of an instance", Args: atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !property {
				if err := known(config.InstanceSchema, args[1:]...); err != nil {
					return fmt.Errorf("instance %q: %w", args[0], err)
				}
			}
			return a.patchInstance(cmd.Context(), args[0], unset(args[1:]), property)
		},
		ValidArgsFunction: a.completeInstance(a.completeSet(instanceConfig, 0)),
	}
	addProperty(cmd, &property)
	return a.addWait(cmd)
}

// patchInstance changes keys of an instance, or its properties.
func (a *app) patchInstance(ctx context.Context, name string, values map[string]string, property bool) error {
	patch := api.InstancePatch{Config: values}
	if property {
		for key, value := range values {
			if err := describable(key); err != nil {
				return err
			}
			patch = api.InstancePatch{Description: &value}
		}
	}
	if _, ok := patch.Config["description"]; ok {
		return fmt.Errorf("instance %q: the description is not one of the keys: change it with --property", name)
	}
	task, err := a.client().PatchInstance(ctx, name, patch, "")
	if err != nil {
		return err
	}
	return a.finish(ctx, task)
}

func instanceConfig(ctx context.Context, c *client.Client, args []string) (map[string]string, error) {
	i, _, err := c.Instance(ctx, args[0])
	return i.Config, err
}

const instanceHelp = `This is the part of an instance that can be changed, as YAML. Lines at the top
that start with ### are left out. Without a change nothing is written.`

func (a *app) instanceEdit() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "edit <instance>", Short: "Edit an instance as YAML",
		Long: `Edit the description, the configuration and the devices of an instance as YAML.

The editor is $VISUAL, $EDITOR or vi. When the standard input is not a
terminal, the text is read from there instead; what "show" prints is accepted.`,
		Example: `  netctl instance edit web
  netctl instance edit web < web.yaml`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, name := a.client(), args[0]
			task := &client.Task{}
			_, err := edit{
				what: fmt.Sprintf("instance %q", name), help: instanceHelp,
				load: func(ctx context.Context) (any, string, error) {
					i, etag, err := c.Instance(ctx, name)
					return api.InstancePut{Description: i.Description, Config: i.Config, Devices: i.Devices}, etag, err
				},
				save: func(ctx context.Context, text []byte, etag string) (int64, error) {
					var i api.Instance
					if err := decodeYAML(text, &i, "devices"); err != nil {
						return 0, err
					}
					var err error
					task, err = c.UpdateInstance(ctx, name, api.InstancePut{Description: i.Description, Config: i.Config, Devices: i.Devices}, etag)
					if err != nil {
						return 0, err
					}
					return task.Revision, nil
				},
			}.run(cmd.Context(), a)
			if err != nil {
				return err
			}
			return a.finish(cmd.Context(), task)
		},
		ValidArgsFunction: a.completeInstance(nil),
	})
}
