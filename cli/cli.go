// Package cli is the command netctl.
//
// Each noun has a file of its own: its commands, what they ask the daemon, and
// how they show the answer. A command prints its result to the standard output
// and everything else to the standard error. The exit status is 0 when the
// command did what it was told, 1 when the daemon refused or something failed,
// 2 when the command line is wrong, and 3 when the daemon cannot be reached.
//
// Nothing here touches the process: input, output, environment and clock are
// those of a [System], so tests run commands as a shell would.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"netctl/client"
)

const (
	defaultDir  = "/var/lib/netctl"
	socketName  = "unix.socket"
	defaultWait = 10 * time.Second
)

// A System is what a command has around it.
type System struct {
	In       io.Reader
	Out, Err io.Writer
	Terminal bool // In is a terminal, so that a person can be asked
	Getenv   func(string) string
	Now      func() time.Time
}

// An app is one run of the command.
type app struct {
	System
	dir, socket, target string
	named               string         // the remote that --remote names
	https               *client.Client // of the remote that the command is for; nil for the daemon on this host
	away                bool           // the command has to do with a daemon on another host
	wait                time.Duration
	dryRun              bool
}

// Run runs the command with the given arguments, those after its name, and
// returns the exit status.
func Run(ctx context.Context, sys System, args []string) int {
	a := &app{System: sys}
	root := a.root() //nolint:contextcheck // cobra hands the context to the command that runs
	root.SetArgs(args)
	return a.report(root.ExecuteContext(ctx))
}

// Command returns the whole tree of commands, for what documents them.
func Command() *cobra.Command {
	return (&app{System: System{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}}).root()
}

// root returns the whole tree of commands.
func (a *app) root() *cobra.Command {
	root := group("netctl", "Manage the networks of this host",
		`netctl manages the networks of a host and announces their prefixes over BGP.

It talks to the daemon netctld through a unix socket in the daemon's directory,
or over HTTPS to one on another host that "netctl remote add" has made known.
The exit status is 0 on success, 1 when something failed, 2 when the command
line is wrong and 3 when the daemon cannot be reached.`,
		a.network(), a.instance(), a.config(), a.bgp(), a.plan(), a.remote(), a.shutdown(), a.monitor(), a.version(), offline(a.completion()))
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd, err} })
	flags := root.PersistentFlags()
	flags.StringVar(&a.dir, "dir", "", "directory of the daemon (NETCTL_DIR, "+defaultDir+")")
	flags.StringVar(&a.socket, "socket", "", "socket of the daemon (NETCTL_SOCKET, "+socketName+" in the directory)")
	flags.StringVar(&a.named, "remote", "", "daemon on another host that the command is for, or "+local)
	if err := root.RegisterFlagCompletionFunc("remote", a.completeRemoteFlag); err != nil {
		panic(err) // the flag was added above
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if isOffline(cmd) {
			return nil
		}
		return a.connect(cmd)
	}
	root.SetHelpCommand(offline(help(root)))
	root.CompletionOptions.DisableDefaultCmd = true // ours is shorter
	strict(root)
	return root
}

// connect finds the remote that the command is for, if it is for one. A flag
// counts for more than the environment, and that for more than the remote that
// the user has switched to.
func (a *app) connect(cmd *cobra.Command) error {
	name := a.named
	switch {
	case name != "" && (a.socket != "" || a.dir != ""):
		return &usageError{cmd, errors.New("--remote does not go with --socket or --dir, which name the daemon on this host")}
	case name == local:
		return nil
	case name == "" && (a.socket != "" || a.dir != "" || a.Getenv("NETCTL_SOCKET") != "" || a.Getenv("NETCTL_DIR") != ""):
		return nil
	}
	known, err := a.remotes()
	if err != nil {
		return err
	}
	if name == "" {
		name = known.Default
	}
	if name == local {
		return nil
	}
	a.away = true
	a.https, err = known.client(name)
	return err
}

// socketPath returns where the daemon on this host is. A flag counts for more
// than the environment, a socket for more than a directory.
func (a *app) socketPath() string {
	switch {
	case a.socket != "":
		return a.socket
	case a.dir != "":
		return filepath.Join(a.dir, socketName)
	case a.Getenv("NETCTL_SOCKET") != "":
		return a.Getenv("NETCTL_SOCKET")
	case a.Getenv("NETCTL_DIR") != "":
		return filepath.Join(a.Getenv("NETCTL_DIR"), socketName)
	}
	return filepath.Join(defaultDir, socketName)
}

// client returns a client of the daemon that the command is for.
func (a *app) client() *client.Client {
	c := a.https
	if c == nil {
		c = client.Unix(a.socketPath())
	}
	if a.target != "" {
		c = c.Target(a.target)
	}
	if a.dryRun {
		c = c.DryRun(a.showPlan)
	}
	return c
}

// addTarget gives cmd, and the commands below it, the flag --target.
func (a *app) addTarget(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().StringVar(&a.target, "target", "", "member of the cluster to read from or to configure")
	return cmd
}

// addWait gives a command that writes the flags --wait and --dry-run.
func (a *app) addWait(cmd *cobra.Command) *cobra.Command {
	a.addDryRun(cmd)
	a.wait = defaultWait
	cmd.Flags().Var((*span)(&a.wait), "wait", "how long to wait for the change to take effect, 0 to not wait")
	return cmd
}

// applied waits until a write has taken effect, as --wait says.
func (a *app) applied(ctx context.Context, c *client.Client, revision int64) error {
	if a.wait <= 0 || revision == 0 {
		return nil
	}
	return c.WaitApplied(ctx, revision, a.wait)
}

// say prints a line for the user who watches. A dry run has nothing to say:
// nothing was done.
func (a *app) say(format string, args ...any) error {
	if a.dryRun {
		return nil
	}
	_, err := fmt.Fprintf(a.Out, format+"\n", args...)
	return err
}
