package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"time"

	"netctl/api"
)

// manyForwards is the number of forwards at full scale.
const manyForwards = 10_000

// forwards adds forwards one by one over one connection, each when the peer
// has heard of the one before.
func (b *bench) forwards() {
	s := newSite(b)
	s.house()
	before := s.told()
	n := b.count(manyForwards, 20)
	var answer, peer times
	began := time.Now()
	rev := int64(0)
	for i := range n {
		listen := outside(i)
		at := s.routes[0].expect(listen, netip.Addr{})
		asked := time.Now()
		var err error
		rev, err = s.client.CreateNetworkForward(context.Background(), guests, api.NetworkForwardsPost{
			ListenAddress: listen.Addr().String(),
			Ports:         []api.NetworkForwardPort{{Protocol: "tcp", ListenPort: "443", TargetAddress: inside(i).String()}},
		})
		if err != nil {
			s.Fatalf("%v", err)
		}
		answer = append(answer, time.Since(asked))
		peer = append(peer, receive(s.Lab, listen.String()+" at the peer", at).Sub(asked))
	}
	s.must(rev, nil)
	took := time.Since(began)
	after := s.told()
	u := usageOf(s.proc.Cmd.Process.Pid)
	all := fmt.Sprintf(" (%d forwards one by one)", n)
	b.time("`POST` forward → answer"+all, answer, 5*time.Millisecond, lxdForward, "(1,000)")
	b.time("`POST` forward → the peer's kernel"+all, peer, 5*time.Millisecond, 0, "")
	b.time(fmt.Sprintf("%d forwards: all applied", n), times{took}, 0, 0, "")
	part := min(100, n/2)
	b.note(fmt.Sprintf("the last %d / the first %d: answer, peer's kernel", part, part),
		fmt.Sprintf("%s, %s", ratio(answer[n-part:].at(50), answer[:part].at(50)), ratio(peer[n-part:].at(50), peer[:part].at(50))), "≤ 2", "")
	b.note(fmt.Sprintf("Announcements / withdrawals that the peer received for %d forwards", n),
		fmt.Sprintf("%d / %d", after.updates-before.updates, after.withdrawals-before.withdrawals), fmt.Sprintf("%d / 0", n), lxdForwardUpdates)
	b.note(fmt.Sprintf("Memory of netctld with %d forwards (and at most)", n), fmt.Sprintf("%s (%s)", size(u.rss), size(u.peak)), "", "")
}

// A hearing is how often a router was told of a prefix, and of the end of one.
type hearing struct{ updates, withdrawals int }

// told asks the first router what it has received.
func (s *site) told() hearing {
	s.Helper()
	out, err := s.router[0].BIRDC("show", "protocols", "all", "p0")
	if err != nil {
		s.Fatalf("%v", err)
	}
	h, err := parseHearing(out)
	if err != nil {
		s.Fatalf("%v:\n%s", err, out)
	}
	return h
}

var imported = regexp.MustCompile(`(?m)^ *Import (updates|withdraws): +(\d+) `)

// parseHearing reads what BIRD has received on a session, in all channels. It
// counts what it goes on to ignore too.
func parseHearing(out string) (h hearing, err error) {
	lines := imported.FindAllStringSubmatch(out, -1)
	if len(lines) == 0 {
		return h, errors.New("bird tells nothing of imports")
	}
	for _, m := range lines {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return h, err
		}
		if m[1] == "updates" {
			h.updates += n
		} else {
			h.withdrawals += n
		}
	}
	return h, nil
}
