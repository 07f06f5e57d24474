package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"netctl/api"
)

func (a *app) instanceStart() *cobra.Command {
	return a.stateCommand("start", "started", `Start instances: make their NICs, and announce their routes.

The command ends when the NICs are in place. When that is not possible, the
instance is stopped again. One that has an error later, because somebody deleted
its network namespace, counts as running: restart it.`, `  netctl instance start web
  netctl instance start app --pid $(podman inspect --format '{{.State.Pid}}' app)
  netctl instance start app --netns blue`)
}

func (a *app) instanceStop() *cobra.Command {
	return a.stateCommand("stop", "stopped", `Stop instances: withdraw their routes, and then take their NICs away.

What runs in the instance is left alone.`, `  netctl instance stop web
  netctl instance stop web --dry-run`)
}

func (a *app) instanceRestart() *cobra.Command {
	return a.stateCommand("restart", "restarted", `Restart instances: stop them, and start them again.

The NICs are made anew, and so is a network namespace that netctl has made: what
runs in the old one has no NIC any more. One that somebody else has made is used
again, unless another is named. A dry run shows what the stop takes away; the
start puts the same back.`, `  netctl instance restart web
  netctl instance restart app --pid $(podman inspect --format '{{.State.Pid}}' app)`)
}

// stateCommand returns the command that takes an action on instances.
func (a *app) stateCommand(action, did, long, example string) *cobra.Command {
	s := api.InstanceStatePut{Action: action}
	cmd := &cobra.Command{
		Use: action + " <instance>...", Short: strings.ToUpper(action[:1]) + action[1:] + " instances", Long: long, Example: example, Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			return a.each(args, did, func(name string) error {
				task, err := c.SetInstanceState(cmd.Context(), name, s)
				if err != nil {
					return err
				}
				return a.finish(cmd.Context(), task)
			})
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return a.instanceNames(cmd, func(i api.Instance) bool {
				return !slices.Contains(args, i.Name) && (action == "start") == (i.StatusCode == api.StatusStopped)
			}), noFiles
		},
	}
	if action != "stop" {
		a.addNetns(cmd, &s.Netns, &s.PID)
	}
	return a.addWait(cmd)
}

func (a *app) instanceInfo() *cobra.Command {
	return &cobra.Command{
		Use: "info <instance>", Short: "Show how an instance is on this host now", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := a.instanceWithState(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return write(a.Out, instanceInfo(i))
		},
		ValidArgsFunction: a.completeInstance(nil),
	}
}

func (a *app) instanceWithState(ctx context.Context, name string) (api.Instance, error) {
	c := a.client()
	i, _, err := c.Instance(ctx, name)
	if err != nil {
		return i, err
	}
	s, err := c.InstanceState(ctx, name)
	i.State = &s
	return i, err
}

// instanceInfo returns the state of an instance as text.
func instanceInfo(i api.Instance) string {
	const form = "2006-01-02 15:04:05 MST"
	var t fields
	t.add("Name", i.Name)
	t.add("Status", i.Status)
	t.add("Problem", i.StatusMessage)
	t.add("Type", i.Type)
	t.add("Description", i.Description)
	t.add("Created", i.CreatedAt.Format(form))
	if !i.LastUsedAt.IsZero() {
		t.add("Last started", i.LastUsedAt.Format(form))
	}
	if i.State.PID > 0 {
		t.add("PID", i.State.PID)
	}
	t.add("Namespace", i.State.Netns)
	for _, name := range sortedKeys(i.State.Network) {
		n := i.State.Network[name]
		t.title(name)
		t.add("  State", n.State)
		t.add("  Interface", n.HostName)
		t.add("  MAC address", n.Hwaddr)
		t.add("  MTU", n.MTU)
		for _, addr := range n.Addresses {
			t.add("  "+addr.Family, addr.Address+"/"+addr.Netmask+" ("+addr.Scope+")")
		}
		t.add("  Bytes received", size(n.Counters.BytesReceived))
		t.add("  Bytes sent", size(n.Counters.BytesSent))
		t.add("  Packets received", n.Counters.PacketsReceived)
		t.add("  Packets sent", n.Counters.PacketsSent)
	}
	return t.String()
}
