package daemon

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What somebody keeps changing is told less and less, and a lot in short.
func TestDriftIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := &drift{log: slog.New(slog.NewTextHandler(&out, nil))}
		for range 120 {
			d.report(t.Context(), []string{"ip link set br0 up"})
			time.Sleep(time.Second)
		}
		if n := strings.Count(out.String(), "ip link set br0 up"); n != 7 || !strings.Contains(out.String(), "times=64") {
			t.Errorf("told %d of 120 times", n)
		}
		var many []string
		for i := range 1000 {
			many = append(many, fmt.Sprint("command ", i))
		}
		d.report(t.Context(), many)
		if s := out.String(); !strings.Contains(s, "command 9; and 990 more") || strings.Contains(s, "command 10") {
			t.Error(s)
		}
		d.report(t.Context(), []string{"ip link set br0 up"})
		if n := strings.Count(out.String(), "ip link set br0 up"); n != 8 {
			t.Errorf("told %d times after something else", n)
		}
		time.Sleep(2 * driftMemory)
		d.report(t.Context(), []string{"ip link set br0 up"})
		if n := strings.Count(out.String(), "times=1\n"); n != 4 {
			t.Errorf("told %d times for the first time: %s", n, &out)
		}
	})
}
