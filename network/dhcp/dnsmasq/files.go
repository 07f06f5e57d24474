package dnsmasq

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"netctl/network/dhcp"
)

// home returns the directory of a network.
func (s *Servers) home(network string) (string, error) {
	if network == "" || network == "." || network == ".." || strings.ContainsAny(network, "/\x00") {
		return "", fmt.Errorf("network %q: the name is not fit for a file name", network)
	}
	return filepath.Join(s.dir, "networks", network), nil
}

// files returns where the dnsmasq of a network keeps what it has.
func (s *Servers) files(dir string) dhcp.Files {
	return dhcp.Files{
		Leases:  filepath.Join(dir, "dnsmasq.leases"),
		PID:     filepath.Join(dir, "dnsmasq.pid"),
		Servers: filepath.Join(s.dir, "dnsmasq.servers"),
		Hosts:   filepath.Join(dir, "dnsmasq.hosts"),
		Names:   filepath.Join(dir, "dnsmasq.names"),
		User:    s.user,
		Group:   s.group,
	}
}

// confPath returns the path of the configuration of p. It changes with the
// bridge that p binds to, which may be another one of the same name.
func confPath(dir string, p *proc) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%s", p.index, p.text))
	return filepath.Join(dir, "dnsmasq-"+hex.EncodeToString(sum[:8])+".conf")
}

// networkOf returns the network of a configuration of ours.
func (s *Servers) networkOf(conf string) (network string, ok bool) {
	dir, file := filepath.Split(conf)
	parent, network := filepath.Split(strings.TrimSuffix(dir, "/"))
	ok = parent == filepath.Join(s.dir, "networks")+"/" &&
		strings.HasPrefix(file, "dnsmasq-") && strings.HasSuffix(file, ".conf")
	return network, ok
}

// removeOthers removes configurations that conf has replaced. One that stays
// is removed another time.
func removeOthers(conf string) {
	names, err := filepath.Glob(filepath.Join(filepath.Dir(conf), "dnsmasq-*.conf"))
	if err != nil {
		return
	}
	for _, name := range names {
		if name != conf {
			_ = os.Remove(name)
		}
	}
}

// writeFile replaces a file at once.
func writeFile(path, text string, mode os.FileMode) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(text), mode); err != nil {
		return err
	}
	if err := os.Chmod(tmp, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// prepare makes the lease file of one that is about to start fit for it. What
// makes no sense goes, the leases in drop go, and with v6 the server gets an identifier unless
// there is one: left to itself, dnsmasq looks for a hardware address among
// those of all interfaces, which fails when many start at once. It is a
// DUID-UUID (RFC 6355).
func prepare(leases string, v6 bool, drop func([]dhcp.Lease) []dhcp.Lease) error {
	const duidUUID = 4
	b, err := os.ReadFile(leases)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	gone := map[netip.Addr]bool{}
	for _, l := range drop(dhcp.ParseLeases(b)) {
		gone[l.Addr] = true
	}
	text := string(dhcp.CleanLeases(b, func(l dhcp.Lease) bool { return gone[l.Addr] }))
	if v6 && !strings.HasPrefix(text, "duid ") && !strings.Contains(text, "\nduid ") {
		uuid := make([]byte, 16)
		if _, err := rand.Read(uuid); err != nil {
			return err
		}
		uuid[6], uuid[8] = uuid[6]&0x0f|0x40, uuid[8]&0x3f|0x80 // RFC 9562: version 4
		text += fmt.Sprintf("duid 00:%02x", duidUUID)
		for _, o := range uuid {
			text += fmt.Sprintf(":%02x", o)
		}
		text += "\n"
	}
	if text == string(b) {
		return nil
	}
	return writeFile(leases, text, 0o644)
}

// upstreams writes the upstream DNS servers of the host to the file that all
// dnsmasq read, and has them read it, when they have changed. A mark beside the
// file says that it has changed and that they may not know it yet.
func (s *Servers) upstreams(ctx context.Context) error {
	path := s.files("").Servers
	mark := path + ".untold"
	if s.upstream == nil {
		have, err := known(path, mark)
		if err != nil {
			return fmt.Errorf("dnsmasq: %w", err)
		}
		s.upstream = have
	}
	b, err := os.ReadFile(s.ResolvConf)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("dnsmasq: %w", err)
	}
	want := nameservers(string(b))
	if s.upstream != nil && *s.upstream == want {
		return nil
	}
	s.upstream = nil
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return fmt.Errorf("dnsmasq: %w", err)
	}
	if err := writeFile(path, want, 0o644); err != nil {
		return fmt.Errorf("dnsmasq: %w", err)
	}
	if err := s.tell(ctx); err != nil {
		return fmt.Errorf("dnsmasq: %w", err)
	}
	if err := os.Remove(mark); err != nil {
		return fmt.Errorf("dnsmasq: %w", err)
	}
	s.upstream = &want
	return nil
}

// known returns what the file of upstream servers holds, or nil when there may
// be a dnsmasq that knows something else.
func known(path, mark string) (*string, error) {
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	have := string(b)
	return &have, err
}

// tell has every process read the upstream servers again.
func (s *Servers) tell(ctx context.Context) error {
	var alive []*proc
	for _, p := range s.procs {
		if p.alive() {
			alive = append(alive, p)
		}
	}
	if len(alive) == 0 {
		return nil
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "upstream dns servers changed", slog.String("path", s.ResolvConf), slog.String("op", "dnsmasq reload"))
	var errs []error
	for _, p := range alive {
		errs = append(errs, p.signal(unix.SIGHUP))
	}
	return errors.Join(errs...)
}

// nameservers turns a resolv.conf(5) into what dnsmasq reads.
func nameservers(resolv string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(resolv, "\n") {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil && !strings.ContainsAny(a.Zone(), `"#\,@`) {
			fmt.Fprintf(&b, "server=%s\n", a)
		}
	}
	return b.String()
}
