//go:build ignore

// Gendoc writes the reference of the commands to the file that is its
// argument.
package main

import (
	"bytes"
	"log/slog"
	"os"

	"netctl/cli"
)

func main() {
	var b bytes.Buffer
	err := cli.WriteReference(&b)
	if err == nil {
		err = os.WriteFile(os.Args[1], b.Bytes(), 0o644)
	}
	if err != nil {
		slog.Error("write reference", "err", err)
		os.Exit(1)
	}
}
