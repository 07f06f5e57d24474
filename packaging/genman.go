//go:build generate

// Genman writes the manual pages of netctl and netctld, with the version that
// is its second argument, into the directory that is its first.
package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"netctl/cli"
	"netctl/daemon"
)

func main() {
	dir, version := os.Args[1], os.Args[2]
	for section, cmd := range map[string]*cobra.Command{"1": cli.Command(), "8": daemon.Command(io.Discard)} {
		if err := write(filepath.Join(dir, "man"+section), section, version, cmd); err != nil {
			slog.Error("write manual pages", "err", err)
			os.Exit(1)
		}
	}
}

// literal keeps what stands in angle brackets from being taken for HTML.
func literal(cmd *cobra.Command) {
	for _, text := range []*string{&cmd.Use, &cmd.Short, &cmd.Long} {
		*text = strings.ReplaceAll(*text, "<", `\<`)
	}
	for _, child := range cmd.Commands() {
		literal(child)
	}
}

// write writes the pages of a tree of commands.
func write(dir, section, version string, cmd *cobra.Command) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cmd.DisableAutoGenTag = true
	literal(cmd)
	return doc.GenManTree(cmd, &doc.GenManHeader{Section: section, Source: "netctl " + version, Manual: "netctl manual"}, dir)
}
