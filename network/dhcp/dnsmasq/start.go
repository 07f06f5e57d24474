package dnsmasq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"netctl/network/dhcp"
)

// replace starts next, after it has stopped old if that is alive. A
// configuration that dnsmasq refuses does not stop the old one.
func (s *Servers) replace(ctx context.Context, old, next *proc) error {
	s.op(ctx, next.network, "configure", next.conf)
	if err := os.MkdirAll(filepath.Dir(next.conf), 0o711); err != nil {
		return err
	}
	if err := writeFile(next.conf, next.text, 0o600); err != nil {
		return err
	}
	if old.alive() {
		if err := s.exec(ctx, "--test", "--conf-file="+next.conf); err != nil {
			return errors.Join(quote(err, next.text), os.Remove(next.conf))
		}
		if err := s.stop(ctx, old); err != nil {
			return err
		}
	}
	dir := filepath.Dir(next.conf)
	files := s.files(dir)
	had, _, err := s.readRoll(dir)
	if err != nil {
		return err
	}
	released := func(all []dhcp.Lease) []dhcp.Lease {
		return dhcp.Released(all, dhcp.ParseHosts(had.known), next.service.Hosts)
	}
	if err := prepare(files.Leases, next.service.V6.Address.IsValid(), released); err != nil {
		return err
	}
	if err := s.writeRoll(dir, next.roll); err != nil {
		return err
	}
	s.op(ctx, next.network, "start", next.conf)
	if err := s.exec(ctx, "--conf-file="+next.conf); err != nil {
		return quote(err, next.text)
	}
	pid, err := readPID(files.PID)
	if err != nil {
		return err
	}
	if err := next.open(pid); err != nil {
		return err
	}
	if conf, ok := confOf(pid); !ok || conf != next.conf {
		next.close()
		return fmt.Errorf("process %d is not the one that was started", pid)
	}
	s.quieten(ctx, next)
	if err := os.Remove(filepath.Join(dir, untold)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.op(ctx, next.network, "keep", next.conf)
	removeOthers(next.conf)
	return nil
}

var atLine = regexp.MustCompile(`at line ([0-9]+) of `)

// quote adds the line of a configuration that an error of dnsmasq is about. The
// file may be gone when somebody looks for it, and it is raw.dnsmasq that the
// line comes from.
func quote(err error, text string) error {
	m := atLine.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	lines := strings.Split(text, "\n")
	n, tooLong := strconv.Atoi(m[1])
	if tooLong != nil || n < 1 || n > len(lines) {
		return err
	}
	return fmt.Errorf("%w: %q; see raw.dnsmasq", err, lines[n-1])
}

// op tells of an operation that is about to be carried out.
func (s *Servers) op(ctx context.Context, network, verb, what string) {
	s.log.LogAttrs(ctx, slog.LevelDebug, "dhcp op", slog.String("network", network), slog.String("op", "dnsmasq "+verb+" "+what))
}

// quieten keeps a process from following the whole host, if it can.
func (s *Servers) quieten(ctx context.Context, p *proc) {
	if err := p.quieten(); err != nil {
		s.log.LogAttrs(ctx, slog.LevelDebug, "dnsmasq follows every address of the host",
			slog.String("network", p.network), slog.Any("err", err))
	}
}

// exec runs dnsmasq, which returns when it serves.
func (s *Servers) exec(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.path, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if msg := strings.TrimSpace(out.String()); msg != "" {
			return fmt.Errorf("%w: %s", err, strings.TrimPrefix(msg, "dnsmasq: "))
		}
		return err
	}
	return nil
}

// remove stops a process and removes its files, the leases included.
func (s *Servers) remove(ctx context.Context, p *proc) error {
	err := func() error {
		if p.alive() {
			if err := s.stop(ctx, p); err != nil {
				return err
			}
		}
		dir, err := s.home(p.network)
		if err != nil {
			return err
		}
		names, err := filepath.Glob(filepath.Join(dir, "dnsmasq*"))
		if err != nil {
			return err
		}
		s.op(ctx, p.network, "forget", dir)
		for _, name := range names {
			if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		_ = os.Remove(dir) // unless it holds something else
		return nil
	}()
	if err != nil {
		return fmt.Errorf("network %s: dnsmasq: %w", p.network, errors.Join(err, s.put(p)))
	}
	return nil
}
