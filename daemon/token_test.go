package daemon

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"netctl/api"
)

func TestTokens(t *testing.T) {
	var tk tokens
	now := time.Now()
	tk.add("a", "secret-a", now.Add(time.Hour), api.CertificatesPost{Name: "alice"})
	tk.add("b", "secret-b", now.Add(time.Minute), api.CertificatesPost{Name: "bob"})
	for _, wrong := range []string{"", "secret", "secret-c", "secret-a "} {
		if id, _, ok := tk.take(wrong, now); ok {
			t.Errorf("%q is taken for the secret of %s", wrong, id)
		}
	}
	id, req, ok := tk.take("secret-a", now)
	if !ok || id != "a" || req.Name != "alice" {
		t.Fatalf("%s %+v %t", id, req, ok)
	}
	if _, _, ok := tk.take("secret-a", now); ok {
		t.Error("a token was taken twice")
	}
	tk.giveBack("a")
	if _, _, ok := tk.take("secret-a", now); !ok {
		t.Error("a token that was given back cannot be taken")
	}
	if _, _, ok := tk.take("secret-b", now.Add(time.Minute)); ok {
		t.Error("a token that has expired was taken")
	}
	tk.drop("b")
	if _, _, ok := tk.take("secret-b", now); ok {
		t.Error("a token that was dropped was taken")
	}
	tk.giveBack("b") // it stays dropped
	if _, _, ok := tk.take("secret-b", now); ok {
		t.Error("a token came back")
	}
}

func TestTokenIsTakenOnce(t *testing.T) {
	var tk tokens
	tk.add("a", "s", time.Now().Add(time.Hour), api.CertificatesPost{})
	var n atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, _, ok := tk.take("s", time.Now()); ok {
				n.Add(1)
			}
		})
	}
	wg.Wait()
	if n.Load() != 1 {
		t.Errorf("taken %d times", n.Load())
	}
}

func TestOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		l := h.add(map[string]bool{api.EventOperation: true})
		o := newOperations(h)
		cancelled := 0
		id := newOperationID()
		op := o.add(api.Operation{ID: id, Class: api.OperationToken, Metadata: map[string]any{"secret": "x", "name": "y"}}, func() { cancelled++ })
		if op.Status != "Running" || op.StatusCode != api.StatusRunning || !op.MayCancel || op.Resources == nil {
			t.Errorf("operation %+v", op)
		}
		o.end(id, api.StatusSuccess, "")
		o.end(id, api.StatusCancelled, "late")
		if now := o.now(o.all[id]); now.Status != "Success" || now.Err != "" || now.MayCancel || cancelled != 0 {
			t.Errorf("after the end: %+v", now)
		}
		synctest.Wait()
		if n := len(l.ch); n != 2 {
			t.Errorf("%d events, want 2", n)
		}
		if e := <-l.ch; string(e.Metadata) == "" || contains(e.Metadata, "secret") || !contains(e.Metadata, `"name":"y"`) {
			t.Errorf("event %s", e.Metadata)
		}
		time.Sleep(endedFor)
		synctest.Wait()
		if len(o.all) != 0 {
			t.Error("what has ended stays")
		}
		o.end(id, api.StatusCancelled, "nobody knows it")
		h.close()
	})
}

// A stranger cannot make the daemon read much.
func TestStrangersAreBrief(t *testing.T) {
	s := newSite(t)
	stranger := s.over(s.key("stranger"))
	if _, err := stranger.CreateCertificate(t.Context(), api.CertificatesPost{TrustToken: strings.Repeat("x", maxStranger)}); code(err) != api.TooLarge {
		t.Errorf("a long token: %v", err)
	}
	admin, _ := s.trusts("admin", false)
	if _, err := admin.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0", Description: strings.Repeat("x", maxStranger)}); err != nil {
		t.Errorf("a long body of somebody known: %v", err)
	}
}
