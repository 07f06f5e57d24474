package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// udhcpcScript configures the interface with what udhcpc was offered, and
// writes that to the file that LEASE_FILE names. The kernel's resolver is
// left alone, which all namespaces share.
const udhcpcScript = `#!/bin/sh
case "$1" in
bound|renew)
	ip addr flush dev "$interface" scope global
	ip -4 addr add "$ip/$mask" dev "$interface"
	[ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
	for r in $router; do ip route replace default via "$r" dev "$interface"; break; done
	{ echo "ip=$ip/$mask"; echo "router=$router"; echo "dns=$dns"; echo "domain=$domain"
	  echo "search=$search"; echo "mtu=$mtu"; echo "lease=$lease"; } >"$LEASE_FILE.new"
	mv "$LEASE_FILE.new" "$LEASE_FILE"
	;;
esac
`

// A DHCPLease is what a DHCPv4 client was offered and has configured.
type DHCPLease struct {
	Addr   netip.Prefix
	Router netip.Addr // zero when none was offered
	DNS    []netip.Addr
	Domain string
	Search string
	MTU    string
	Expiry string // seconds
}

// TryDHCP4 gets a lease with udhcpc for an interface that is up, and
// configures it. The client names itself as the namespace is called.
func (ns *NS) TryDHCP4(dev string, options ...string) (DHCPLease, error) {
	script := filepath.Join(ns.Lab.Dir, "udhcpc.sh")
	if err := os.WriteFile(script, []byte(udhcpcScript), 0o755); err != nil { //nolint:gosec // it is run
		return DHCPLease{}, err
	}
	file := filepath.Join(ns.Lab.Dir, ns.Name+"-"+dev+".lease")
	if err := os.RemoveAll(file); err != nil {
		return DHCPLease{}, err
	}
	args := append([]string{
		"LEASE_FILE=" + file, "udhcpc", "-f", "-n", "-q", "-t", "10", "-T", "1", "-i", dev, "-s", script,
		"-x", "hostname:" + ns.Name, "-O", "search", "-O", "mtu",
	}, options...)
	if _, err := ns.Try("env", args...); err != nil {
		return DHCPLease{}, err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return DHCPLease{}, err
	}
	return parseDHCPLease(string(b))
}

func parseDHCPLease(text string) (DHCPLease, error) {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[k] = v
	}
	l := DHCPLease{Domain: values["domain"], Search: values["search"], MTU: values["mtu"], Expiry: values["lease"]}
	var err error
	if l.Addr, err = netip.ParsePrefix(values["ip"]); err != nil {
		return DHCPLease{}, fmt.Errorf("lease: %w", err)
	}
	if r, _, _ := strings.Cut(values["router"], " "); r != "" {
		if l.Router, err = netip.ParseAddr(r); err != nil {
			return DHCPLease{}, fmt.Errorf("lease: %w", err)
		}
	}
	for s := range strings.FieldsSeq(values["dns"]) {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return DHCPLease{}, fmt.Errorf("lease: %w", err)
		}
		l.DNS = append(l.DNS, a)
	}
	return l, nil
}

// DHCP4 is TryDHCP4 that fails the test.
func (ns *NS) DHCP4(dev string, options ...string) DHCPLease {
	ns.Lab.Helper()
	lease, err := ns.TryDHCP4(dev, options...)
	if err != nil {
		ns.Lab.Fatalf("%v", err)
	}
	return lease
}

// Address returns an address of an interface that is in within and usable,
// as soon as it has one.
func (ns *NS) Address(dev string, within netip.Prefix, timeout time.Duration) netip.Addr {
	ns.Lab.Helper()
	var found netip.Addr
	ns.Lab.Eventually(timeout, ns.Name+": an address in "+within.String(), func() error {
		out, err := ns.Try("ip", "-o", "addr", "show", "dev", dev)
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			if len(f) < 4 || strings.Contains(line, "tentative") || strings.Contains(line, "dadfailed") {
				continue
			}
			if p, err := netip.ParsePrefix(f[3]); err == nil && within.Contains(p.Addr()) {
				found = p.Addr()
				return nil
			}
		}
		return fmt.Errorf("has %s", out)
	})
	return found
}

// RouterAdvertisement asks for router advertisements and returns what
// rdisc6(8) makes of the answer. The kernel takes it in too.
func (ns *NS) RouterAdvertisement(dev string) (string, error) {
	return ns.Try("rdisc6", "-1", "-r", "5", "-w", "1000", dev)
}

// Ping reports whether addr answers.
func (ns *NS) Ping(addr netip.Addr, options ...string) error {
	_, err := ns.Try("ping", append(options, "-n", "-c", "1", "-W", "1", addr.String())...)
	return err
}
