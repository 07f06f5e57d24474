package cli

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/config"
)

// peerPrefix is what the keys of a peer have before them on a network; the name
// of the peer there is the daemon's business.
const peerPrefix = "bgp.peers.NAME."

func (a *app) bgpPeersSet() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "set <peer> <key>=<value>... | <key> <value>", Short: "Change a peer on every network that names it",
		Long: `Change settings of a peer on every network that names it.

The keys are those that networks have for it, without "bgp.peers.NAME.". All
networks and all keys that are given change together or not at all. An empty
value unsets a key.`,
		Example: `  netctl bgp peers set 192.0.2.1 password=correct-horse
  netctl bgp peers set 192.0.2.1 password=correct-horse holdtime=9`,
		Args: withAssignments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := assignments(args[1:])
			if err != nil {
				return err
			}
			return a.patchPeer(cmd, args[0], values)
		},
		ValidArgsFunction: a.completePeerThen(true),
	})
}

func (a *app) bgpPeersUnset() *cobra.Command {
	return a.addWait(&cobra.Command{
		Use: "unset <peer> <key>...", Short: "Unset keys of a peer on every network that names it", Args: atLeast(2),
		Example: `  netctl bgp peers unset 192.0.2.1 password`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, key := range args[1:] {
				if err := known(config.BridgeSchema, peerPrefix+key); err != nil {
					return fmt.Errorf("peer %s: %w", args[0], err)
				}
			}
			return a.patchPeer(cmd, args[0], unset(args[1:]))
		},
		ValidArgsFunction: a.completePeerThen(false),
	})
}

// patchPeer changes settings of a peer.
func (a *app) patchPeer(cmd *cobra.Command, arg string, values map[string]string) error {
	peer, err := peerArg(cmd, arg)
	if err != nil {
		return err
	}
	c := a.client()
	rev, err := c.PatchBGPPeer(cmd.Context(), peer, api.BGPPeerPatch{Config: values}, "")
	if err != nil {
		return err
	}
	return a.applied(cmd.Context(), c, rev)
}

// peerArg returns the peer that an argument names.
func peerArg(cmd *cobra.Command, arg string) (netip.Addr, error) {
	peer, err := netip.ParseAddr(arg)
	if err != nil {
		return netip.Addr{}, &usageError{cmd, fmt.Errorf("peer %q is not an IP address", arg)}
	}
	return peer, nil
}

// completePeerThen completes the address of a peer, and then its keys; with
// values as "set" takes them.
func (a *app) completePeerThen(values bool) completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return a.completePeer(cmd, args, word)
		}
		full := []string{args[0]}
		for _, arg := range args[1:] {
			full = append(full, peerPrefix+arg)
		}
		found, directive := completeAssignment(config.BridgeSchema, 1)(cmd, full, peerPrefix+word)
		var out []string
		for _, f := range found {
			f = strings.TrimPrefix(f, peerPrefix)
			if !values {
				f, directive = strings.TrimSuffix(f, "="), noFiles
			}
			if f != "address" && f != "address=" {
				out = append(out, f)
			}
		}
		return out, directive
	}
}
