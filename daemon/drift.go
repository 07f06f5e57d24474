package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// A drift tells operators that others have changed what is ours on the host,
// and how that is undone.
type drift struct {
	log *slog.Logger

	mu    sync.Mutex
	last  string
	at    time.Time
	times int
}

// Bounds of what is told.
const (
	driftCommands = 10          // how many commands are listed
	driftMemory   = time.Minute // how long it is remembered
)

// report tells of the commands that undo what others have done. When somebody
// does the same all the time it is told the first, the second, the fourth, the
// eighth time and so on.
func (d *drift) report(ctx context.Context, commands []string) {
	text := strings.Join(commands[:min(driftCommands, len(commands))], "; ")
	if more := len(commands) - driftCommands; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if text != d.last || now.Sub(d.at) > driftMemory {
		d.times = 0
	}
	d.last, d.at = text, now
	d.times++
	level := slog.LevelWarn
	if d.times&(d.times-1) != 0 {
		level = slog.LevelDebug
	}
	d.log.Log(ctx, level, "repairing what others have changed", "commands", text, "times", d.times)
}
