package gobgp

import (
	"errors"
	"fmt"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"netctl/bgp"
)

// A malformedError is about a message of a peer that GoBGP must not see.
type malformedError struct {
	kind   byte
	detail string
	answer message // the NOTIFICATION (RFC 4271 section 6)
}

func (e *malformedError) Error() string { return e.detail }

// inspect reports what is wrong with a message that is on its way to GoBGP. It
// is parsed here first, because GoBGP does not get over everything: a message
// of an unknown type ends its process. The parsing has no memory, so what
// passes here passes there.
func inspect(m message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = malformed(m, fmt.Errorf("%v", p))
		}
	}()
	parsed, err := packet.ParseBGPMessage(m)
	if err == nil {
		err = packet.ValidateBGPMessage(parsed)
	}
	if err != nil {
		return malformed(m, err)
	}
	return nil
}

// malformed makes an error of what the parser says about m.
func malformed(m message, cause error) error {
	code, sub := byte(packet.BGP_ERROR_MESSAGE_HEADER_ERROR), byte(packet.BGP_ERROR_SUB_BAD_MESSAGE_LENGTH)
	if m.kind() == msgOpen {
		code, sub = packet.BGP_ERROR_OPEN_MESSAGE_ERROR, 0 // unspecific
	}
	var data []byte
	if e, ok := errors.AsType[*packet.MessageError](cause); ok && e.TypeCode != 0 {
		code, sub, data = e.TypeCode, e.SubTypeCode, e.Data
	}
	answer, err := packet.NewBGPNotificationMessage(code, sub, data).Serialize()
	if err != nil {
		answer = nil
	}
	return &malformedError{m.kind(), cause.Error(), answer}
}

// kinds are the names of messages.
var kinds = map[byte]string{
	msgOpen: "an OPEN", msgUpdate: "an UPDATE", msgNotification: "a NOTIFICATION", msgKeepalive: "a KEEPALIVE", 5: "a ROUTE-REFRESH",
}

// nonsense says why a session ends with a message that makes no sense.
func nonsense(err error, p bgp.Peer) string {
	e, ok := errors.AsType[*malformedError](err)
	switch {
	case !ok:
		return err.Error()
	case kinds[e.kind] == "":
		return fmt.Sprintf("%s sent a message of the unknown type %d", p.Addr, e.kind)
	}
	return fmt.Sprintf("%s sent %s that makes no sense: %s", p.Addr, kinds[e.kind], e.detail)
}

// refuse ends the session because of a message that GoBGP must not see.
func (r *relay) refuse(err error) {
	r.fail(nonsense(err, r.peer))
	if e, ok := errors.AsType[*malformedError](err); ok && e.kind != msgNotification { // which is never answered with another
		_ = r.outer.SetWriteDeadline(time.Now().Add(farewell))
		_, _ = r.outer.Write(e.answer)
	}
}
