package cli

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/client"
	"netctl/config"
)

// instanceNames returns the names of the instances that are wanted.
func (a *app) instanceNames(cmd *cobra.Command, want func(api.Instance) bool) []string {
	return a.ask(cmd, func(ctx context.Context, c *client.Client) []string {
		instances, err := c.Instances(ctx)
		if err != nil {
			return nil
		}
		var names []string
		for _, i := range instances {
			if want(i) {
				names = append(names, i.Name)
			}
		}
		return names
	})
}

// completeInstance completes the name of an instance as the first argument and
// the others with rest, which may be nil.
func (a *app) completeInstance(rest completer) completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0:
			return a.instanceNames(cmd, func(api.Instance) bool { return true }), noFiles
		case rest == nil:
			return nil, noFiles
		}
		return rest(cmd, args, word)
	}
}

// completeInstances completes the names of instances.
func (a *app) completeInstances(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.instanceNames(cmd, func(i api.Instance) bool { return !slices.Contains(args, i.Name) }), noFiles
}

// completeDevices completes the names of devices of the instance that is the
// first argument.
func (a *app) completeDevices(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.ask(cmd, func(ctx context.Context, c *client.Client) []string {
		i, _, err := c.Instance(ctx, args[0])
		if err != nil {
			return nil
		}
		return slices.DeleteFunc(sortedKeys(i.Devices), func(d string) bool { return slices.Contains(args[1:], d) })
	}), noFiles
}

// completeDevice completes the name of a device as the second argument and
// what follows with rest.
func (a *app) completeDevice(rest completer) completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 1 {
			return a.completeDevices(cmd, args, word)
		}
		return rest(cmd, args, word)
	}
}

// completeDeviceKeys completes what "device add" takes after the name of the
// device.
func (a *app) completeDeviceKeys(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) < 2 {
		return nil, noFiles
	}
	if prefix, ok := strings.CutPrefix(word, "network="); ok {
		return withPrefix("network=", a.networkNames(cmd, nil), prefix), noFiles
	}
	return completeAssignment(config.NICSchema, 2)(cmd, args, word)
}

// completeNIC completes what --nic takes.
func (a *app) completeNIC(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	done, last := "", word
	if i := strings.LastIndex(word, ","); i >= 0 {
		done, last = word[:i+1], word[i+1:]
	}
	if prefix, ok := strings.CutPrefix(last, "network="); ok {
		return withPrefix(done+"network=", a.networkNames(cmd, nil), prefix), noFiles | cobra.ShellCompDirectiveNoSpace
	}
	words, _ := completeAssignment(config.NICSchema, 0)(cmd, nil, last)
	return withPrefix(done, words, ""), noFiles | cobra.ShellCompDirectiveNoSpace
}

// completeNetns completes what --netns takes, as long as that is a name.
func completeNetns(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	spaces, err := os.ReadDir("/run/netns")
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var names []string
	for _, s := range spaces {
		names = append(names, s.Name())
	}
	return names, cobra.ShellCompDirectiveDefault
}

// withPrefix returns the words that begin as given, each after head.
func withPrefix(head string, words []string, begin string) []string {
	var out []string
	for _, w := range words {
		if strings.HasPrefix(w, begin) {
			out = append(out, head+w)
		}
	}
	return out
}

// completeFlag says what completes the value of a flag of cmd.
func (a *app) completeFlag(cmd *cobra.Command, name string, complete completer) {
	if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
		panic(err) // the flag was added before
	}
}
