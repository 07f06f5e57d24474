package fault

import (
	"testing"

	"netctl/client"
)

// BenchmarkCycles creates and deletes 1,000 networks, each of which is waited
// for, and fails when the daemon has grown.
func BenchmarkCycles(b *testing.B) {
	s := newSite(b)
	c := client.Unix(s.Daemon.Socket())
	defer c.Close()
	s.churn(b, true, func(done int) bool { return done < 32 })
	before := s.usage(b, c)
	for b.Loop() {
		s.churn(b, true, func(done int) bool { return done < 1_000 })
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/1_000, "ms/cycle")
	s.grown(b, c, before)
}
