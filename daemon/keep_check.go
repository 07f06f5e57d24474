package daemon

import (
	"net/netip"
	"strings"

	"netctl/api"
	"netctl/network"
)

// hostKeeps refuses prefixes that the host itself needs where they are (see
// [network.Observed.Takes]) in keys that are not as they were.
func (d *Daemon) hostKeeps(object string, cfg, old map[string]string, keys ...string) error {
	var o *network.Observed
	for _, key := range keys {
		if cfg[key] == "" || cfg[key] == old[key] {
			continue
		}
		if o == nil {
			o = d.view.lastObserved()
		}
		for text := range strings.SplitSeq(cfg[key], ",") {
			text = strings.TrimSpace(text)
			p, err := netip.ParsePrefix(text)
			if err != nil {
				continue // none
			}
			if what := o.Takes(p); what != "" {
				return api.Errorf(api.Conflict, "%s: %s=%s conflicts with %s", object, key, text, what)
			}
		}
	}
	return nil
}

// hostKeepsListening refuses to forward what the host itself needs: what goes to
// its peers and gateways, and everything that goes to an address of its own.
// Some ports of its own address may go elsewhere.
func (d *Daemon) hostKeepsListening(object string, listen netip.Addr, target string) error {
	o := d.view.lastObserved()
	what := o.Takes(netip.PrefixFrom(listen, listen.BitLen()))
	switch {
	case what == "":
		return nil
	case !o.Has(listen):
		return api.Errorf(api.Conflict, "%s: listen_address=%s conflicts with %s", object, listen, what)
	case target != "":
		return api.Errorf(api.Conflict, "%s: target_address=%s conflicts with %s, which this host needs itself: forward ports of it", object, target, what)
	}
	return nil
}
