package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"netctl/config"
)

// assignments reads what "set" is given: key=value once or several times, or a
// key and a value.
func assignments(args []string) (map[string]string, error) {
	if len(args) == 2 && !strings.Contains(args[0], "=") {
		return map[string]string{args[0]: args[1]}, nil
	}
	out := make(map[string]string, len(args))
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		switch {
		case !ok:
			return nil, fmt.Errorf("%q is not of the form key=value", arg)
		case key == "":
			return nil, fmt.Errorf("%q has no key before the =", arg)
		}
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("key %q is given twice", key)
		}
		out[key] = value
	}
	return out, nil
}

// withAssignments returns the check of the arguments of a command that takes
// some names and then what assignments reads, at least one when min is 1.
func withAssignments(names, min int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := atLeast(names+min)(cmd, args); err != nil {
			return err
		}
		_, err := assignments(args[names:])
		return err
	}
}

// unset returns the assignments that unset keys.
func unset(keys []string) map[string]string {
	out := make(map[string]string, len(keys))
	for _, k := range keys {
		out[k] = ""
	}
	return out
}

// known refuses keys that a schema does not have. The daemon does not mind
// them where nothing is stored, but a person who misspelt one does.
func known[T any](s *config.Schema[T], keys ...string) error {
	errs := config.KeyErrors(s.Validate(unset(keys)))
	for _, e := range errs {
		if unknown, ok := errors.AsType[*config.UnknownKeyError](e.Err); ok {
			return unknown
		}
	}
	return nil
}
