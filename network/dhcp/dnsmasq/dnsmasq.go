// Package dnsmasq runs one dnsmasq for each bridge that offers DHCP, DNS or
// router advertisements.
//
// A dnsmasq puts itself into the background and outlives us. The path of its
// configuration file, which is its only argument, says that it is ours (it
// lies in our directory), which network it serves, and by a digest in its
// name with which configuration it runs: the processes themselves are the
// record of what is done, and one that is as it should be is taken over, not
// restarted.
package dnsmasq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"netctl/network/dhcp"
)

// Servers are the dnsmasq processes of one directory.
type Servers struct {
	// ResolvConf names the upstream DNS servers, as resolv.conf(5);
	// /etc/resolv.conf unless it is set before the first Apply and Watch.
	ResolvConf string

	// Index returns the index of an interface, which a new one of the same
	// name does not have. It asks the kernel unless it is set before the first
	// Apply.
	Index func(name string) (uint32, error)

	log         *slog.Logger
	dir         string // absolute
	path        string // of dnsmasq(8)
	user, group string
	uids        []string // whose processes may be ours
	deaths      *deaths
	socket      int // for questions about interfaces
	wake        chan struct{}

	mu       sync.Mutex // guards what follows
	scanned  bool
	procs    map[string]*proc // by network
	upstream *string          // what the servers file holds; nil when unknown
}

// New returns the Servers whose files are below dir. Their directories can
// be entered by everybody, because dnsmasq reads its upstream servers again
// after it has dropped its privileges; so must dir be.
func New(dir string, log *slog.Logger) (*Servers, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("dnsmasq: %w", err)
	}
	path, err := exec.LookPath("dnsmasq")
	if err != nil {
		return nil, fmt.Errorf("dnsmasq: %w", err)
	}
	s := &Servers{
		ResolvConf: "/etc/resolv.conf",
		log:        log, dir: dir, path: path, uids: owners(), wake: make(chan struct{}, 1), procs: map[string]*proc{},
	}
	if s.user, s.group, err = unprivileged(); err != nil {
		return nil, fmt.Errorf("dnsmasq: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "networks"), 0o711); err != nil {
		return nil, fmt.Errorf("dnsmasq: %w", err)
	}
	if s.deaths, err = newDeaths(); err != nil {
		return nil, fmt.Errorf("dnsmasq: %w", err)
	}
	s.Index = s.ask
	if s.socket, err = newSocket(); err != nil {
		s.deaths.close()
		return nil, fmt.Errorf("dnsmasq: %w", err)
	}
	return s, nil
}

// users are those that dnsmasq becomes, in the order of preference.
var users = []string{"dnsmasq", "nobody"}

// owners returns the user ids that a dnsmasq of ours can have: root until it
// serves, and then one of users.
func owners() []string {
	ids := []string{"0"}
	for _, name := range users {
		if u, err := user.Lookup(name); err == nil {
			ids = append(ids, u.Uid)
		}
	}
	return ids
}

// unprivileged returns the user that dnsmasq becomes, and that user's group.
func unprivileged() (name, group string, err error) {
	for _, name = range users {
		var u *user.User
		if u, err = user.Lookup(name); err != nil {
			continue
		}
		g, err := user.LookupGroupId(u.Gid)
		if err != nil {
			return "", "", err
		}
		return u.Username, g.Name, nil
	}
	return "", "", err
}

// Close lets go of the processes, which stay. No method may be called any
// more.
func (s *Servers) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.procs {
		p.close()
	}
	s.deaths.close()
	return closeSocket(s.socket)
}

// Changed receives a value when a dnsmasq has died, and when the upstream DNS
// servers of the host may have changed. Watch must run for that.
func (s *Servers) Changed() <-chan struct{} { return s.wake }

// Resync makes the next Apply look for processes again.
func (s *Servers) Resync() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scanned, s.upstream = false, nil
}

// Apply makes the processes what services say, and does nothing when they are
// already: it starts what is missing, takes over what runs as it should,
// replaces what runs otherwise and stops what should not run, several at a
// time. One that cannot be started does not keep the others from it; the
// errors are joined and each names its network. The bridges must be there.
func (s *Servers) Apply(ctx context.Context, services []*dhcp.Service) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reap(ctx)
	if !s.scanned {
		if err := s.scan(ctx); err != nil {
			return err
		}
	}
	errs := []error{s.upstreams(ctx)}
	var jobs []func() error
	gone := maps.Clone(s.procs)
	for _, v := range services {
		if !v.Offers() {
			continue
		}
		delete(gone, v.Network)
		job, err := s.plan(ctx, v)
		if err != nil {
			errs = append(errs, err)
		} else if job != nil {
			jobs = append(jobs, job)
		}
	}
	for _, p := range gone {
		s.take(p)
		jobs = append(jobs, func() error { return s.remove(ctx, p) })
	}
	return errors.Join(append(errs, s.together(jobs))...)
}

