package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"netctl/api"
)

// LXD, as it was measured on the same kind of machine; see
// doc/reference/performance.md.
const (
	lxdCreate  = 545 * time.Millisecond
	lxdChange  = 690 * time.Millisecond
	lxdRead    = 9 * time.Second
	lxdRestart = 79 * time.Second
	lxdStart   = 180 * time.Millisecond
	lxdStop    = 74 * time.Millisecond
	lxdForward = 252 * time.Millisecond
	// Every forward withdraws all others and announces them again.
	lxdForwardUpdates = "1,000,000 (1,000)"
)

// manyNetworks is the number of standing networks at full scale.
const manyNetworks = 1000

// contains returns an error unless each text contains the word after it.
func contains(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(pairs[i], pairs[i+1]) {
			return fmt.Errorf("no %s yet", pairs[i+1])
		}
	}
	return nil
}

// create measures the creation of a network, from the moment before the
// request is sent.
func (b *bench) create() {
	for _, n := range []int{1, b.count(manyNetworks, 10)} {
		s := b.at(n)
		var answer, peer, dns times
		for i := range b.count(50, 5) {
			a, p, d := s.createOne(20000 + i)
			answer, peer, dns = append(answer, a), append(peer, p), append(dns, d)
		}
		at := fmt.Sprintf(", %d standing", n)
		b.time("`POST` network → answer"+at, answer, 0, 0, "")
		b.time("`POST` network → both prefixes in the peer's kernel"+at, peer, 40*time.Millisecond, lxdCreate, "(1)")
		b.time("`POST` network → dnsmasq answers"+at, dns, 40*time.Millisecond, 0, "")
	}
}

// createOne creates a network, and deletes it again.
func (s *site) createOne(i int) (answer, peer, dns time.Duration) {
	n := standing(i)
	n.dhcp = true
	serves := s.serves(n.v4.Addr())
	v4 := s.routes[0].expect(n.prefixes[0], netip.Addr{})
	v6 := s.routes[0].expect(n.prefixes[1], netip.Addr{})
	began := time.Now()
	rev, err := s.client.CreateNetwork(context.Background(), n.post())
	answer = time.Since(began)
	if err != nil {
		s.Fatalf("%v", err)
	}
	for _, at := range []<-chan time.Time{v4, v6} {
		peer = max(peer, receive(s.Lab, n.name+" at the peer", at).Sub(began))
	}
	dns = receive(s.Lab, n.name+": dnsmasq", serves).Sub(began)
	s.must(rev, nil)
	gone := s.routes[0].expectGone(n.prefixes[0])
	s.must(s.client.DeleteNetwork(context.Background(), n.name, ""))
	receive(s.Lab, n.name+" leaves the peer", gone)
	return answer, peer, dns
}

// serves returns a channel that tells when something on the host answers DNS
// queries to an address. It asks once in a millisecond.
func (s *site) serves(a netip.Addr) <-chan time.Time {
	at := make(chan time.Time, 1)
	started := make(chan error, 1)
	go func() {
		// The thread is not given back: it is in another namespace.
		runtime.LockOSThread()
		h, err := netns.GetFromName(s.host.Full)
		if err == nil {
			defer h.Close()
			err = netns.Set(h)
		}
		started <- err
		if err != nil {
			return
		}
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if asked(a) == nil {
				at <- time.Now()
				return
			}
		}
	}()
	if err := <-started; err != nil {
		s.Fatalf("enter %s: %v", s.host.Name, err)
	}
	return at
}

// asked sends one DNS query from the namespace of the thread and waits for an
// answer, whatever it is.
func asked(a netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 53, Addr: a.As4()}); err != nil {
		return err
	}
	query := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04host\x03lan\x00\x00\x01\x00\x01"
	if _, err := unix.Write(fd, []byte(query)); err != nil {
		return err
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 100); err != nil || n == 0 {
		return errors.Join(err, errors.New("no answer"))
	}
	_, err = unix.Read(fd, make([]byte, 512))
	return err
}

