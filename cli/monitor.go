package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"netctl/api"
)

// monitor returns the command that follows what the daemon does.
func (a *app) monitor() *cobra.Command {
	var types []string
	cmd := &cobra.Command{
		Use: "monitor", Short: "Show what happens as it happens", Args: exactly(0),
		Long: `Show the events of the daemon until it stops or Ctrl-C is pressed: what was
changed (lifecycle), and what the daemon logs (logging), from --loglevel up.
The level "debug" tells every single operation on the host and every BGP
message.`,
	}

	known := []string{api.EventLifecycle, api.EventLogging, api.EventOperation}
	cmd.Flags().StringSliceVar(&types, "type", nil, "types of events to show (default all)")
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return known, noFiles }
	if err := cmd.RegisterFlagCompletionFunc("type", complete); err != nil {
		panic(err) // the flag was added above
	}
	format := addFormat(cmd, "yaml", "json")
	least := addChoice(cmd, "loglevel", "", "least level of what is logged", "info", logLevels...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
		defer stop()
		err := a.follow(ctx, types, *least, *format)
		if errors.Is(err, context.Canceled) {
			return nil // as it was asked to
		}
		return err
	}
	return cmd
}

// logLevels are the levels of what the daemon logs, the least first.
var logLevels = []string{"debug", "info", "warning", "error"}

// follow prints events until the stream or ctx ends. What is logged is left out
// below the least level.
func (a *app) follow(ctx context.Context, types []string, least, format string) error {
	stream, err := a.client().Events(ctx, types...)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	for {
		event, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return errors.New("netctld has ended the stream: it stops, or more happened than could be shown")
		}
		if err != nil {
			return err
		}
		if tooLow(event, least) {
			continue
		}
		if err := a.event(format, event); err != nil {
			return err
		}
	}
}

// tooLow reports whether an event is something logged below a level.
func tooLow(e api.Event, least string) bool {
	var body api.EventLoggingBody
	return e.Type == api.EventLogging && json.Unmarshal(e.Metadata, &body) == nil &&
		slices.Index(logLevels, body.Level) < slices.Index(logLevels, least)
}

// event prints an event: JSON on a line of its own, or a YAML document.
func (a *app) event(format string, e api.Event) error {
	if format == "json" {
		enc := json.NewEncoder(a.Out)
		enc.SetEscapeHTML(false)
		return enc.Encode(e)
	}
	shown := struct {
		Type      string    `yaml:"type"`
		Timestamp time.Time `yaml:"timestamp"`
		Metadata  any       `yaml:"metadata"`
		Location  string    `yaml:"location,omitempty"`
		Project   string    `yaml:"project,omitempty"`
	}{e.Type, e.Timestamp, nil, e.Location, e.Project}
	if err := json.Unmarshal(e.Metadata, &shown.Metadata); err != nil {
		return fmt.Errorf("event of type %s: %w", e.Type, err)
	}
	text, err := toYAML(shown)
	if err != nil {
		return err
	}
	return write(a.Out, text+"---\n")
}
