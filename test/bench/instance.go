package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"netctl/api"
	"netctl/client"
)

// manyInstances is the number of running instances at full scale.
const manyInstances = 1000

// routesEach is how many external routes every instance has.
const routesEach = 10

// guests is the network that instances and forwards are on. It names both
// routers.
const guests = "guests"

// A guest is an instance with one NIC.
type guest struct {
	name     string
	addr     netip.Addr
	external []netip.Prefix
}

// namespace is what the names of the namespaces of instances begin with, which
// all of the machine share.
func (s *site) namespace() string { return strings.TrimSuffix(s.host.Full, s.host.Name) + "i" }

// guest is the i-th instance of the site.
func (s *site) guest(i int) guest {
	g := guest{name: s.namespace() + strconv.Itoa(i), addr: inside(i)}
	for n := range routesEach {
		g.external = append(g.external, outside(i*routesEach+n))
	}
	return g
}

// inside is the address that the i-th has in the subnet of guests, 10.200.0.0/16.
func inside(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 200, byte(i>>8) + 1, byte(i)})
}

// outside is the i-th external address, of 198.18.0.0/15.
func outside(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18 + byte(i>>16), byte(i >> 8), byte(i)}), 32)
}

// devices are those of an instance with other external routes.
func (g guest) devices(external []netip.Prefix) map[string]map[string]string {
	routes := make([]string, len(external))
	for i, p := range external {
		routes[i] = p.String()
	}
	return map[string]map[string]string{"eth0": {
		"type": "nic", "network": guests, "ipv4.address": g.addr.String(), "ipv4.routes.external": strings.Join(routes, ","),
	}}
}

// post is the request that makes the instance.
func (g guest) post(start bool) api.InstancesPost {
	return api.InstancesPost{Name: g.name, Devices: g.devices(g.external), Start: start}
}

// house makes the network that instances are on, and has what is left of the
// namespaces of instances removed in the end.
func (s *site) house() {
	s.Helper()
	s.Cleanup(func() {
		left, _ := filepath.Glob("/run/netns/" + s.namespace() + "*")
		for _, path := range left {
			_ = unix.Unmount(path, unix.MNT_DETACH)
			_ = os.Remove(path)
		}
	})
	post := api.NetworksPost{Name: guests, Config: map[string]string{
		"ipv4.address": "10.200.0.1/16", "ipv6.address": "2001:db8:200::1/64",
	}}
	for i, name := range []string{"tor", "other"} {
		post.Config["bgp.peers."+name+".address"], post.Config["bgp.peers."+name+".asn"] = routerAddr[i].String(), fmt.Sprint(routerASN+i*10)
	}
	subnet := netip.MustParsePrefix("10.200.0.0/16")
	at := []<-chan time.Time{s.routes[0].expect(subnet, netip.Addr{}), s.routes[1].expect(subnet, netip.Addr{})}
	s.must(s.client.CreateNetwork(context.Background(), post))
	for _, c := range at {
		receive(s.Lab, "both sessions", c)
	}
}

// A crowd says what it took to start the last instances.
type crowd struct {
	instances  int
	done, last time.Duration // all operations have ended; the last route is at the peer
	before     usage
	after      usage
}

// inhabited returns the site that the parts about instances share, with n of
// them running.
func (b *bench) inhabited(n int) *site {
	if b.site == nil {
		b.site = newSite(b)
		b.site.house()
	}
	s := b.site
	if s.crowd.instances < n {
		s.populate(s.crowd.instances, n)
	}
	return s
}

// populate starts the instances from the given one on up to n.
func (s *site) populate(from, n int) {
	s.Helper()
	var at []<-chan time.Time
	for i := from; i < n; i++ {
		for _, p := range s.guest(i).external {
			at = append(at, s.routes[0].expect(p, netip.Addr{}))
		}
	}
	before := usageOf(s.proc.Cmd.Process.Pid)
	began := time.Now()
	s.together(from, n, func(i int) error {
		return finish(s.client.CreateInstance(context.Background(), s.guest(i).post(true)))
	})
	done := time.Since(began)
	last := began
	for _, c := range at {
		if t := receive(s.Lab, "all routes at the peer", c); t.After(last) {
			last = t
		}
	}
	s.crowd = crowd{n, done, last.Sub(began), before, usageOf(s.proc.Cmd.Process.Pid)}
}

