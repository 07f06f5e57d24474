package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/client"
	"netctl/config"
)

// instance returns the commands for instances.
func (a *app) instance() *cobra.Command {
	return a.addTarget(group("instance", "Manage instances and their NICs",
		`Manage instances and their NICs.

An instance is a container or a virtual machine that somebody else runs. netctl
has its network: its NICs, their addresses, and what is routed to them, while it
is started here.`,
		a.instanceList(), a.instanceCreate(), a.instanceShow(), a.instanceGet(), a.instanceSet(), a.instanceUnset(),
		a.instanceEdit(), a.instanceStart(), a.instanceStop(), a.instanceRestart(), a.instanceRename(), a.instanceDelete(),
		a.instanceInfo(), a.device()))
}

func (a *app) instanceList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List instances", Args: exactly(0),
	}
	format := addFormat(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		instances, err := a.client().InstancesWithState(cmd.Context())
		if err != nil {
			return err
		}
		g := grid{header: []string{"NAME", "STATE", "IPV4", "IPV6", "TYPE", "DESCRIPTION"}}
		for _, i := range instances {
			g.rows = append(g.rows, []string{
				i.Name, strings.ToUpper(i.Status), stateAddresses(i, "inet"), stateAddresses(i, "inet6"), strings.ToUpper(i.Type), i.Description,
			})
		}
		return a.list(*format, instances, g)
	}
	return cmd
}

// stateAddresses returns the addresses of an instance that are of a family,
// each with the interface that has it.
func stateAddresses(i api.Instance, family string) string {
	var out []string
	if i.State == nil {
		return ""
	}
	for _, name := range sortedKeys(i.State.Network) {
		for _, addr := range i.State.Network[name].Addresses {
			if addr.Family == family {
				out = append(out, fmt.Sprintf("%s (%s)", addr.Address, name))
			}
		}
	}
	return strings.Join(out, "\n")
}

func (a *app) instanceCreate() *cobra.Command {
	i := api.InstancesPost{Type: api.Container}
	var nics []string
	var vm bool
	cmd := &cobra.Command{
		Use: "create <instance> [<key>=<value>...]", Short: "Create an instance",
		Long: `Create an instance.

Each --nic gives it a NIC: keys and values with commas between them. A part
without = belongs to the value before it, so that a key can have several. The
device is called by its name=, or else eth0, eth1 and so on.

With --start the instance is started at once. The NICs of a container go into a
network namespace named after it, unless --netns or --pid names one that
somebody else has made. Those of a virtual machine (--vm) are taps.`,
		Example: `  netctl instance create web --nic network=br0,ipv4.address=10.0.0.10,ipv4.routes.external=198.51.100.7/32 --start
  netctl instance create vm1 --vm --nic network=br0,ipv4.routes=192.0.2.8/29,192.0.2.16/29 --nic network=br1
  netctl instance create app boot.autostart=true --nic network=br0 --start --pid 4711`,
		Args: withAssignments(1, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			i.Name = args[0]
			if vm {
				i.Type = api.VirtualMachine
			}
			if i.Config, err = assignments(args[1:]); err != nil {
				return err
			}
			if i.Devices, err = parseNICs(nics); err != nil {
				return &usageError{cmd, err}
			}
			task, err := a.client().CreateInstance(cmd.Context(), i)
			if err != nil {
				return err
			}
			if err := a.say("Instance %s created", i.Name); err != nil {
				return err
			}
			return a.finish(cmd.Context(), task)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, noFiles
			}
			return completeAssignment(config.InstanceSchema, 1)(cmd, args, word)
		},
	}
	cmd.Flags().StringArrayVar(&nics, "nic", nil, "a NIC, as in network=br0,ipv4.address=10.0.0.10; may be given several times")
	cmd.Flags().BoolVar(&vm, "vm", false, "the instance is a virtual machine, its NICs are taps")
	cmd.Flags().BoolVar(&i.Start, "start", false, "start the instance")
	cmd.Flags().StringVar(&i.Description, "description", "", "what the instance is for")
	a.addNetns(cmd, &i.Netns, &i.PID)
	a.completeFlag(cmd, "nic", a.completeNIC)
	return a.addWait(cmd)
}

// addNetns gives cmd the flags that name a network namespace.
func (a *app) addNetns(cmd *cobra.Command, netns *string, pid *int) {
	cmd.Flags().StringVar(netns, "netns", "", "network namespace for the NICs of a container: a name below /run/netns, or a path")
	cmd.Flags().IntVar(pid, "pid", 0, "process whose network namespace the NICs of a container go into")
	a.completeFlag(cmd, "netns", completeNetns)
	a.completeFlag(cmd, "pid", cobra.NoFileCompletions)
}

// parseNICs returns the devices that are given by --nic.
func parseNICs(nics []string) (map[string]map[string]string, error) {
	devices := map[string]map[string]string{}
	for n, spec := range nics {
		var parts []string
		for part := range strings.SplitSeq(spec, ",") {
			if len(parts) > 0 && !strings.Contains(part, "=") {
				parts[len(parts)-1] += "," + part
				continue
			}
			parts = append(parts, part)
		}
		device, err := assignments(parts)
		if err != nil {
			return nil, fmt.Errorf("--nic %s: %w", spec, err)
		}
		name := device["name"]
		if name == "" {
			name = fmt.Sprintf("eth%d", n)
		}
		if devices[name] != nil {
			return nil, fmt.Errorf("--nic %s: there is another NIC called %s", spec, name)
		}
		devices[name] = device
	}
	return devices, nil
}

// finish waits until a task has ended, as --wait says.
func (a *app) finish(ctx context.Context, t *client.Task) error {
	if a.wait <= 0 {
		return nil
	}
	return t.WaitFor(ctx, a.wait)
}

func (a *app) instanceShow() *cobra.Command {
	return &cobra.Command{
		Use: "show <instance>", Short: "Show an instance with its configuration", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, _, err := a.client().Instance(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			i.ExpandedConfig, i.ExpandedDevices = nil, nil // the same once more
			return a.object("yaml", i)
		},
		ValidArgsFunction: a.completeInstance(nil),
	}
}

func (a *app) instanceRename() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "rename <instance> <new name>", Aliases: []string{"mv"}, Short: "Give an instance that is stopped another name", Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			task, err := a.client().RenameInstance(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if err := a.say("Instance %s renamed to %s", args[0], args[1]); err != nil {
				return err
			}
			return a.finish(cmd.Context(), task)
		},
		ValidArgsFunction: a.completeInstance(nil),
	})
}

func (a *app) instanceDelete() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "delete <instance>...", Aliases: []string{"rm"}, Short: "Delete instances", Args: atLeast(1),
		Example: `  netctl instance delete web
  netctl instance delete --force web app`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			return a.each(args, "deleted", func(name string) error {
				task, err := c.DeleteInstance(cmd.Context(), name, "", force)
				if err != nil {
					return err
				}
				return a.finish(cmd.Context(), task)
			})
		},
		ValidArgsFunction: a.completeInstances,
	}
	cmd.Flags().BoolVar(&force, "force", false, "stop the instance when it runs")
	return a.addWait(cmd)
}

// each does something to some instances, and stops at the first that fails.
func (a *app) each(names []string, did string, do func(name string) error) error {
	for _, name := range names {
		if err := do(name); err != nil {
			return err
		}
		if err := a.say("Instance %s %s", name, did); err != nil {
			return err
		}
	}
	return nil
}
