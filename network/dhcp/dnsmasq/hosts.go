package dnsmasq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"

	"golang.org/x/sys/unix"

	"netctl/network/dhcp"
)

// A roll is what a dnsmasq reads again when it is told to: its known hosts and
// their names, see dhcp.RenderHosts.
type roll struct{ known, names string }

// untold is the name of a file that is there from before the roll is written
// until the process has been told to read it. It is how a signal is not
// forgotten when we end in between.
const untold = "dnsmasq.untold"

// readRoll returns the roll of a network as it was written, and whether its
// process has been told to read it. A missing file is an empty one.
func (s *Servers) readRoll(dir string) (r roll, told bool, err error) {
	files := s.files(dir)
	for path, text := range map[string]*string{files.Hosts: &r.known, files.Names: &r.names} {
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return roll{}, false, err
		}
		*text = string(b)
	}
	_, err = os.Stat(filepath.Join(dir, untold))
	told = errors.Is(err, os.ErrNotExist)
	if told {
		err = nil
	}
	return r, told, err
}

// writeRoll replaces the roll of a network.
func (s *Servers) writeRoll(dir string, r roll) error {
	files := s.files(dir)
	return errors.Join(writeFile(files.Hosts, r.known, 0o644), writeFile(files.Names, r.names, 0o644))
}

// reread replaces the roll of a process that is alive and has it read it.
func (s *Servers) reread(ctx context.Context, p *proc, r roll) error {
	dir := filepath.Dir(p.conf)
	mark := filepath.Join(dir, untold)
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return err
	}
	if err := s.writeRoll(dir, r); err != nil {
		return err
	}
	s.op(ctx, p.network, "reload", s.files(dir).Hosts)
	if err := p.signal(unix.SIGHUP); err != nil {
		return err
	}
	p.roll = r
	return os.Remove(mark)
}

// enroll makes the hosts of a process that is alive those of next, which has
// the same configuration: it releases the leases that are nobody's any more,
// and tells of the others.
func (s *Servers) enroll(ctx context.Context, p, next *proc) error {
	dir := filepath.Dir(p.conf)
	have, _, err := s.readRoll(dir)
	if err != nil {
		return err
	}
	released, err := s.release(ctx, p, dhcp.ParseHosts(have.known), next.service)
	if err != nil {
		return err
	}
	if !released { // raw.dnsmasq or a firewall is in the way
		return s.replace(ctx, p, next)
	}
	if err := s.reread(ctx, p, next.roll); err != nil {
		return err
	}
	next.pid, next.fd, next.running = p.pid, p.fd, p.running
	return nil
}

// Expect lets the processes that run know the hosts that services have and
// that they do not, and changes nothing else. It comes before the links of
// these hosts, for one that asks before it is known is leased an address as
// anybody is. What cannot be done is left to Apply, which says why.
func (s *Servers) Expect(ctx context.Context, services []*dhcp.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.scanned {
		return
	}
	for _, v := range services {
		p := s.procs[v.Network]
		if p == nil || !p.alive() || p.service == nil || p.service == v || !p.told {
			continue
		}
		if err := s.expect(ctx, p, v); err != nil {
			s.log.LogAttrs(ctx, slog.LevelDebug, "dnsmasq does not know the hosts to come",
				slog.String("network", v.Network), slog.Any("err", err))
		}
	}
}

func (s *Servers) expect(ctx context.Context, p *proc, v *dhcp.Service) error {
	before, after := *p.service, *v
	before.Hosts, after.Hosts = nil, nil
	if !reflect.DeepEqual(before, after) {
		return nil // a new process will know them
	}
	known, names, err := dhcp.AddHosts(*v, p.roll.known, p.roll.names)
	r := roll{known, names}
	if err != nil || r == p.roll {
		return err
	}
	p.told = false // to what its service says
	if err := s.reread(ctx, p, r); err != nil {
		return fmt.Errorf("network %s: dnsmasq: %w", v.Network, err)
	}
	return nil
}
