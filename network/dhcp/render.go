package dhcp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Files are the paths that a dnsmasq works with, and as whom it runs.
type Files struct {
	Leases  string // the leases that it keeps
	PID     string // where it writes its process id
	Servers string // upstream DNS servers, one "server=ADDRESS" in each line; read at start and on SIGHUP
	Hosts   string // the known hosts, see RenderHosts; read at start and on SIGHUP
	Names   string // their names; read at start and on SIGHUP
	User    string // after it has bound its sockets
	Group   string
}

// Offers reports whether there is anything for a dnsmasq to do.
func (s Service) Offers() bool {
	v4, v6 := s.V4.Address.IsValid(), s.V6.Address.IsValid()
	return v4 && s.V4.DHCP || v6 && s.V6.mode() != modeOff || s.dns() && (v4 || v6)
}

// dns reports whether the clients get DNS.
func (s Service) dns() bool { return s.DNSMode != "none" }

// Render returns the configuration file of the dnsmasq that offers s. Every
// value is checked for being a plain name, so that none can become a
// directive of its own; only Raw is appended as it is.
//
// The configuration needs no inotify instance (dnsmasq takes one to follow
// resolv.conf, and a host has 128 of them) and works while the bridge has no
// carrier. It binds to the addresses of the bridge, so that others may listen
// on other interfaces, and answers only what arrives there: bind-interfaces
// would make an open resolver of a public subnet.
func Render(s Service, f Files) (string, error) {
	c := &conf{}
	c.name("the name of the network", s.Network)
	c.line("interface=" + s.Network)
	c.line("bind-dynamic")
	c.line("except-interface=lo")
	c.line("no-hosts")
	c.line("no-resolv")
	c.path("servers-file", f.Servers)
	if s.dns() {
		c.path("addn-hosts", f.Names)
	}
	c.path("pid-file", f.PID)
	c.path("dhcp-leasefile", f.Leases)
	c.name("user", f.User)
	c.line("user=" + f.User)
	c.name("group", f.Group)
	c.line("group=" + f.Group)
	c.dns(s)
	c.search(s)
	if s.V4.Address.IsValid() && s.V4.DHCP || s.V6.mode() > modeRA {
		c.line("dhcp-authoritative")
		c.line("dhcp-no-override")
		c.line("dhcp-rapid-commit")
		c.line("no-ping")
		c.line("quiet-dhcp")
		c.line("quiet-dhcp6")
		c.path("dhcp-hostsfile", f.Hosts)
		if s.DNSMode == "managed" {
			c.line("dhcp-ignore-names")
		}
		c.line("dhcp-lease-max=%d", s.leases())
	}
	c.v4(s)
	c.v6(s)
	if len(c.errs) > 0 {
		return "", fmt.Errorf("network %q: %w", s.Network, errors.Join(c.errs...))
	}
	if s.Raw != "" {
		c.line("# raw.dnsmasq")
		c.b.WriteString(strings.TrimSuffix(s.Raw, "\n") + "\n")
	}
	return c.b.String(), nil
}

// A conf is a configuration file that grows.
type conf struct {
	b    strings.Builder
	errs []error
}

func (c *conf) line(format string, args ...any) { fmt.Fprintf(&c.b, format+"\n", args...) }

// name checks a value that must be a name.
func (c *conf) name(what, v string) {
	if !plain(v) {
		c.errs = append(c.errs, fmt.Errorf("%s %q must consist of letters, digits, dots, hyphens and underscores", what, v))
	}
}

// path adds a setting that is a path.
func (c *conf) path(key, v string) {
	for _, r := range v {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`"#\,`, r) {
			c.errs = append(c.errs, fmt.Errorf("%s: the path %q has a character that dnsmasq would not read as it is", key, v))
			return
		}
	}
	c.line("%s=%s", key, v)
}

func (c *conf) dns(s Service) {
	if !s.dns() {
		c.line("port=0")
		return
	}
	if s.Domain != "" {
		c.name("dns.domain", s.Domain)
		c.line("domain=" + s.Domain)
		c.line("local=/" + s.Domain + "/")
		c.line("interface-name=_gateway." + s.Domain + "," + s.Network)
	}
}

// search checks the domains that clients are told to search, which a bridge
// without a DNS server may have too: others may serve them.
func (c *conf) search(s Service) {
	for _, d := range s.Search {
		c.name("dns.search", d)
	}
}

func (c *conf) v4(s Service) {
	if !s.V4.Address.IsValid() || !s.V4.DHCP {
		return
	}
	mask := netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), s.V4.Address.Bits()).Masked().Addr()
	for _, r := range s.V4.leasable() {
		c.line("dhcp-range=%s,%s,%s,%s", r.From(), r.To(), mask, seconds(s.V4.Expiry))
	}
	switch {
	case s.V4.NoRouter:
		c.line("dhcp-option=option:router")
	case s.V4.Gateway.IsValid():
		c.line("dhcp-option=option:router,%s", s.V4.Gateway)
	}
	if s.MTU != 0 && s.MTU != 1500 {
		c.line("dhcp-option-force=option:mtu,%d", s.MTU)
	}
	if len(s.Search) > 0 {
		c.line("dhcp-option-force=option:domain-search,%s", strings.Join(s.Search, ","))
	}
}

func (c *conf) v6(s Service) {
	mode := s.V6.mode()
	if mode == modeOff {
		return
	}
	c.line("enable-ra")
	c.line("quiet-ra")
	subnet, lease := s.V6.subnet(), seconds(s.V6.Expiry)
	switch mode {
	case modeRA:
		c.line("dhcp-range=%s,ra-only,%d,%s", subnet.Addr(), subnet.Bits(), lease)
	case modeStateless:
		c.line("dhcp-range=%s,ra-stateless,ra-names,%d,%s", subnet.Addr(), subnet.Bits(), lease)
	case modeStateful:
		for _, r := range s.V6.leasable() {
			c.line("dhcp-range=%s,%s,%d,%s", r.From(), r.To(), subnet.Bits(), lease)
		}
	case modeOff:
	}
	if s.V6.NoRouter {
		c.line("ra-param=%s,0,0", s.Network)
	}
	if len(s.Search) > 0 {
		c.line("dhcp-option=option6:domain-search,%s", strings.Join(s.Search, ","))
	}
}

// seconds is a lease time as dnsmasq reads it.
func seconds(d time.Duration) string {
	if d == 0 {
		return "infinite"
	}
	return fmt.Sprint(int64(d / time.Second))
}

// plain reports whether v is a name that means nothing else to dnsmasq.
func plain(v string) bool {
	for _, c := range []byte(v) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return v != ""
}
