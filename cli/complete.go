package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"netctl/client"
	"netctl/config"
)

// completeTimeout bounds how long a person who pressed the tab key waits.
const completeTimeout = 2 * time.Second

// A completer finds what the word at the end of a command line can become.
// Args are the words before it.
type completer = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective)

const noFiles = cobra.ShellCompDirectiveNoFileComp

// ask returns what get finds at the daemon, or nothing.
func (a *app) ask(cmd *cobra.Command, get func(context.Context, *client.Client) []string) []string {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	if a.connect(cmd) != nil {
		return nil
	}
	c := a.client()
	defer c.Close()
	return get(ctx, c)
}

// networkNames returns the names of all networks but those given.
func (a *app) networkNames(cmd *cobra.Command, but []string) []string {
	return a.ask(cmd, func(ctx context.Context, c *client.Client) []string {
		networks, err := c.Networks(ctx)
		if err != nil {
			return nil
		}
		var names []string
		for _, n := range networks {
			if !slices.Contains(but, n.Name) {
				names = append(names, n.Name)
			}
		}
		return names
	})
}

// completeNetwork completes the name of a network as the first argument and
// the others with rest, which may be nil.
func (a *app) completeNetwork(rest completer) completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0:
			return a.networkNames(cmd, nil), noFiles
		case rest == nil:
			return nil, noFiles
		}
		return rest(cmd, args, word)
	}
}

// completeNetworks completes the names of networks.
func (a *app) completeNetworks(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.networkNames(cmd, args), noFiles
}

// completePeer completes the address of a peer.
func (a *app) completePeer(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return a.ask(cmd, func(ctx context.Context, c *client.Client) []string {
		peers, err := c.BGPPeers(ctx)
		if err != nil {
			return nil
		}
		var addrs []string
		for _, p := range peers {
			addrs = append(addrs, p.Address)
		}
		return addrs
	}), noFiles
}

// completePrefix completes a prefix that is announced, or would be.
func (a *app) completePrefix(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return a.ask(cmd, func(ctx context.Context, c *client.Client) []string {
		routes, err := c.BGPRoutes(ctx)
		if err != nil {
			return nil
		}
		var prefixes []string
		for _, r := range routes {
			prefixes = append(prefixes, r.Prefix)
		}
		return prefixes
	}), noFiles
}

// completeAssignment completes what "set" takes from a schema: key=value, or
// the value when it follows its key.
func completeAssignment[T any](s *config.Schema[T], names int) completer {
	return func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if key, _, ok := strings.Cut(word, "="); ok {
			var out []string
			for _, v := range s.Values(key) {
				out = append(out, key+"="+v)
			}
			return out, noFiles
		}
		if len(args) == names+1 && !strings.Contains(args[names], "=") {
			return s.Values(args[names]), noFiles
		}
		var out []string
		for _, name := range s.Names(word) {
			if !strings.HasSuffix(name, ".") { // where a name of the user's choice follows
				name += "="
			}
			out = append(out, name)
		}
		return out, noFiles | cobra.ShellCompDirectiveNoSpace
	}
}

// A loader reads a configuration of the daemon.
type loader = func(ctx context.Context, c *client.Client, args []string) (map[string]string, error)

// completeSet completes the keys that are set, for a command that takes at
// most limit arguments; 0 is no limit.
func (a *app) completeSet(load loader, limit int) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if limit != 0 && len(args) >= limit {
			return nil, noFiles
		}
		return a.ask(cmd, func(ctx context.Context, c *client.Client) []string {
			cfg, err := load(ctx, c, args)
			if err != nil {
				return nil
			}
			maps.DeleteFunc(cfg, func(key, _ string) bool { return slices.Contains(args, key) })
			return slices.Sorted(maps.Keys(cfg))
		}), noFiles
	}
}
