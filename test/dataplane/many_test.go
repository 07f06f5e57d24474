package dataplane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"netctl/network/link"
)

// Many is how many NICs start one after the other, each in a namespace of its
// own and with routes.
type Many struct {
	Prefix string // of their namespaces
	N      int
	Routes int
}

// state is what is wanted when the first n have started. What was wanted
// before is shared.
func (m Many) state(before link.State, n int) link.State {
	name := fmt.Sprintf("%s%04d", m.Prefix, n)
	s := before
	s.Namespaces = append(slices.Clone(s.Namespaces), &link.Namespace{Name: name, Owner: name})
	l := veth(fmt.Sprintf("v%04d", n), link.Netns{Name: name})
	s.Links = append(slices.Clone(s.Links), l)
	s.Routes = slices.Clone(s.Routes)
	for i := range m.Routes {
		r := &link.Route{
			Prefix: prefix(fmt.Sprintf("100.%d.%d.%d/32", 64+n/256, n%256, i)), Owners: []string{l.Owner},
			Hops: []link.Hop{{Dev: "br0", Via: addr(fmt.Sprintf("10.77.%d.%d", 1+n/250, 1+n%250))}},
		}
		s.Routes = append(s.Routes, r)
	}
	return s
}

// manyBridge is the bridge of many NICs.
func manyBridge() link.State {
	return world(bridge{name: "br0", v4: "10.77.0.1/16"}).Link
}

// Start starts the NICs of m one after the other, and returns how long each
// took.
func (a *Agent) Start(m Many, took *[]time.Duration) error {
	ctx := context.Background()
	s := manyBridge()
	if err := a.links.Apply(ctx, s); err != nil {
		return err
	}
	for n := range m.N {
		s = m.state(s, n)
		start := time.Now()
		if err := a.links.Apply(ctx, s); err != nil {
			return err
		}
		*took = append(*took, time.Since(start))
	}
	return nil
}

// Adopt applies what Start has led to, and returns how long that took, and
// what it did.
func (a *Agent) Adopt(m Many, took *time.Duration) error {
	s := manyBridge()
	for n := range m.N {
		s = m.state(s, n)
	}
	var did []string
	start := time.Now()
	have, err := a.links.Load(context.Background(), s)
	if err != nil {
		return err
	}
	for _, op := range link.Diff(have, s) {
		did = append(did, op.String())
	}
	*took = time.Since(start)
	if len(did) > 0 {
		return errors.New(strings.Join(did, "\n"))
	}
	return a.links.Apply(context.Background(), s)
}

// Stop stops all NICs at once, and returns how long that took.
func (a *Agent) Stop(_ Many, took *time.Duration) error {
	start := time.Now()
	err := a.links.Apply(context.Background(), manyBridge())
	*took = time.Since(start)
	return err
}

// TestManyNICs holds that the start of a NIC costs the same however many there
// are, and that a restart finds them all without changing any.
func TestManyNICs(t *testing.T) {
	h := newNICHost(t)
	m := Many{Prefix: h.space("n"), N: 1000, Routes: 10}
	t.Cleanup(func() {
		_, _ = h.Try("sh", "-c", "for n in /run/netns/"+m.Prefix+"*; do ip netns del $(basename $n); done")
	})
	var took []time.Duration
	h.call("Start", m, &took)
	first, last := median(took[:100]), median(took[len(took)-100:])
	h.restart()
	var adopted, stopped time.Duration
	h.call("Adopt", m, &adopted)
	t.Logf("the first take %v, the last %v, all are found again in %v", first, last, adopted)
	if last > adopted/2 && last > 5*first {
		t.Errorf("the first NICs take %v to start, the last %v, while it takes %v to look at all", first, last, adopted)
	}
	h.call("Stop", m, &stopped)
	t.Logf("stopped in %v", stopped)
}

func median(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}
