package cli

import (
	"errors"
	"time"
)

// A span is a flag that takes a time that is not negative.
type span time.Duration

func (s *span) String() string { return time.Duration(*s).String() }

// Type names the kind of value in the help.
func (s *span) Type() string { return "duration" }

// Set implements pflag.Value.
func (s *span) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("want a number with a unit, as in 500ms, 10s or 2m, or 0")
	}
	if d < 0 {
		return errors.New("a time to wait is not negative: 0 is to not wait")
	}
	*s = span(d)
	return nil
}
