package config

import "testing"

// Every write decodes every network once for every member.
func BenchmarkDecode(b *testing.B) {
	m := readConfig(b, "testdata/bridge-external.good.yml")
	for b.Loop() {
		if _, err := BridgeSchema.Decode(m); err != nil {
			b.Fatal(err)
		}
	}
}
