package netlink

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"netctl/network/link"
)

const (
	procSys  = "/proc/sys"
	conf6    = "net/ipv6/conf"
	forward6 = conf6 + "/all/forwarding"
)

// hostSettings returns the values of the settings of the host that are wanted.
func (h *Host) hostSettings(want []link.Sysctl) ([]link.Sysctl, error) {
	have, err := h.settings(want)
	errs := []error{err}
	for i, w := range want {
		if w.Key == forward6 && w.Value == "1" && have[i].Value != "1" {
			ras, err := acceptRA()
			errs = append(errs, err)
			have = append(have, ras...)
		}
	}
	slices.SortFunc(have, func(a, b link.Sysctl) int { return strings.Compare(a.Key, b.Key) })
	return slices.CompactFunc(have, func(a, b link.Sysctl) bool { return a.Key == b.Key }), errors.Join(errs...)
}

// settings returns the values that settings have which are wanted, in the same
// order.
func (h *Host) settings(want []link.Sysctl) ([]link.Sysctl, error) {
	var errs []error
	have := make([]link.Sysctl, len(want))
	for i, w := range want {
		v, err := h.sysctl(w.Key)
		have[i] = link.Sysctl{Key: w.Key, Value: v}
		errs = append(errs, err)
	}
	return have, errors.Join(errs...)
}

// sysctl returns the value of a setting; nothing when the kernel has no such
// setting. Where there is no IPv6 it is as good as disabled.
func (h *Host) sysctl(key string) (string, error) {
	dev := device(key)
	if v, ok := h.sysctls[dev][key]; ok {
		return v, nil
	}
	v, err := readSysctl(key)
	if err != nil {
		return "", err
	}
	if v == "" && strings.HasPrefix(key, conf6) && strings.HasSuffix(key, "/disable_ipv6") {
		return "1", nil
	}
	if h.sysctls[dev] == nil {
		h.sysctls[dev] = map[string]string{}
	}
	h.sysctls[dev][key] = v
	return v, nil
}

// device returns the interface that a setting is about; nothing for one of
// the whole host.
func device(key string) string {
	parts := strings.Split(key, "/") // net/ipvN/conf/DEV/KEY
	if len(parts) != 5 || parts[2] != "conf" && parts[2] != "neigh" || parts[3] == "all" || parts[3] == "default" {
		return ""
	}
	return parts[3]
}

// checkSettings looks whether others have changed settings that have been
// read, and reports whether that is so. The kernel tells of few such changes,
// but it has all settings of all links in one listing.
func (h *Host) checkSettings() (changed bool, err error) {
	if len(h.sysctls) == 0 {
		return false, nil
	}
	for key, old := range h.sysctls[""] {
		now, err := readSysctl(key)
		if err != nil {
			return false, err
		}
		if now != old {
			delete(h.sysctls[""], key)
			changed = true
		}
	}
	now, err := h.read.settings()
	if err != nil {
		return false, fmt.Errorf("read settings: %w", err)
	}
	for index, e := range h.links {
		if conf, ok := now[index]; ok && e.ours() && e.conf != conf {
			h.mark(index)
		}
	}
	return changed, nil
}

// readSysctl reads a setting without the ado of package os: there are
// thousands.
func readSysctl(key string) (string, error) {
	fd, err := unix.Open(sysctlPath(key), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("sysctl %s: %w", key, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var b [256]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return "", fmt.Errorf("sysctl %s: %w", key, err)
	}
	return strings.TrimSpace(string(b[:n])), nil
}

func writeSysctl(key, value string) error {
	return os.WriteFile(sysctlPath(key), []byte(value), 0)
}

// sysctlPath cannot leave /proc/sys, whatever key is.
func sysctlPath(key string) string { return filepath.Join(procSys, filepath.Clean("/"+key)) }

// acceptRA returns the settings accept_ra of all interfaces, and of those to
// come.
func acceptRA() ([]link.Sysctl, error) {
	devs, err := os.ReadDir(filepath.Join(procSys, conf6))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sysctl: %w", err)
	}
	var all []link.Sysctl
	for _, d := range devs {
		key := conf6 + "/" + d.Name() + "/accept_ra"
		v, err := readSysctl(key)
		if err != nil {
			return nil, err
		}
		all = append(all, link.Sysctl{Key: key, Value: v})
	}
	return all, nil
}
