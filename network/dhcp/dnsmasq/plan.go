package dnsmasq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"netctl/network/dhcp"
)

// Plan returns what an Apply would do, as commands, and does nothing. It looks
// for the processes.
func (s *Servers) Plan(_ context.Context, services []*dhcp.Service) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.running()
	if err != nil {
		return nil, fmt.Errorf("dnsmasq: %w", err)
	}
	have := make(map[string]string, len(found))
	for _, p := range found {
		have[p.network] = p.conf
		p.close()
	}
	out, errs := []string{}, []error{}
	for _, v := range services {
		if !v.Offers() {
			continue
		}
		index, err := s.Index(v.Network)
		if err != nil {
			index = 0 // a bridge that does not exist yet has no process either
		}
		next, err := s.next(v, index)
		if err != nil {
			errs = append(errs, err)
			delete(have, v.Network)
			continue
		}
		old, runs := have[v.Network]
		switch {
		case runs && old != next.conf:
			out = append(out, "dnsmasq restart "+v.Network)
		case !runs:
			out = append(out, "dnsmasq start "+v.Network)
		}
		ops, err := s.planHosts(next, old == next.conf)
		out, errs = append(out, ops...), append(errs, err)
		delete(have, v.Network)
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		out = append(out, "dnsmasq stop "+name)
	}
	return out, errors.Join(errs...)
}

// planHosts returns what would change in the hosts of next; stays says that
// its process runs.
func (s *Servers) planHosts(next *proc, stays bool) ([]string, error) {
	dir := filepath.Dir(next.conf)
	have, told, err := s.readRoll(dir)
	if err != nil {
		return nil, fmt.Errorf("network %s: dnsmasq: %w", next.network, err)
	}
	data, err := os.ReadFile(s.files(dir).Leases)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("network %s: leases: %w", next.network, err)
	}
	var out []string
	for _, l := range dhcp.Released(dhcp.ParseLeases(data), dhcp.ParseHosts(have.known), next.service.Hosts) {
		out = append(out, "dnsmasq release "+next.network+" "+l.Addr.String())
	}
	for _, t := range []struct{ what, have, want string }{
		{"host", have.known, next.roll.known}, {"name", have.names, next.roll.names},
	} {
		out = append(out, planLines("dnsmasq del-"+t.what+" "+next.network, t.have, t.want)...)
		out = append(out, planLines("dnsmasq add-"+t.what+" "+next.network, t.want, t.have)...)
	}
	if stays && !told && len(out) == 0 {
		out = append(out, "dnsmasq reload "+next.network)
	}
	return out, nil
}

// planLines returns a command for each line that is in one text and not in the
// other.
func planLines(command, in, not string) []string {
	if in == not {
		return nil
	}
	other := map[string]bool{}
	for line := range strings.Lines(not) {
		other[line] = true
	}
	var out []string
	for line := range strings.Lines(in) {
		if !other[line] {
			out = append(out, command+" "+strings.TrimSuffix(line, "\n"))
		}
	}
	return out
}
