package dnsmasq

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLeases leaves out what has expired, and what cannot be read.
func TestLeases(t *testing.T) {
	s := &Servers{dir: t.TempDir()}
	dir := filepath.Join(s.dir, "networks", "br0")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	text := fmt.Sprintf("%d 02:00:00:00:00:03 10.1.0.9 late *\n%d 02:00:00:00:00:01 10.1.0.8 gone *\n0 02:00:00:00:00:02 10.1.0.7 ever *\nnonsense\n", now+3600, now-3600)
	if err := os.WriteFile(filepath.Join(dir, "dnsmasq.leases"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	leases, err := s.Leases("br0")
	if err != nil || len(leases) != 2 || leases[0].Hostname != "ever" || leases[1].Hostname != "late" {
		t.Errorf("%+v, %v", leases, err)
	}
	if leases, err := s.Leases("br1"); err != nil || len(leases) > 0 {
		t.Errorf("of a network without any: %+v, %v", leases, err)
	}
	if _, err := s.Leases("../br0"); err == nil {
		t.Error("a name is a path")
	}
}
