// Netctld manages the networks of a host and announces them over BGP.
package main

import (
	"os"

	"netctl/daemon"
)

func main() {
	os.Exit(daemon.Main(os.Args[1:], os.Stderr))
}
