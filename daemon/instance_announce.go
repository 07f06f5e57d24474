package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"netctl/api"
	"netctl/bgp"
	"netctl/network"
)

// announced waits until the prefixes of an instance are announced, as far as
// that is up to netctl: a tap that nobody has opened yet, or an interface that
// is down inside an instance, is not.
func (d *Daemon) announced(ctx context.Context, name string) error {
	bound, cancel := context.WithTimeout(ctx, followBound)
	defer cancel()
	held := ""
	err := d.progress.until(bound, func() bool {
		held = d.heldOf(bound, name)
		return held == ""
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return api.Errorf(api.Timeout, "instance %q: %s, for %s", name, held, followBound)
	}
	return nil
}

// heldOf says which prefix of an instance is not announced and should be, and
// why not; or nothing.
func (d *Daemon) heldOf(ctx context.Context, name string) string {
	host, err := d.view.host(ctx)
	if err != nil {
		return err.Error()
	}
	known := d.decoder.latest()
	at, ok := instanceKind.search(known.Instances, name)
	if !ok || host.BGP.ASN == 0 || host.Silent != "" {
		return ""
	}
	told := d.spoken.last().Paths
	for _, nic := range known.Instances[at].NICs {
		for _, p := range slices.Concat(nic.V4.External, nic.V6.External) {
			i, found := slices.BinarySearchFunc(host.Exports, p, func(e *network.Export, p netip.Prefix) int { return bgp.ComparePrefix(e.Prefix, p) })
			if !found {
				continue // the instance does not run any more
			}
			if e := host.Exports[i]; e.Held != "" {
				if !e.Rests {
					return fmt.Sprintf("%s is held: %s", p, e.Held)
				}
				continue
			}
			if _, is := slices.BinarySearchFunc(told, p, func(have *bgp.Path, p netip.Prefix) int { return bgp.ComparePrefix(have.Prefix, p) }); !is {
				return fmt.Sprintf("%s is held: the speaker has not been told of it", p)
			}
		}
	}
	return ""
}
