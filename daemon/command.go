package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"netctl/api"
	"netctl/bgp"
	"netctl/client"
)

// DefaultDir is where a daemon keeps its files unless it is told otherwise.
const DefaultDir = "/var/lib/netctl"

// Main runs the command netctld and returns its exit status.
func Main(args []string, stderr io.Writer) int {
	cmd := Command(stderr)
	cmd.SetArgs(args)
	cmd.SetErr(stderr)
	if err := cmd.Execute(); err != nil {
		_, _ = fmt.Fprintln(stderr, "netctld:", err) // there is nowhere else to say it
		return 1
	}
	return 0
}

// Command returns the command netctld, which writes its log to stderr.
func Command(stderr io.Writer) *cobra.Command {
	var dir, group, level, format string
	cmd := &cobra.Command{
		Use:   "netctld",
		Short: "Network manager with BGP built in",
		Long: `netctld manages the networks of this host and announces them over BGP.

SIGTERM, SIGINT and SIGHUP stop it for a restart: links, packet filter and
dnsmasq stay as they are, and peers keep its routes for bgp.restart_time.
SIGPWR and "netctl shutdown" shut it down: every route is withdrawn first.`,
		Version: fmt.Sprintf("%s (%s)", api.Version, api.Commit), Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLogger(stderr, level, format)
			if err != nil {
				return err
			}
			if log, err = withFault(log, os.Getenv); err != nil {
				return err
			}
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPWR)
			boot, err := bootID()
			if err != nil {
				return err
			}
			err = Run(cmd.Context(), Options{
				Dir: dir, Group: group, BootID: boot, Log: log, Signals: impatient(signals, os.Exit), StopMode: StopMode, Parts: SystemParts,
			})
			if hint := advice(err, dir); hint != "" {
				err = fmt.Errorf("%w\n%s", err, hint)
			}
			return err
		},
	}
	cmd.SetContext(context.Background())
	cmd.PersistentFlags().StringVar(&dir, "dir", DefaultDir, "directory of the database, the socket and the networks' files")
	cmd.Flags().StringVar(&group, "group", "netctl", "group whose members may use the socket")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	cmd.AddCommand(waitReady(&dir), database(&dir))
	return cmd
}

// impatient passes on the first signal of each meaning. A second one of those
// that ask for a restart ends the process without waiting for what is left to
// do; but nothing cuts a full shutdown short, for when the power fails the
// whole host is told to stop, and so are we.
func impatient(in <-chan os.Signal, exit func(int)) <-chan os.Signal {
	out := make(chan os.Signal, 2)
	go func() {
		var restart, full bool
		for s := range in {
			switch {
			case full:
			case StopMode(s) == bgp.Withdraw:
				full = true
				out <- s
			case restart:
				exit(1)
			default:
				restart = true
				out <- s
			}
		}
	}()
	return out
}

// StopMode decides what a signal means: the power is failing, so this host's
// routes must go; anything else, and we will be back.
func StopMode(s os.Signal) bgp.StopMode {
	if s == syscall.SIGPWR {
		return bgp.Withdraw
	}
	return bgp.Restart
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level=%s: use debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("--log-format=%s: use text or json", format)
}

// waitReady is netctld waitready.
func waitReady(dir *string) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "waitready", Short: "Wait until the daemon has brought the host up to date", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			c := client.Unix(filepath.Join(*dir, SocketName))
			defer c.Close()
			for {
				err := c.Ready(ctx)
				if err == nil {
					return nil
				}
				select {
				case <-ctx.Done():
					return fmt.Errorf("not ready after %s: %w", timeout, err)
				case <-time.After(50 * time.Millisecond):
				}
			}
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait")
	return cmd
}