// finish waits until a task has ended.
func finish(t *client.Task, err error) error {
	if err != nil {
		return err
	}
	return t.Wait(context.Background())
}

// begun fails the run unless a task has been begun.
func (s *site) begun(t *client.Task, err error) *client.Task {
	s.Helper()
	if err != nil {
		s.Fatalf("%v", err)
	}
	return t
}

// finished waits until a task has ended, and returns when it had.
func (s *site) finished(t *client.Task) time.Time {
	s.Helper()
	if err := t.Wait(context.Background()); err != nil {
		s.Fatalf("%v", err)
	}
	return time.Now()
}

// rest is how long it is waited after a stop: the kernel goes on with a
// namespace that was deleted, and has everybody wait for that who changes links.
const rest = 100 * time.Millisecond

// A life is what was measured of instances that come and go.
type life struct{ start, started, change, stop, stopped, next times }

// live measures the life of an instance, with none and with many others that
// run.
func (b *bench) live() {
	for _, n := range []int{0, b.count(manyInstances, 10)} {
		s := b.inhabited(n)
		one, two := s.guest(9998), s.guest(9999)
		for _, g := range []guest{one, two} {
			s.finished(s.begun(s.client.CreateInstance(context.Background(), g.post(false))))
		}
		var l life
		for i := range b.count(50, 5) {
			s.liveOnce(&l, one, two, outside(1<<16+i))
		}
		for _, g := range []guest{one, two} {
			s.finished(s.begun(s.client.DeleteInstance(context.Background(), g.name, "", false)))
		}
		at := fmt.Sprintf(", %d running", n)
		b.time("start of an instance → its external routes in the peer's kernel"+at, l.start, 40*time.Millisecond, lxdStart, "")
		b.time("the same, right after the stop of another"+at, l.next, 40*time.Millisecond, 0, "")
		b.time("start → the operation has ended"+at, l.started, 0, 0, "")
		b.time("another external route on a running NIC → the peer's kernel"+at, l.change, 10*time.Millisecond, 0, "")
		b.time("stop → the external routes have left the peer's kernel"+at, l.stop, 10*time.Millisecond, lxdStop, "")
		b.time("stop → the operation has ended"+at, l.stopped, 0, 0, "")
	}
}

// liveOnce starts an instance, exchanges one of its routes for another, and
// stops it; then it starts two, and the one when the other has just been told
// to stop.
func (s *site) liveOnce(l *life, one, two guest, other netip.Prefix) {
	s.Helper()
	time.Sleep(rest)
	took, task, began := s.startGuest(one)
	l.start = append(l.start, took)
	l.started = append(l.started, s.finished(task).Sub(began))
	l.change = append(l.change, s.exchange(one, other))
	l.stopOne(s, one, append(one.external[1:len(one.external):len(one.external)], other))
	s.finished(s.begun(s.client.PatchInstance(context.Background(), one.name, api.InstancePatch{Devices: one.devices(one.external)}, "")))

	time.Sleep(rest)
	_, task, _ = s.startGuest(two)
	s.finished(task)
	leaving := s.begun(s.client.SetInstanceState(context.Background(), two.name, api.InstanceStatePut{Action: "stop"}))
	took, task, _ = s.startGuest(one)
	l.next = append(l.next, took)
	s.finished(leaving)
	s.finished(task)
	l.stopOne(s, one, one.external)
}

