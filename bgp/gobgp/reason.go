package gobgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"github.com/osrg/gobgp/v3/pkg/log"
	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// reasons is GoBGP's logger. GoBGP tells nobody but its log why a session
// ended, so this is where the sentences come from that operators read. What it
// logs itself goes on as debug messages: what matters to an operator is
// logged by the speaker.
type reasons struct {
	slog *slog.Logger

	mu   sync.Mutex
	why  map[netip.Addr]string // what ended the last session or attempt
	said map[netip.Addr]bool   // it was said in the present attempt
}

var _ log.Logger = (*reasons)(nil)

func newReasons(l *slog.Logger) *reasons {
	return &reasons{slog: l, why: map[netip.Addr]string{}, said: map[netip.Addr]bool{}}
}

// last returns why the last session or attempt with a peer ended.
func (r *reasons) last(a netip.Addr) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why[a]
}

// forget starts afresh with a peer.
func (r *reasons) forget(a netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.why, a)
	delete(r.said, a)
}

// SetLevel does nothing: the level is the one of the slog handler.
func (r *reasons) SetLevel(log.LogLevel) {}

// GetLevel asks for everything: "failed to connect" comes at the debug level
// only.
func (r *reasons) GetLevel() log.LogLevel { return log.DebugLevel }

// Panic logs an inconsistency that GoBGP found in itself. It does not panic:
// sessions with other peers are worth more.
func (r *reasons) Panic(msg string, f log.Fields) { r.pass(slog.LevelError, msg, f) }

// Fatal logs like Panic, and does not exit.
func (r *reasons) Fatal(msg string, f log.Fields) { r.pass(slog.LevelError, msg, f) }

// Error logs a failure within GoBGP.
func (r *reasons) Error(msg string, f log.Fields) { r.pass(slog.LevelWarn, msg, f) }

// Warn listens for reasons.
func (r *reasons) Warn(msg string, f log.Fields) { r.listen(msg, f) }

// Info listens for reasons.
func (r *reasons) Info(msg string, f log.Fields) { r.listen(msg, f) }

// Debug listens for reasons.
func (r *reasons) Debug(msg string, f log.Fields) { r.listen(msg, f) }

// pass hands a message on.
func (r *reasons) pass(level slog.Level, msg string, f log.Fields) {
	ctx := context.Background()
	if !r.slog.Enabled(ctx, level) {
		return
	}
	peer, _ := f["Key"].(string)
	if peer == anchorAddr.String() {
		return
	}
	r.slog.Log(ctx, level, "gobgp", "peer", peer, "said", msg, "fields", fmt.Sprint(f))
}

// listen keeps what a message says about the end of a session.
func (r *reasons) listen(msg string, f log.Fields) {
	r.pass(slog.LevelDebug, msg, f)
	key, _ := f["Key"].(string)
	a, err := netip.ParseAddr(key)
	if err != nil {
		return
	}
	if msg == "state changed" {
		r.stateChanged(a, f)
		return
	}
	if why := sentence(a, msg, f); why != "" {
		r.mu.Lock()
		r.why[a], r.said[a] = why, true
		r.mu.Unlock()
	}
}

// stateChanged fills in a reason where GoBGP gave none: what the peer sends
// before the session is up it does not log.
func (r *reasons) stateChanged(a netip.Addr, f log.Fields) {
	from, _ := f["old"].(string)
	to, _ := f["new"].(string)
	reason := fmt.Sprint(f["reason"])
	r.mu.Lock()
	defer r.mu.Unlock()
	if to == "BGP_FSM_OPENSENT" {
		r.said[a] = false
	}
	if to != "BGP_FSM_IDLE" || r.said[a] {
		return
	}
	opening := from == "BGP_FSM_OPENSENT" || from == "BGP_FSM_OPENCONFIRM"
	switch {
	case opening && reason == "invalid-msg":
		r.why[a] = fmt.Sprintf("%s rejected our OPEN; check the AS number and address that it expects of this host", a)
	case opening && reason == "read-failed":
		r.why[a] = fmt.Sprintf("%s closed the connection before the session was up; is this host configured there as a neighbor?", a)
	case from == "BGP_FSM_ESTABLISHED" && (reason == "read-failed" || reason == "write-failed" || reason == "graceful-restart"):
		r.why[a] = "the connection was lost"
	}
}

