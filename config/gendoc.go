//go:build ignore

// Gendoc writes the reference of the configuration keys to the file that is
// its argument.
package main

import (
	"bytes"
	"log/slog"
	"os"

	"netctl/config"
)

func main() {
	var b bytes.Buffer
	err := config.WriteReference(&b)
	if err == nil {
		err = os.WriteFile(os.Args[1], b.Bytes(), 0o644)
	}
	if err != nil {
		slog.Error("write reference", "err", err)
		os.Exit(1)
	}
}
