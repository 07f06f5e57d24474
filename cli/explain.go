package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"netctl/api"
)

func (a *app) bgpExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain <prefix>|<address>", Short: "Explain why a prefix is announced or not", Args: exactly(1),
		Long: `Explain why a prefix, or the prefix that an address belongs to, is announced
or not: what it belongs to, which keys decide, which next hop each peer is given
and why, and what each peer was really sent.`,
		Example: `  netctl bgp explain 192.0.2.10
  netctl bgp explain 2001:db8:100::/64`,
		ValidArgsFunction: a.completePrefix,
	}
	format := addFormat(cmd, "text", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		x, err := a.client().Explain(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *format != "text" {
			return a.object(*format, x)
		}
		return write(a.Out, explanation(x))
	}
	return cmd
}

// explanation returns an explanation as text.
func explanation(x api.BGPExplanation) string {
	var b strings.Builder
	fmt.Fprintln(&b, x.Summary)
	if len(x.Reasons) > 0 {
		fmt.Fprintln(&b, "\nWhat has it:")
	}
	for _, r := range x.Reasons {
		fmt.Fprintf(&b, "  %s, %s (%s): %s\n", reasonOwner(r), r.Key, r.Prefix, r.Rule)
	}
	if len(x.NextHop) > 0 {
		fmt.Fprintln(&b, "\nNext hop:")
	}
	for _, n := range x.NextHop {
		hop := n.NextHop
		if hop == "" {
			hop = "none"
		}
		fmt.Fprintf(&b, "  %s to %s: %s\n", hop, n.Peer, n.Why)
	}
	if x.Route == nil || len(x.Route.Peers) == 0 {
		return b.String()
	}
	fmt.Fprintln(&b, "\nPeers:")
	for _, p := range x.Route.Peers {
		if p.Sent {
			fmt.Fprintf(&b, "  %s was sent it with next hop %s, AS path %s\n", p.Address, p.NextHop, asPath(p.ASPath))
		} else {
			fmt.Fprintf(&b, "  %s was not sent it: %s\n", p.Address, p.Reason)
		}
	}
	return b.String()
}

func reasonOwner(r api.BGPReason) string {
	switch {
	case r.Instance != "":
		return fmt.Sprintf("instance %s, %s on network %s", r.Instance, r.Device, r.Network)
	case r.Forward != "":
		return fmt.Sprintf("forward %s of network %s", r.Forward, r.Network)
	}
	return "network " + r.Network
}

func asPath(p []uint32) string {
	return strings.Trim(fmt.Sprint(p), "[]")
}
