package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/client"
)

// Exit statuses.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitUnreachable
)

// A usageError says that the command line is wrong.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

// report tells the user about an error and returns the exit status for it.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	kind, hint, status := "Error", "", exitFailed
	usage, isUsage := errors.AsType[*usageError](err)
	_, lags := errors.AsType[*client.LagError](err)
	_, other := errors.AsType[*client.CertificateError](err)
	switch {
	case isUsage:
		hint, status = fmt.Sprintf("run %q to see how it is used", usage.cmd.CommandPath()+" --help"), exitUsage
	case errors.Is(err, client.ErrUnreachable):
		hint, status = a.unreachableHint(err), exitUnreachable
	case other:
		hint = `when the daemon was set up anew, remove the remote and add it again; if it was not, somebody else answers in its place`
	case lags:
		kind, hint = "Warning", `it is being retried; "netctl bgp status" and "netctl network info" say more`
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	case api.ErrorCode(err) == api.Forbidden && a.away && a.https == nil:
		hint = `"netctl config trust add" on the host of the daemon makes a token that is good`
	case api.ErrorCode(err) == api.Forbidden && a.away:
		hint = `"netctl config trust list" on the host of the daemon shows who is trusted there, and who may only read`
	case api.ErrorCode(err) == api.Forbidden:
		hint = "run it as root, or as a member of the group that netctld was given with --group"
	}
	_, _ = fmt.Fprintf(a.Err, "%s: %v\n", kind, err)
	if hint != "" {
		_, _ = fmt.Fprintf(a.Err, "Hint: %s\n", hint)
	}
	return status
}

// unreachableHint says what to do about a daemon that does not answer.
func (a *app) unreachableHint(err error) string {
	switch {
	case a.away:
		return "is netctld running there, with core.https_address set, and does a firewall let you reach it?"
	case errors.Is(err, fs.ErrPermission):
		return "run it as root, or as a member of the group that netctld was given with --group"
	}
	return `is netctld running? Try "systemctl status netctld"; when it has another directory, use --dir or NETCTL_DIR`
}