// startGuest starts an instance and returns how long it took until all its
// routes were at the peer, since when.
func (s *site) startGuest(g guest) (took time.Duration, t *client.Task, began time.Time) {
	s.Helper()
	var at []<-chan time.Time
	for _, p := range g.external {
		at = append(at, s.routes[0].expect(p, netip.Addr{}))
	}
	began = time.Now()
	t = s.begun(s.client.SetInstanceState(context.Background(), g.name, api.InstanceStatePut{Action: "start"}))
	for _, c := range at {
		took = max(took, receive(s.Lab, g.name+" at the peer", c).Sub(began))
	}
	return took, t, began
}

// stopOne stops an instance that has some external routes.
func (l *life) stopOne(s *site, g guest, external []netip.Prefix) {
	s.Helper()
	var gone []<-chan time.Time
	for _, p := range external {
		gone = append(gone, s.routes[0].expectGone(p))
	}
	began := time.Now()
	t := s.begun(s.client.SetInstanceState(context.Background(), g.name, api.InstanceStatePut{Action: "stop"}))
	var took time.Duration
	for _, c := range gone {
		took = max(took, receive(s.Lab, g.name+" leaves the peer", c).Sub(began))
	}
	l.stop = append(l.stop, took)
	l.stopped = append(l.stopped, s.finished(t).Sub(began))
}

// exchange gives a running instance another route in place of its first, and
// returns how long it took until the peer had the one and not the other.
func (s *site) exchange(g guest, other netip.Prefix) time.Duration {
	s.Helper()
	at, gone := s.routes[0].expect(other, netip.Addr{}), s.routes[0].expectGone(g.external[0])
	external := append(g.external[1:len(g.external):len(g.external)], other)
	began := time.Now()
	t := s.begun(s.client.PatchInstance(context.Background(), g.name, api.InstancePatch{Devices: g.devices(external)}, ""))
	took := max(receive(s.Lab, "the other route", at).Sub(began), receive(s.Lab, "the first route leaves", gone).Sub(began))
	s.finished(t)
	return took
}

// populated tells how long it took to start all instances, and what they cost.
func (b *bench) populated() {
	s := b.inhabited(b.count(manyInstances, 10))
	c := s.crowd
	what := fmt.Sprintf("%d instances with %d external routes each, %d clients", c.instances, routesEach, writers)
	b.time(what+": all operations have ended", times{c.done}, 0, 0, "")
	b.time(what+": the last route in the peer's kernel", times{c.last}, 0, 0, "")
	b.note("CPU of netctld per instance while these start", text((c.after.cpu-c.before.cpu)/time.Duration(c.instances)), "", "")
	b.note(fmt.Sprintf("Memory of netctld before, with %d instances, and at most", c.instances),
		fmt.Sprintf("%s, %s, %s", size(c.before.rss), size(c.after.rss), size(c.after.peak)), "", "")
}

// list measures the reading of instances with their state.
func (b *bench) list() {
	s := b.inhabited(b.count(manyInstances, 10))
	c := s.raw()
	defer c.CloseIdleConnections()
	const all = "/1.0/instances?recursion=2"
	s.get(c, all)
	var list, after times
	for range b.count(50, 5) {
		list = append(list, s.get(c, all))
	}
	for i := range b.count(50, 5) {
		text := fmt.Sprint("read ", i)
		s.finished(s.begun(s.client.PatchInstance(context.Background(), s.guest(i%s.crowd.instances).name, api.InstancePatch{Description: &text}, "")))
		after = append(after, s.get(c, all))
	}
	b.time(fmt.Sprintf("`GET /1.0/instances?recursion=2`, %d instances", s.crowd.instances), list, 100*time.Millisecond, 0, "")
	b.time(fmt.Sprintf("the same, each right after a write, %d instances", s.crowd.instances), after, 100*time.Millisecond, 0, "")
}

// resume measures a restart of the daemon with all instances running.
func (b *bench) resume() {
	s := b.inhabited(b.count(manyInstances, 10))
	s.addressed()
	b.restarts(s, fmt.Sprintf("%d instances, %d routes", s.crowd.instances, s.crowd.instances*routesEach), 0, "")
}
