package dnsmasq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

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
		want, err := s.wanted(v)
		if err != nil {
			errs = append(errs, err)
		}
		switch old, runs := have[v.Network]; {
		case err != nil || old == want:
		case runs:
			out = append(out, "dnsmasq restart "+v.Network)
		default:
			out = append(out, "dnsmasq start "+v.Network)
		}
		delete(have, v.Network)
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		out = append(out, "dnsmasq stop "+name)
	}
	return out, errors.Join(errs...)
}

// wanted returns the configuration file that the process of v should run
// with. A bridge that does not exist yet has no index, and no process either.
func (s *Servers) wanted(v *dhcp.Service) (string, error) {
	dir, err := s.home(v.Network)
	if err != nil {
		return "", err
	}
	text, err := dhcp.Render(*v, s.files(dir))
	if err != nil {
		return "", err
	}
	index, err := s.Index(v.Network)
	if err != nil {
		index = 0
	}
	return confPath(dir, &proc{index: index, text: text}), nil
}
