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

// device returns the commands for the NICs of instances.
func (a *app) device() *cobra.Command {
	return group("device", "Manage the NICs of an instance", `Manage the NICs of an instance, whether it runs or not.`,
		a.deviceList(), a.deviceShow(), a.deviceAdd(), a.deviceGet(), a.deviceSet(), a.deviceUnset(), a.deviceRemove())
}

func (a *app) deviceList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list <instance>", Aliases: []string{"ls"}, Short: "List the NICs of an instance", Args: exactly(1),
		ValidArgsFunction: a.completeInstance(nil),
	}
	format := addFormat(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		i, _, err := a.client().Instance(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		g := grid{header: []string{"NAME", "NETWORK", "MAC ADDRESS", "INTERFACE", "IPV4", "IPV6"}}
		for _, name := range sortedKeys(i.Devices) {
			d := i.Devices[name]
			chosen := func(key string) string {
				if v := d[key]; v != "" {
					return v
				}
				return i.Config["volatile."+name+"."+key]
			}
			g.rows = append(g.rows, []string{name, d["network"], chosen("hwaddr"), chosen("host_name"), d["ipv4.address"], d["ipv6.address"]})
		}
		return a.list(*format, i.Devices, g)
	}
	return cmd
}

func (a *app) deviceShow() *cobra.Command {
	return &cobra.Command{
		Use: "show <instance>", Short: "Show the NICs of an instance with their configuration", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, _, err := a.client().Instance(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.object("yaml", i.Devices)
		},
		ValidArgsFunction: a.completeInstance(nil),
	}
}

func (a *app) deviceAdd() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "add <instance> <device> [nic] <key>=<value>...", Short: "Add a NIC to an instance",
		Long: `Add a NIC to an instance. When the instance runs, the NIC is there at once.

A MAC address and the name of the interface on the host are chosen, and kept,
unless hwaddr and host_name say otherwise.`,
		Example: `  netctl instance device add web eth1 network=br1 ipv4.address=10.1.0.10`,
		Args: func(cmd *cobra.Command, args []string) error {
			return withAssignments(2, 1)(cmd, withoutType(args))
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			args = withoutType(args)
			values, err := assignments(args[2:])
			if err != nil {
				return err
			}
			return a.changeDevice(cmd.Context(), args[0], func(i api.Instance) (map[string]map[string]string, error) {
				if i.Devices[args[1]] != nil {
					return nil, fmt.Errorf("instance %q: device %q already exists", args[0], args[1])
				}
				return map[string]map[string]string{args[1]: values}, nil
			})
		},
		ValidArgsFunction: a.completeInstance(a.completeDeviceKeys),
	})
}

// withoutType returns args without the type of the device, which other
// commands of this kind want.
func withoutType(args []string) []string {
	if len(args) > 2 && args[2] == "nic" {
		return slices.Delete(slices.Clone(args), 2, 3)
	}
	return args
}

// changeDevice changes devices of an instance as it is now, whoever else
// changes it meanwhile.
func (a *app) changeDevice(ctx context.Context, name string, change func(api.Instance) (map[string]map[string]string, error)) error {
	c := a.client()
	i, etag, err := c.Instance(ctx, name)
	if err != nil {
		return err
	}
	devices, err := change(i)
	if err != nil {
		return err
	}
	task, err := c.PatchInstance(ctx, name, api.InstancePatch{Devices: devices}, etag)
	if err != nil {
		return err
	}
	return a.finish(ctx, task)
}

// deviceOf returns a copy of a device of an instance.
func deviceOf(i api.Instance, device string) (map[string]string, error) {
	if i.Devices[device] == nil {
		return nil, fmt.Errorf("instance %q: device %q not found", i.Name, device)
	}
	return maps.Clone(i.Devices[device]), nil
}

func (a *app) deviceGet() *cobra.Command {
	return &cobra.Command{
		Use: "get <instance> <device> <key>", Short: "Show the value of one key of a NIC", Args: exactly(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, _, err := a.client().Instance(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			device, err := deviceOf(i, args[1])
			if err != nil {
				return err
			}
			value, ok := device[args[2]]
			if !ok {
				if err := known(config.NICSchema, args[2]); err != nil {
					return fmt.Errorf("instance %q: device %q: %w", args[0], args[1], err)
				}
			}
			return a.say("%s", value)
		},
		ValidArgsFunction: a.completeInstance(a.completeDevice(a.completeSet(deviceConfig, 3))),
	}
}

func (a *app) deviceSet() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "set <instance> <device> <key>=<value>... | <key> <value>", Short: "Change some keys of a NIC",
		Long: `Change some keys of a NIC. The others stay as they are. When the instance runs,
the NIC changes at once; changing what is routed to it changes exactly that.`,
		Example: `  netctl instance device set web eth0 ipv4.routes.external=198.51.100.7/32,198.51.100.8/32`,
		Args:    withAssignments(2, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := assignments(args[2:])
			if err != nil {
				return err
			}
			return a.setDevice(cmd.Context(), args[0], args[1], values)
		},
		ValidArgsFunction: a.completeInstance(a.completeDevice(completeAssignment(config.NICSchema, 2))),
	})
}

func (a *app) deviceUnset() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "unset <instance> <device> <key>...", Short: "Unset some keys of a NIC", Args: atLeast(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := known(config.NICSchema, args[2:]...); err != nil {
				return fmt.Errorf("instance %q: device %q: %w", args[0], args[1], err)
			}
			return a.setDevice(cmd.Context(), args[0], args[1], unset(args[2:]))
		},
		ValidArgsFunction: a.completeInstance(a.completeDevice(a.completeSet(deviceConfig, 0))),
	})
}

// setDevice changes keys of a NIC; an empty value unsets.
func (a *app) setDevice(ctx context.Context, name, device string, values map[string]string) error {
	return a.changeDevice(ctx, name, func(i api.Instance) (map[string]map[string]string, error) {
		cfg, err := deviceOf(i, device)
		if err != nil {
			return nil, err
		}
		maps.Copy(cfg, values)
		return map[string]map[string]string{device: cfg}, nil
	})
}

func (a *app) deviceRemove() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "remove <instance> <device>...", Aliases: []string{"rm"}, Short: "Remove NICs from an instance", Args: atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeDevice(cmd.Context(), args[0], func(i api.Instance) (map[string]map[string]string, error) {
				gone := map[string]map[string]string{}
				for _, device := range args[1:] {
					if _, err := deviceOf(i, device); err != nil {
						return nil, err
					}
					gone[device] = nil
				}
				return gone, nil
			})
		},
		ValidArgsFunction: a.completeInstance(a.completeDevices),
	})
}

func deviceConfig(ctx context.Context, c *client.Client, args []string) (map[string]string, error) {
	i, _, err := c.Instance(ctx, args[0])
	return i.Devices[args[1]], err
}