// together runs jobs, several at a time. A job works on a process that has
// been taken from s.procs, and puts there what has become of it.
func (s *Servers) together(jobs []func() error) error {
	var g errgroup.Group
	g.SetLimit(4 * runtime.GOMAXPROCS(0))
	errs := make([]error, len(jobs))
	s.mu.Unlock()
	for i, job := range jobs {
		g.Go(func() error { errs[i] = job(); return nil })
	}
	_ = g.Wait()
	s.mu.Lock()
	err := errors.Join(errs...)
	if err != nil {
		s.scanned = false // a start that failed may have started something
	}
	return err
}

// take takes a process, or the traces of one, out of the reach of all but a
// job.
func (s *Servers) take(p *proc) {
	if p.alive() {
		s.deaths.remove(p.fd)
	}
	delete(s.procs, p.network)
}

// put is the end of take. What is left of a process that is not alive is
// remembered, because its files are to be removed one day.
func (s *Servers) put(p *proc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.procs[p.network] = p
	if !p.alive() {
		return nil
	}
	return s.deaths.add(p.fd)
}

// plan returns what to do for v; nothing when its dnsmasq is as it should be.
func (s *Servers) plan(ctx context.Context, v *dhcp.Service) (func() error, error) {
	index, err := s.Index(v.Network)
	if err != nil {
		return nil, fmt.Errorf("network %s: dnsmasq: %w", v.Network, err)
	}
	p := s.procs[v.Network]
	if p == nil {
		p = &proc{network: v.Network}
	}
	if p.alive() && p.index == index && p.told && (p.service == v || reflect.DeepEqual(p.service, v)) {
		p.service = v
		return nil, nil
	}
	next, err := s.next(v, index)
	if err != nil {
		return nil, err
	}
	change := s.replace
	if p.alive() && p.conf == next.conf {
		if p.text == "" {
			s.log.LogAttrs(ctx, slog.LevelDebug, "dnsmasq adopted", slog.String("network", v.Network), slog.Int("pid", p.pid))
			s.quieten(ctx, p)
		}
		r, told, err := s.readRoll(filepath.Dir(p.conf))
		if err != nil {
			return nil, fmt.Errorf("network %s: dnsmasq: %w", v.Network, err)
		}
		if told && r == next.roll {
			p.service, p.index, p.text, p.roll, p.told = v, index, next.text, r, true
			return nil, nil
		}
		change = s.enroll
	}
	s.take(p)
	return func() error {
		err := change(ctx, p, next)
		if err != nil {
			p.told = false
			next = p
		}
		if err = errors.Join(err, s.put(next)); err != nil {
			return fmt.Errorf("network %s: dnsmasq: %w", v.Network, err)
		}
		return nil
	}, nil
}

// next returns the process that v should have, which has not been started.
func (s *Servers) next(v *dhcp.Service, index uint32) (*proc, error) {
	dir, err := s.home(v.Network)
	if err != nil {
		return nil, err
	}
	p := &proc{network: v.Network, service: v, index: index, told: true}
	if p.text, err = dhcp.Render(*v, s.files(dir)); err != nil {
		return nil, err
	}
	if p.roll.known, p.roll.names, err = dhcp.RenderHosts(*v); err != nil {
		return nil, err
	}
	p.conf = confPath(dir, p)
	return p, nil
}

// reap takes in which processes have died.
func (s *Servers) reap(ctx context.Context) (found bool) {
	for _, fd := range s.deaths.poll() {
		for _, p := range s.procs {
			if p.alive() && p.fd == fd {
				s.log.LogAttrs(ctx, slog.LevelWarn, "dnsmasq died", slog.String("network", p.network), slog.Int("pid", p.pid))
				s.deaths.remove(fd)
				p.close()
				// What has ended may have been the one that put the
				// real one into the background.
				s.scanned, found = false, true
			}
		}
	}
	return found
}

// Watch takes in which processes die, and when the upstream DNS servers of the
// host change, until ctx is done. It returns nil then.
func (s *Servers) Watch(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.followResolvConf(ctx) })
	g.Go(func() error {
		return s.deaths.wait(ctx, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.reap(ctx) {
				s.poke()
			}
		})
	})
	return g.Wait()
}

// Leases returns the leases of a network that have not expired, sorted by
// address. A network without a lease file has none.
func (s *Servers) Leases(network string) ([]dhcp.Lease, error) {
	dir, err := s.home(network)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(s.files(dir).Leases)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("network %s: leases: %w", network, err)
	}
	now := time.Now()
	leases := slices.DeleteFunc(dhcp.ParseLeases(b), func(l dhcp.Lease) bool {
		return !l.Expires.IsZero() && l.Expires.Before(now)
	})
	slices.SortFunc(leases, func(a, b dhcp.Lease) int { return a.Addr.Compare(b.Addr) })
	return leases, nil
}
