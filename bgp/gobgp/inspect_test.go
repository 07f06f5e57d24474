package gobgp

import (
	"errors"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"netctl/bgp"
)

// wire is a message with a correct header.
func wire(kind byte, body ...byte) message {
	m := append(append(message{}, keepalive...), body...)
	m[16], m[17], m[18] = byte(len(m)>>8), byte(len(m)), kind
	return m
}

func TestInspect(t *testing.T) {
	for name, tt := range map[string]struct {
		m         message
		code, sub byte // of the answer
	}{
		"type 0":             {wire(0), 1, 3},
		"type 6":             {wire(6, 1, 2), 1, 3},
		"empty OPEN":         {wire(msgOpen), 1, 2},
		"empty NOTIFICATION": {wire(msgNotification), 1, 2},
		"short ROUTE-REFRESH": {
			wire(5, 0, 1), packet.BGP_ERROR_ROUTE_REFRESH_MESSAGE_ERROR, packet.BGP_ERROR_SUB_INVALID_MESSAGE_LENGTH,
		},
	} {
		err := inspect(tt.m)
		if err == nil {
			t.Errorf("%s passes", name)
			continue
		}
		e, _ := errors.AsType[*malformedError](err)
		if len(e.answer) < 21 || e.answer.kind() != msgNotification || e.answer[19] != tt.code || e.answer[20] != tt.sub {
			t.Errorf("%s: %v is answered with %x", name, err, []byte(e.answer))
		}
	}
	r := newRouter(t, "127.0.0.10", nil)
	for name, m := range map[string]message{"OPEN": r.open(), "KEEPALIVE": keepalive, "NOTIFICATION": wire(msgNotification, 6, 4), "ROUTE-REFRESH": wire(5, 0, 1, 0, 1)} {
		if err := inspect(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnknownType sends a message that GoBGP does not survive.
func TestUnknownType(t *testing.T) {
	r := newRouter(t, "127.0.0.10", nil)
	s := newSpeaker(t)
	if err := s.Apply(t.Context(), config(somePaths(2), r)); err != nil {
		t.Fatal(err)
	}
	c := r.accept()
	c.table(t)
	if _, err := c.Write(wire(77)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "reason", func() bool {
		list, err := s.Sessions(t.Context())
		return err == nil && (list[0].LastError == "127.0.0.10 sent a message of the unknown type 77" || list[0].Flaps > 0 && list[0].State == bgp.Established)
	})
	var last message
	for _, m := range c.ended(t) {
		last = m
	}
	if last == nil || last.kind() != msgNotification || last[19] != 1 || last[20] != 3 {
		t.Errorf("the last message is %x", []byte(last))
	}
	r.accept().table(t) // another session
}

// FuzzInspect holds that what passes is nothing that GoBGP stumbles over on
// the way to a session.
func FuzzInspect(f *testing.F) {
	good := (&router{asn: 65001, holdTime: 90}).open()
	f.Add([]byte(good))
	for code := range 256 {
		f.Add([]byte(wire(byte(code), 0, 1, 0, 1)))
		f.Add([]byte(wire(msgOpen, 4, 0, 1, 0, 90, 1, 2, 3, 4, 6, 2, 4, byte(code), 2, 0, 1)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerSize || len(b) > maxMessage {
			return
		}
		m := wire(b[18], b[headerSize:]...)
		start := time.Now()
		if inspect(m) != nil {
			return
		}
		parsed, err := packet.ParseBGPMessage(m)
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := parsed.Body.(*packet.BGPOpen); ok {
			_, _ = packet.ValidateOpenMsg(o, 65001, 65000, nil)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %s", took)
		}
	})
}
