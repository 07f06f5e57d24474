package gobgp

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"testing"
)

// TestNoSuchFamily has a host without IPv6: "all addresses" are those of IPv4
// there, which is no trouble. An address that somebody has asked for is.
func TestNoSuchFamily(t *testing.T) {
	none := fmt.Errorf("listen: %w", os.NewSyscallError("socket", syscall.EAFNOSUPPORT))
	for _, tt := range []struct {
		at   string
		err  error
		want bool
	}{
		{"[::]:179", none, true},
		{"[2001:db8::1]:179", none, false},
		{"0.0.0.0:179", none, false},
		{"[::]:179", syscall.EADDRINUSE, false},
	} {
		if got := noSuchFamily(netip.MustParseAddrPort(tt.at), tt.err); got != tt.want {
			t.Errorf("%s, %v: %t", tt.at, tt.err, got)
		}
	}
}
