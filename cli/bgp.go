package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"netctl/api"
)

// bgp returns the commands for the speaker.
func (a *app) bgp() *cobra.Command {
	return group("bgp", "Look at the BGP speaker", "", a.bgpStatus(), a.bgpPeers(), a.bgpRoutes(), a.bgpExplain(), a.bgpReset())
}

func (a *app) bgpStatus() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show the state of the speaker", Args: exactly(0)}
	format := addFormat(cmd, "text", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := a.client().BGP(cmd.Context())
		if err != nil {
			return err
		}
		if *format != "text" {
			return a.object(*format, s)
		}
		return write(a.Out, a.bgpText(s))
	}
	return cmd
}

// bgpText returns the state of the speaker as text.
func (a *app) bgpText(s api.BGP) string {
	var t fields
	running := "no"
	if s.Running {
		running = "yes"
		if !s.Since.IsZero() {
			running += ", for " + a.ago(s.Since)
		}
	}
	t.add("Running", running)
	if s.ASN != 0 {
		t.add("AS number", s.ASN)
	}
	t.add("Router id", s.RouterID)
	t.add("Address", s.Address)
	t.add("Listening on", strings.Join(s.Listening, " "))
	t.add("Not listening", s.ListenError)
	t.add("Waiting for", s.Waiting)
	t.add("Restart time", fmt.Sprintf("%ds", s.RestartTime))
	t.add("Peers", fmt.Sprintf("%d, %d established", s.Counters.Peers, s.Counters.PeersEstablished))
	t.add("Prefixes", fmt.Sprintf("%d, %d held back", s.Counters.PrefixesDesired, s.Counters.PrefixesHeld))
	return t.String()
}

func (a *app) bgpPeers() *cobra.Command {
	cmd := &cobra.Command{
		Use: "peers", Short: "List the peers and their sessions", Args: exactly(0),
		Long: `List the peers and their sessions.

FAMILIES are those that both sides agreed on. RESTART is "ready" when the peer
keeps our routes while the daemon restarts, and says for how long. DESIRED
counts the prefixes that the peer should have, ADVERTISED those that it was
sent.`,
	}
	format := addFormat(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		peers, err := a.client().BGPPeers(cmd.Context())
		if err != nil {
			return err
		}
		g := grid{header: []string{
			"PEER", "ASN", "STATE", "SINCE", "FAMILIES", "RESTART", "DESIRED", "ADVERTISED", "NETWORKS", "LAST ERROR",
		}}
		for _, p := range peers {
			g.rows = append(g.rows, a.peerRow(p))
		}
		return a.list(*format, peers, g)
	}
	cmd.AddCommand(a.bgpPeersSet(), a.bgpPeersUnset())
	return cmd
}

func (a *app) peerRow(p api.BGPPeer) []string {
	var families []string
	desired, advertised := 0, 0
	for _, f := range p.Families {
		if f.Negotiated {
			families = append(families, strings.TrimSuffix(f.Family, "-unicast"))
		}
		desired += f.Desired
		advertised += f.Advertised
	}
	since := ""
	if !p.Since.IsZero() {
		since = a.ago(p.Since)
	}
	return []string{
		p.Address, strconv.FormatUint(uint64(p.ASN), 10), p.State, since, strings.Join(families, " "), restart(p),
		strconv.Itoa(desired), strconv.Itoa(advertised), strings.Join(p.Networks, " "), lastError(p),
	}
}

// restart says in a word or two whether a peer keeps our routes while the
// daemon restarts, once that is known.
func restart(p api.BGPPeer) string {
	switch {
	case p.State != "established":
		return ""
	case p.Restart.Negotiated:
		return fmt.Sprintf("ready (%ds)", p.Restart.RestartTime)
	}
	return "no"
}

// lastError is the last error of a session, or what holds its families back.
func lastError(p api.BGPPeer) string {
	problems := []string{}
	if p.LastError != "" {
		problems = append(problems, p.LastError)
	}
	for _, f := range p.Families {
		if f.Held != "" {
			problems = append(problems, f.Family+": "+f.Held)
		}
	}
	return strings.Join(problems, "; ")
}

func (a *app) bgpRoutes() *cobra.Command {
	cmd := &cobra.Command{
		Use: "routes", Short: "List the prefixes and who was sent them", Args: exactly(0),
		Long: `List the prefixes that the speaker announces or holds back.

PEERS tells for each peer that should have the prefix whether it was really
sent, and if not, why.`,
	}
	format := addFormat(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		routes, err := a.client().BGPRoutes(cmd.Context())
		if err != nil {
			return err
		}
		between := "; "
		if *format == "table" {
			between = "\n"
		}
		g := grid{header: []string{"PREFIX", "NEXT HOP", "OWNER", "STATE", "REASON", "PEERS"}}
		for _, r := range routes {
			g.rows = append(g.rows, routeRow(r, between))
		}
		return a.list(*format, routes, g)
	}
	return cmd
}

// routeRow returns a route as a row, in whose cells between is what separates
// owners and peers.
func routeRow(r api.BGPRoute, between string) []string {
	var owners, peers []string
	for _, o := range r.Owners {
		owners = append(owners, o.String())
	}
	for _, p := range r.Peers {
		switch {
		case p.Sent:
			peers = append(peers, fmt.Sprintf("%s sent with %s", p.Address, p.NextHop))
		case p.Reason == r.Reason:
			peers = append(peers, p.Address+" not sent")
		default:
			peers = append(peers, fmt.Sprintf("%s not sent: %s", p.Address, p.Reason))
		}
	}
	return []string{r.Prefix, r.NextHop, strings.Join(owners, between), r.State, r.Reason, strings.Join(peers, between)}
}

func (a *app) bgpReset() *cobra.Command {
	return &cobra.Command{
		Use: "reset <peer>", Short: "End the session with a peer and set it up again", Args: exactly(1),
		Long: `End the session with a peer with an administrative reset (RFC 4486) and set it
up again. The peer does without our routes meanwhile.`,
		Example: "  netctl bgp reset 192.0.2.1",
		RunE: func(cmd *cobra.Command, args []string) error {
			peer, err := peerArg(cmd, args[0])
			if err != nil {
				return err
			}
			if err := a.client().ResetBGPPeer(cmd.Context(), peer); err != nil {
				return err
			}
			return a.say("Session with %s reset", peer)
		},
		ValidArgsFunction: a.completePeer,
	}
}

// ago writes how long something has been so, in the two largest units.
func (a *app) ago(since time.Time) string {
	d := max(a.Now().Sub(since), 0)
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
