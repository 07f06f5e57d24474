// Netctl is the command with which operators talk to netctld.
package main

import (
	"context"
	"os"

	"netctl/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), cli.OS(), os.Args[1:]))
}
