package gobgp

import "time"

// Graceful restart (RFC 4724).
//
// What a helper does with our routes when a session has ended without a
// NOTIFICATION depends on the OPEN of the next session: the routes of each
// family whose Forwarding State bit is set stay until our End-of-RIB; those of
// the others are dropped at once (section 4.2). Our data plane does not depend
// on this process, so the bit is always true, and every OPEN of ours must
// have it: after a crash, an upgrade, a TCP reset.
//
// The Restart State bit says that we have restarted. All it asks of a peer is
// not to wait for our End-of-RIB before it goes on (sections 3 and 4.1). A
// helper waits for nothing. A peer that restarts itself does: it keeps its
// forwarding table as it was until its peers have told it everything, and
// removes then what it was not told. If it does not wait for us it removes
// our routes, only to have them back a moment later. So a peer whose own OPEN
// has the bit must not see it in ours. We can go on without its End-of-RIB, as
// we take no routes, so nobody waits in vain.
//
// GoBGP ties the two bits to each other and to its own idea of a restart. It
// clears them for all peers when the first one is in sync, so that helpers
// that come back later flush, and for a session that is merely cut. This is
// why it is told that it never restarts, and the relay writes the bits into
// its OPEN. GoBGP then also sends its table at once when a session comes up;
// restarting, it would first wait for a whole number of seconds.
//
// What GoBGP does for it: it sends End-of-RIB after the table, as every path is
// in the table before the first peer is added.

// openPatience is how long our OPEN waits for the peer's. Both sides send
// theirs as soon as they are connected.
const openPatience = time.Second

// restartBits sets the restart bits in our OPEN, knowing the peer's.
func (r *relay) restartBits(m message) {
	timer := time.NewTimer(openPatience)
	defer timer.Stop()
	select {
	case <-r.opened:
	case <-timer.C:
	}
	setRestartBits(m, !r.theirs().restarting)
}
