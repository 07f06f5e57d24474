package daemon

import (
	"context"
	"log/slog"

	"netctl/bgp/gobgp"
	"netctl/network/dhcp/dnsmasq"
	"netctl/network/firewall/nft"
	"netctl/network/link/netlink"
)

// SystemParts makes the subsystems that act on the host that the process runs
// on: netlink, nftables, dnsmasq and the embedded speaker. They last until the
// process ends.
func SystemParts(dir string, log *slog.Logger, beforeDelete func(context.Context)) (Parts, error) {
	links, err := netlink.New(log.With("target", "link"))
	if err != nil {
		return Parts{}, err
	}
	links.BeforeDelete = beforeDelete
	links.Drift = (&drift{log: log.With("target", "link")}).report
	filter, err := nft.New(log.With("target", "firewall"))
	if err != nil {
		return Parts{}, err
	}
	filter.Drift = (&drift{log: log.With("target", "firewall")}).report
	services, err := dnsmasq.New(dir, log.With("target", "dhcp"))
	if err != nil {
		return Parts{}, err
	}
	services.Index = links.Index
	return Parts{Links: links, Firewall: filter, DHCP: services, Speaker: gobgp.New(log.With("target", "bgp"))}, nil
}
