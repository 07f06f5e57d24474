package sqlite

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"netctl/db"
)

// BenchmarkUpdate measures acknowledged writes by eight clients to a store of
// 10,000 objects, on the disk that TMPDIR is on.
func BenchmarkUpdate(b *testing.B) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "bench.db"), nil, discard)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for i := range 100 {
		if _, err := s.Update(b.Context(), func(tx *db.Tx) error {
			for j := range 100 {
				if err := tx.Put(fmt.Sprintf("/network/n%d", 100*i+j), 1, "some value of the usual length of a configuration"); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	var n atomic.Int64
	b.SetParallelism(2)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			if _, err := s.Update(b.Context(), func(tx *db.Tx) error { return tx.Put(fmt.Sprintf("/network/n%d", i%10_000), 1, i) }); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}
