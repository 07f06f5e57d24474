package gobgp

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

// TestVouch has a session without a hold time, on which the peer sends no
// keepalives: the relay sends them to GoBGP, which has one, until it ends.
func TestVouch(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		timeless, heard, spoke bool
		want                   int // in ten seconds
	}{
		{"a session without a hold time", true, true, true, 10},
		{"one with a hold time", false, true, true, 0},
		{"one that is not up", true, true, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &relay{}
				r.timeless.Store(tt.timeless)
				r.heard.Store(tt.heard)
				r.spoke.Store(tt.spoke)
				var inside bytes.Buffer
				ended := make(chan struct{})
				done := make(chan struct{})
				go func() {
					defer close(done)
					r.vouch(&inside, ended)
				}()
				time.Sleep(10*time.Second + time.Millisecond)
				close(ended)
				<-done
				if !bytes.Equal(inside.Bytes(), bytes.Repeat(keepalive, tt.want)) {
					t.Errorf("GoBGP was sent %x, want %d keepalives", inside.Bytes(), tt.want)
				}
			})
		})
	}
}