// sentence turns a message of GoBGP into a reason, or nothing.
func sentence(a netip.Addr, msg string, f log.Fields) string {
	switch msg {
	case "failed to connect":
		err, _ := f["Error"].(error)
		return dialError(a, err)
	case "Mismatched local address":
		return fmt.Sprintf("%s connects to %v, but this session has %v as its local address", a, f["Addr"], f["Configured addr"])
	case "hold timer expired":
		return "hold timer expired: nothing was heard of the peer for too long"
	case "received notification":
		return notification(f, received)
	case "sent notification":
		if e, ok := f["Data"].(*packet.MessageError); ok {
			return openError(e)
		}
		return notification(f, sent)
	}
	return ""
}

// dialError says why a peer cannot be connected to.
func dialError(a netip.Addr, err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("%s refuses connections; is BGP running there, with this host as a neighbor?", a)
	case errors.Is(err, syscall.EHOSTUNREACH):
		return fmt.Sprintf("%s does not answer on its link (no route to host)", a)
	case errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("this host has no route to %s", a)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("this host does not have the local address of the session with %s", a)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("no answer from %s; check address, firewall and password", a)
	case err != nil:
		return err.Error()
	}
	return ""
}

// openError says what we found wrong with a peer's OPEN, or why we closed a
// session.
func openError(e *packet.MessageError) string {
	switch {
	case e.TypeCode == packet.BGP_ERROR_OPEN_MESSAGE_ERROR && e.SubTypeCode == packet.BGP_ERROR_SUB_BAD_PEER_AS:
		// "as number mismatch expected 65001, received 65002"
		if _, got, ok := strings.Cut(e.Message, "received "); ok {
			return fmt.Sprintf("the peer is AS %s, which is not the AS configured for it", got)
		}
	case e.TypeCode == packet.BGP_ERROR_OPEN_MESSAGE_ERROR && e.SubTypeCode == packet.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER:
		return "the peer has the same router id as this host"
	case e.TypeCode == packet.BGP_ERROR_HOLD_TIMER_EXPIRED:
		return "hold timer expired: the peer did not answer our OPEN"
	}
	return "the peer broke the protocol: " + e.Message
}

// A direction tells who sent a NOTIFICATION.
type direction string

const (
	received direction = "the peer"
	sent     direction = "this host"
)

// notification describes a NOTIFICATION (RFC 4271 section 6, RFC 4486, RFC
// 9003).
func notification(f log.Fields, who direction) string {
	code, _ := f["Code"].(uint8)
	sub, _ := f["Subcode"].(uint8)
	text, _ := f["Communicated-Reason"].(string)
	s := string(who) + " " + notificationText(code, sub)
	if text != "" {
		s += ": " + text
	}
	return s
}

func notificationText(code, sub uint8) string {
	texts := map[[2]uint8]string{
		{packet.BGP_ERROR_OPEN_MESSAGE_ERROR, packet.BGP_ERROR_SUB_BAD_PEER_AS}:           "rejected the AS number of the other side",
		{packet.BGP_ERROR_CEASE, packet.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED}: "closed the session: too many prefixes",
		{packet.BGP_ERROR_CEASE, packet.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN}:            "shut the session down administratively",
		{packet.BGP_ERROR_CEASE, packet.BGP_ERROR_SUB_PEER_DECONFIGURED}:                  "removed the session from its configuration",
		{packet.BGP_ERROR_CEASE, packet.BGP_ERROR_SUB_ADMINISTRATIVE_RESET}:               "reset the session administratively",
		{packet.BGP_ERROR_CEASE, packet.BGP_ERROR_SUB_CONNECTION_REJECTED}:                "rejected the connection",
		{packet.BGP_ERROR_CEASE, packet.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE}:         "closed the session: its configuration changed",
		{packet.BGP_ERROR_CEASE, packet.BGP_ERROR_SUB_CONNECTION_COLLISION_RESOLUTION}:    "closed one of two connections",
		{packet.BGP_ERROR_CEASE, packet.BGP_ERROR_SUB_OUT_OF_RESOURCES}:                   "closed the session: out of resources",
		{packet.BGP_ERROR_CEASE, packet.BGP_ERROR_SUB_HARD_RESET}:                         "reset the session",
	}
	if t, ok := texts[[2]uint8{code, sub}]; ok {
		return t
	}
	if code == packet.BGP_ERROR_HOLD_TIMER_EXPIRED {
		return "closed the session: hold timer expired"
	}
	return "closed the session: " + packet.NewNotificationErrorCode(code, sub).String()
}
