package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// faultVar is the environment variable with which tests have the daemon
// killed at a chosen step: "12" is before its 12th operation, "ready+12"
// before the 12th after it has become ready. Whatever changes something, in
// the kernel, on disk or at the peers, logs the operation before it carries
// it out, under the key "op"; so the log is where operations can be counted,
// and nothing else need know of it.
const faultVar = "NETCTL_FAULT"

// A fault is a log handler that kills the process, as kill -9 does, when an
// operation is logged that is one too many.
type fault struct {
	slog.Handler
	ready *atomic.Bool  // operations count
	left  *atomic.Int64 // how many may still be carried out
}

// withFault returns log with the fault that the variable asks for, if any.
func withFault(log *slog.Logger, getenv func(string) string) (*slog.Logger, error) {
	spec := getenv(faultVar)
	if spec == "" {
		return log, nil
	}
	number, ready := strings.CutPrefix(spec, "ready+")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("%s=%s: want a number, or ready+ and a number", faultVar, spec)
	}
	f := &fault{Handler: log.Handler(), ready: &atomic.Bool{}, left: &atomic.Int64{}}
	f.ready.Store(!ready)
	f.left.Store(n - 1)
	return slog.New(f), nil
}

// Enabled is true for everything: operations are logged at the lowest level.
func (f *fault) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (f *fault) Handle(ctx context.Context, r slog.Record) error {
	op := false
	r.Attrs(func(a slog.Attr) bool { op = op || a.Key == "op"; return !op })
	switch {
	case op && f.ready.Load() && f.left.Add(-1) < 0:
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	case r.Message == readyMessage:
		f.ready.Store(true)
	}
	if !f.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return f.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (f *fault) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &fault{f.Handler.WithAttrs(attrs), f.ready, f.left}
}

// WithGroup implements slog.Handler.
func (f *fault) WithGroup(name string) slog.Handler {
	return &fault{f.Handler.WithGroup(name), f.ready, f.left}
}
