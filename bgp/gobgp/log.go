package gobgp

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/osrg/gobgp/v3/pkg/log"
)

// A logger passes on what GoBGP logs, as debug messages: what matters to an
// operator is logged by the speaker, about the real peers.
type logger struct{ slog *slog.Logger }

var _ log.Logger = logger{}

// SetLevel does nothing: the level is the one of the slog handler.
func (logger) SetLevel(log.LogLevel) {}

// GetLevel is the level of the slog handler.
func (l logger) GetLevel() log.LogLevel {
	if l.slog.Enabled(context.Background(), slog.LevelDebug) {
		return log.DebugLevel
	}
	return log.WarnLevel
}

// Panic logs an inconsistency that GoBGP found in itself. It does not panic:
// the other sessions are worth more.
func (l logger) Panic(msg string, f log.Fields) { l.pass(slog.LevelError, msg, f) }

// Fatal logs like Panic, and does not exit.
func (l logger) Fatal(msg string, f log.Fields) { l.pass(slog.LevelError, msg, f) }

// Error logs a failure within GoBGP.
func (l logger) Error(msg string, f log.Fields) { l.pass(slog.LevelWarn, msg, f) }

// Warn logs for debugging.
func (l logger) Warn(msg string, f log.Fields) { l.pass(slog.LevelDebug, msg, f) }

// Info logs for debugging.
func (l logger) Info(msg string, f log.Fields) { l.pass(slog.LevelDebug, msg, f) }

// Debug logs for debugging.
func (l logger) Debug(msg string, f log.Fields) { l.pass(slog.LevelDebug, msg, f) }

func (l logger) pass(level slog.Level, msg string, f log.Fields) {
	if ctx := context.Background(); l.slog.Enabled(ctx, level) {
		l.slog.Log(ctx, level, "gobgp", "said", msg, "fields", fmt.Sprint(f))
	}
}
