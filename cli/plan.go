package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"netctl/api"
)

// plan returns the command that compares the host with what is stored.
func (a *app) plan() *cobra.Command {
	cmd := &cobra.Command{
		Use: "plan", Short: "Show what the host lacks of what is stored", Args: exactly(0),
		Long: `Show what the host lacks of what is stored.

The daemon closes such gaps by itself and at once, so the plan is empty unless
something keeps it from doing so. What a change would lead to is shown by
--dry-run, which every command that changes something has.`,
	}
	format := addFormat(cmd, "text", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := a.client().Plan(cmd.Context())
		if err != nil {
			return err
		}
		if *format != "text" {
			return a.object(*format, p)
		}
		return a.showPlan(p)
	}
	return cmd
}

// addDryRun gives a command that writes the flag --dry-run.
func (a *app) addDryRun(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "show what would change, and change nothing")
}

// showPlan prints a plan: each step as the command that would do the same, and
// what each peer would be told.
func (a *app) showPlan(p api.Plan) error {
	if p.Empty() {
		return write(a.Out, "Nothing would change\n")
	}
	var b strings.Builder
	for _, m := range p.Members {
		for _, c := range m.Changes {
			fmt.Fprintf(&b, "%-8s  %s\n", c.Target, c.Command)
		}
		for _, peer := range m.Peers {
			if peer.Session != "" {
				fmt.Fprintf(&b, "%-8s  %s session with %s\n", "bgp", peer.Session, peer.Address)
			}
			for _, x := range peer.Prefixes {
				fmt.Fprintf(&b, "%-8s  %s\n", "bgp", told(peer.Address, x))
			}
		}
	}
	return write(a.Out, b.String())
}

func told(peer string, p api.PlanPrefix) string {
	switch {
	case p.Action == "withdraw":
		return fmt.Sprintf("withdraw %s from %s", p.Prefix, peer)
	case p.NextHop == "":
		return fmt.Sprintf("%s %s to %s, without a next hop", p.Action, p.Prefix, peer)
	}
	return fmt.Sprintf("%s %s to %s, next hop %s", p.Action, p.Prefix, peer, p.NextHop)
}
