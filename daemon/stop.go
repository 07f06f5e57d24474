package daemon

import (
	"context"
	"errors"
	"net/http"
	"time"

	"netctl/api"
	"netctl/bgp"
	"netctl/network/firewall"
	"netctl/network/link"
)

// defaultText is what peers' operators read when no other text is given (RFC
// 9003).
const defaultText = "netctl: full shutdown"

// maxText is the longest shutdown communication (RFC 9003 section 2), in bytes.
const maxText = 255

// stopBound is how long a full shutdown may take, all in all.
const stopBound = 15 * time.Second

// putShutdown is PUT /internal/shutdown: a full shutdown. It answers when
// every route has been withdrawn.
func (d *Daemon) putShutdown(r *http.Request) (reply, error) {
	var req api.Shutdown
	if _, err := anyBody(r, &req); err != nil {
		return reply{}, err
	}
	if req.Message == "" {
		req.Message = defaultText
	}
	if len(req.Message) > maxText {
		return reply{}, api.Errorf(api.Invalid, "message is %d bytes long: peers accept at most %d (RFC 9003)", len(req.Message), maxText)
	}
	select {
	case d.stopping.request <- stop{mode: bgp.Withdraw, text: req.Message, remove: req.RemoveBridges}:
	default: // somebody else was first
	}
	select {
	case <-d.stopping.done:
		if d.stopping.mode != bgp.Withdraw {
			return reply{}, api.Errorf(api.Unavailable, "the daemon has stopped for a restart already: its routes were not withdrawn")
		}
		if err := d.stopping.err; err != nil {
			return reply{}, api.Errorf(api.Unavailable, "the daemon has stopped, but not everything went well: %w", err)
		}
		return reply{}, nil
	case <-r.Context().Done():
		return reply{}, r.Context().Err()
	}
}

// loopBound is how long the loops may take to end once the speaker has stopped.
// A dnsmasq that is being replaced takes a part of it.
const loopBound = 5 * time.Second

// errHung says that a loop has not ended in time.
var errHung = errors.New("the data plane hangs: what is on the host stays as it is")

// stopSpeaking ends the sessions as why says, and waits for the loops, which
// have ended with a value of ended. A restart leaves no trace on the wire and
// touches nothing on the host.
func (d *Daemon) stopSpeaking(ctx context.Context, why stop, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, stopBound)
	defer cancel()
	err := d.parts.Speaker.Stop(ctx, why.mode, why.text)
	select {
	case loopErr := <-ended:
		err = errors.Join(err, loopErr)
		if why.remove {
			err = errors.Join(err, d.parts.DHCP.Apply(ctx, nil), d.parts.Firewall.Apply(ctx, firewall.Config{}), d.parts.Links.Apply(ctx, link.State{}))
		}
	case <-time.After(loopBound):
		err = errors.Join(err, errHung)
	}
	d.stopping.mode, d.stopping.err = why.mode, err
	close(d.stopping.done)
	return err
}