// change measures changes of a standing network that only peers notice.
func (b *bench) change() {
	for _, n := range []int{1, b.count(manyNetworks, 10)} {
		s := b.at(n)
		s.other()
		w := s.witness()
		var hop, peer times
		for i := range b.count(100, 5) {
			hop = append(hop, s.changeHop(standing(0), byte(50+i%100)))
			peer = append(peer, s.addPeer(standing(0)))
		}
		t := w.end()
		at := fmt.Sprintf(", %d standing", n)
		b.time("`PATCH` next hop → peer's kernel"+at, hop, 10*time.Millisecond, lxdChange, "(1)")
		b.time("`PATCH` that names a second peer → its kernel"+at, peer, 10*time.Millisecond, lxdChange, "(1)")
		b.note(fmt.Sprintf("Changes of links, their settings, addresses and routes / of nftables / dnsmasq restarted during these %d changes%s", 3*len(hop), at),
			fmt.Sprintf("%d / %d / %d", t.link, t.nf, t.services), "0 / 0 / 0", "all is set up again")
	}
}

// other has a network that names both routers, so that both sessions stay.
func (s *site) other() {
	s.Helper()
	n := standing(19999)
	if _, _, err := s.client.Network(context.Background(), n.name); err == nil {
		return
	}
	post := n.post()
	post.Config["bgp.peers.other.address"], post.Config["bgp.peers.other.asn"] = routerAddr[1].String(), fmt.Sprint(routerASN+10)
	at := s.routes[1].expect(n.prefixes[0], netip.Addr{})
	s.must(s.client.CreateNetwork(context.Background(), post))
	receive(s.Lab, "the second session", at)
}

func (s *site) patch(n spec, config map[string]string) (int64, error) {
	return s.client.PatchNetwork(context.Background(), n.name, api.NetworkPatch{Config: config}, "")
}

// changeHop gives a network another next hop.
func (s *site) changeHop(n spec, last byte) time.Duration {
	hop := netip.AddrFrom4([4]byte{192, 0, 2, last})
	at := s.routes[0].expect(n.prefixes[0], hop)
	began := time.Now()
	rev, err := s.patch(n, map[string]string{"bgp.ipv4.nexthop": hop.String()})
	if err != nil {
		s.Fatalf("%v", err)
	}
	took := receive(s.Lab, "next hop", at).Sub(began)
	s.must(rev, nil)
	return took
}

// addPeer has a network name the second router too, and takes that back. The
// prefix that is waited for is the one whose next hop is not changed.
func (s *site) addPeer(n spec) time.Duration {
	at := s.routes[1].expect(n.prefixes[1], netip.Addr{})
	began := time.Now()
	rev, err := s.patch(n, map[string]string{"bgp.peers.other.address": routerAddr[1].String(), "bgp.peers.other.asn": fmt.Sprint(routerASN + 10)})
	if err != nil {
		s.Fatalf("%v", err)
	}
	took := receive(s.Lab, "second peer", at).Sub(began)
	s.must(rev, nil)
	gone := s.routes[1].expectGone(n.prefixes[1])
	s.must(s.patch(n, map[string]string{"bgp.peers.other.address": "", "bgp.peers.other.asn": ""}))
	receive(s.Lab, "the second peer forgets", gone)
	return took
}

// writers is how many clients write at once.
const writers = 8

// create creates the standing networks from the given one on up to n.
func (s *site) create(from, n int) {
	s.Helper()
	var revision atomic.Int64
	began := time.Now()
	s.together(from, n, func(i int) error {
		rev, err := s.client.CreateNetwork(context.Background(), standing(i).post())
		revision.Store(max(revision.Load(), rev))
		return err
	})
	accepted := time.Since(began)
	s.networks = n
	s.must(revision.Load(), nil)
	s.everywhere()
	s.filled = filled{n - from, accepted, time.Since(began)}
}

// everywhere waits until the first router has all networks.
func (s *site) everywhere() {
	s.Helper()
	s.Eventually(patience, "all networks at the peer", func() error {
		routes, err := s.router[0].NS().Routes(s.router[0].Protocol())
		if err != nil {
			return err
		}
		for i := range s.networks {
			for _, p := range standing(i).prefixes {
				if _, ok := routes[p]; !ok {
					return fmt.Errorf("%s is missing, there are %d", p, len(routes))
				}
			}
		}
		return nil
	})
}

// together has the writers work off numbers.
func (s *site) together(from, to int, each func(int) error) {
	s.Helper()
	var wg sync.WaitGroup
	var next atomic.Int64
	next.Store(int64(from))
	errs := make([]error, writers)
	for w := range writers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < to && errs[w] == nil; i = int(next.Add(1)) - 1 {
				errs[w] = each(i)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		s.Fatalf("%v", err)
	}
}
