package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// group returns a command that only has others below it.
func group(use, short, long string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long}
	cmd.AddCommand(children...)
	return cmd
}

// strict makes cmd, and all commands below it, refuse arguments that they do
// not know with a usage error. Left to itself, cobra shows the help and calls
// that a success.
func strict(cmd *cobra.Command) {
	if !cmd.Runnable() {
		cmd.Args = noCommand
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		cmd.DisableFlagsInUseLine = true
		cmd.SuggestionsMinimumDistance = 2
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &usageError{cmd, err}
			}
			return nil
		}
	}
	for _, child := range cmd.Commands() {
		strict(child)
	}
}

// noCommand refuses what is not one of the commands below cmd.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w, did you mean %s?", err, strings.Join(near, " or "))
	}
	return err
}

// help returns the command that shows the help of another.
func help(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [<command>...]", Short: "Show how a command is used",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := root.Find(args)
			if err == nil && len(rest) > 0 {
				err = noCommand(topic, rest)
			}
			if err != nil {
				return &usageError{cmd, err}
			}
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			topic, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return nil, noFiles
			}
			var names []string
			for _, child := range topic.Commands() {
				if child.IsAvailableCommand() {
					names = append(names, child.Name())
				}
			}
			return names, noFiles
		},
	}
}

// offlineMark marks commands that talk to no daemon.
const offlineMark = "offline"

// offline says that cmd, and those below it, talk to no daemon.
func offline(cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = map[string]string{offlineMark: "true"}
	return cmd
}

// isOffline reports whether cmd talks to no daemon. Completion finds out by
// itself when it must.
func isOffline(cmd *cobra.Command) bool {
	if cmd.HasSubCommands() || strings.HasPrefix(cmd.Name(), cobra.ShellCompRequestCmd) {
		return true
	}
	for c := cmd; c != nil; c = c.Parent() {
		if c.Annotations[offlineMark] != "" {
			return true
		}
	}
	return false
}

// atMost returns the check of a command that takes n arguments or fewer.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return fmt.Errorf("argument %q is one too many: %s", args[n], usage(cmd))
		}
		return nil
	}
}

// exactly returns the check of a command that takes n arguments.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := atMost(n)(cmd, args); err != nil {
			return err
		}
		return atLeast(n)(cmd, args)
	}
}

// atLeast returns the check of a command that takes n arguments or more.
func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return errors.New("an argument is missing: " + usage(cmd))
		}
		return nil
	}
}

// usage returns how cmd is used, in one line.
func usage(cmd *cobra.Command) string { return strings.TrimSuffix(cmd.UseLine(), " [flags]") }
