package cli

import (
	"os"
	"time"
)

// OS returns the System that the process runs in.
func OS() System {
	return System{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Terminal: isTerminal(os.Stdin), Getenv: os.Getenv, Now: time.Now}
}

// isTerminal reports whether somebody may be typing into f. The null device is
// a character device too, but nobody types into it.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
