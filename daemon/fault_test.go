package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestFaultSpec(t *testing.T) {
	for spec, ok := range map[string]bool{
		"": true, "1": true, "ready+3": true, "0": false, "-1": false, "ready": false, "ready+": false, "x": false,
	} {
		_, err := withFault(discard(), func(string) string { return spec })
		if (err == nil) != ok {
			t.Errorf("%q: %v", spec, err)
		}
	}
}

// Without a fault nothing changes, and with one that is far away the log is as
// it would be.
func TestFaultLogs(t *testing.T) {
	for _, spec := range []string{"", "1000"} {
		var out bytes.Buffer
		log, err := withFault(slog.New(slog.NewTextHandler(&out, nil)), func(string) string { return spec })
		if err != nil {
			t.Fatal(err)
		}
		log.With("target", "x").WithGroup("g").Info("hello", "op", "dig")
		log.Debug("unheard", "op", "dig")
		if got := out.String(); !strings.Contains(got, "hello target=x g.op=dig") || strings.Contains(got, "unheard") {
			t.Errorf("with %q: %s", spec, got)
		}
	}
}
