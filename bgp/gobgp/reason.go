package gobgp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"netctl/bgp"
)

// Error codes and subcodes of a NOTIFICATION (RFC 4271 section 4.5, RFC 4486).
const (
	codeOpen  = 2
	codeHold  = 4
	codeCease = 6

	openBadAS       = 2
	openBadID       = 3
	openBadHoldTime = 6

	ceasePrefixes  = 1
	ceaseShutdown  = 2
	ceaseRemoved   = 3
	ceaseReset     = 4
	ceaseRejected  = 5
	ceaseConfig    = 6
	ceaseCollision = 7
	ceaseResources = 8
	ceaseHardReset = 9
	ceaseBFD       = 10
)

// ceases says what a Cease means, after "the peer" or "this host".
var ceases = map[byte]string{
	ceasePrefixes:  "closed the session: too many prefixes",
	ceaseShutdown:  "shut the session down administratively",
	ceaseRemoved:   "removed the session from its configuration",
	ceaseReset:     "reset the session administratively",
	ceaseRejected:  "rejected the connection; is this host configured there as a neighbor?",
	ceaseConfig:    "closed the session: its configuration changed",
	ceaseCollision: "closed one of two connections",
	ceaseResources: "closed the session: out of resources",
	ceaseHardReset: "reset the session",
	ceaseBFD:       "closed the session: BFD found the path down (RFC 9384)",
}

// told says why the peer closed a session with a NOTIFICATION.
func told(m message, p bgp.Peer, asn uint32) string {
	code, sub, text := notificationOf(m)
	switch {
	case code == codeOpen && sub == openBadAS:
		return fmt.Sprintf("the peer says that our AS is wrong: it expects another one than %d", asn)
	case code == codeOpen && sub == openBadHoldTime:
		return fmt.Sprintf("the peer does not accept a hold time of %s", p.HoldTime)
	case code == codeOpen && sub == openBadID:
		return "the peer does not accept our router id; is it the same as its own?"
	case code == codeHold:
		return "the peer closed the session: its hold timer expired, it heard nothing from this host"
	}
	return describe("the peer ", code, sub, text)
}

// said says why we closed a session with a NOTIFICATION; theirs is the OPEN of
// the peer.
func said(m message, p bgp.Peer, theirs open) string {
	code, sub, text := notificationOf(m)
	switch {
	case code == codeOpen && sub == openBadAS:
		return fmt.Sprintf("the peer is AS %d, but AS %d is configured for it", theirs.asn, p.ASN)
	case code == codeOpen && sub == openBadID:
		return fmt.Sprintf("the peer has the router id %s, which is ours or not valid", theirs.id)
	case code == codeOpen && sub == openBadHoldTime:
		return fmt.Sprintf("the peer asks for a hold time of %s", theirs.holdTime)
	case code == codeHold:
		return "hold timer expired: nothing was heard of the peer"
	}
	return describe("this host ", code, sub, text)
}

// describe puts a NOTIFICATION into words.
func describe(who string, code, sub byte, text string) string {
	what := "closed the session: " + packet.NewNotificationErrorCode(code, sub).String()
	if code == codeCease && ceases[sub] != "" {
		what = ceases[sub]
	}
	if text != "" {
		what += ": " + text
	}
	return who + what
}

// lost says why a connection ended without a NOTIFICATION.
func lost(err error, established bool, p bgp.Peer) string {
	switch {
	case errors.Is(err, errNotBGP):
		return fmt.Sprintf("%s sends something that is not BGP", p.Addr)
	case !established && errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("%s takes the connection but does not speak BGP", p.Addr)
	case !established && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Sprintf("%s closed the connection before the session was up; is this host configured there as a neighbor?", p.Addr)
	case errors.Is(err, io.EOF):
		return "the peer closed the connection without a word"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.EPIPE):
		return "the connection was reset"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return fmt.Sprintf("%s stopped answering", p.Addr)
	}
	return "the connection was lost: " + err.Error()
}

// unsent says why a connection ended when something was to be sent.
func unsent(err error, established bool, p bgp.Peer) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Sprintf("%s does not read what it is sent", p.Addr)
	}
	return lost(err, established, p)
}

// dialError says why a peer cannot be connected to.
func dialError(p bgp.Peer, local netip.Addr, err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("%s refuses connections on port %d; is BGP running there?", p.Addr, p.Port)
	case errors.Is(err, syscall.EHOSTUNREACH):
		return fmt.Sprintf("%s does not answer on its link (no route to host)", p.Addr)
	case errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("this host has no route to %s", p.Addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("this host does not have the address %s", local)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("no answer from %s; check address, firewall and password", p.Addr)
	}
	return err.Error()
}
