package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// cycles creates networks and deletes them again, each write waited for until
// the host has followed it, and tells what that leaves in the daemon.
func (b *bench) cycles() {
	s := newSite(b)
	s.create(0, 1)
	s.churn(4 * writers) // what the daemon needs once
	before := s.holds()
	n := b.count(1000, writers)
	began := time.Now()
	made, gone := s.churn(n)
	took := time.Since(began)
	after := s.holds()
	b.time(fmt.Sprintf("`POST` network → the host has followed, %d clients", writers), made, 0, 0, "")
	b.time(fmt.Sprintf("`DELETE` network → the host has followed, %d clients", writers), gone, 0, 0, "")
	b.note(fmt.Sprintf("Networks that come and go per second, %d of them, %d clients", n, writers), fmt.Sprintf("%.1f", float64(n)/took.Seconds()), "", "")
	b.note("Goroutines / open files / memory of netctld before", before.String(), "", "")
	b.note("the same after", after.String(), "as before", "")
}

// churn creates and deletes n networks with several clients, and returns what
// each took.
func (s *site) churn(n int) (made, gone times) {
	s.Helper()
	made, gone = make(times, n), make(times, n)
	var names atomic.Int64
	s.together(0, n, func(i int) error {
		n := standing(30000 + int(names.Add(1))*2) // with DHCP
		began := time.Now()
		rev, err := s.client.CreateNetwork(context.Background(), n.post())
		if err == nil {
			err = s.client.WaitApplied(context.Background(), rev, patience)
		}
		if err != nil {
			return err
		}
		made[i] = time.Since(began)
		began = time.Now()
		rev, err = s.client.DeleteNetwork(context.Background(), n.name, "")
		if err == nil {
			err = s.client.WaitApplied(context.Background(), rev, patience)
		}
		gone[i] = time.Since(began)
		return err
	})
	return made, gone
}

// A holding is what the daemon holds of the machine.
type holding struct {
	goroutines, files int
	memory            int64
}

func (h holding) String() string {
	return fmt.Sprintf("%d / %d / %s", h.goroutines, h.files, size(h.memory))
}

func (s *site) holds() holding {
	s.Helper()
	pid := s.proc.Cmd.Process.Pid
	h := holding{memory: usageOf(pid).rss}
	metrics, err := s.client.Metrics(context.Background())
	if err != nil {
		s.Fatalf("%v", err)
	}
	for line := range strings.Lines(metrics) {
		_, _ = fmt.Sscanf(line, "go_goroutines %d", &h.goroutines)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		s.Fatalf("%v", err)
	}
	h.files = len(files)
	return h
}
