package daemon

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"netctl/api"
	"netctl/bgp"
	"netctl/db"
	"netctl/network"
	"netctl/reconcile"
)

// A metric is one of ours, without the prefix "netctl_".
type metric struct {
	name   string
	kind   kind
	labels []string
	help   string
}

// A kind is what a metric is in Prometheus' terms.
type kind string

const (
	gauge     kind = "gauge"
	counter   kind = "counter"
	histogram kind = "histogram"
)

const metricPrefix = "netctl_"

func (m metric) desc() *prometheus.Desc {
	return prometheus.NewDesc(metricPrefix+m.name, m.help, m.labels, nil)
}

func (m metric) counter() prometheus.CounterOpts {
	return prometheus.CounterOpts{Name: metricPrefix + m.name, Help: m.help}
}

func (m metric) histogram(buckets ...float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: metricPrefix + m.name, Help: m.help, Buckets: buckets}, m.labels)
}

// What an observer reads.
var (
	obsBuild      = metric{"build_info", gauge, []string{"version", "commit"}, "Version of the daemon; always 1."}
	obsReady      = metric{"ready", gauge, nil, "1 once the host has been brought up to date after the start and sessions have begun."}
	obsNetworks   = metric{"networks", gauge, []string{"status"}, "Networks by status: up, or down when the host does not have them as they should be."}
	obsInstances  = metric{"instances", gauge, []string{"status"}, "Instances by status: running, stopped, or error when one that should run cannot."}
	obsForwards   = metric{"forwards", gauge, nil, "Forwards of all networks."}
	obsACLs       = metric{"acls", gauge, nil, "Network ACLs."}
	obsLeases     = metric{"leases", gauge, []string{"network", "family"}, "DHCP leases that have not expired."}
	obsRevision   = metric{"revision", gauge, nil, "Revision of the database."}
	obsApplied    = metric{"applied_revision", gauge, []string{"target"}, "Revision that a target has applied."}
	obsLag        = metric{"revision_lag", gauge, []string{"target"}, "Revisions that a target is behind the database."}
	obsFailing    = metric{"target_failing", gauge, []string{"target"}, "1 while the latest turn of a target went wrong."}
	obsRunning    = metric{"bgp_running", gauge, nil, "1 while the speaker runs."}
	obsListening  = metric{"bgp_listening", gauge, nil, "1 while the speaker accepts connections."}
	obsRestart    = metric{"bgp_restart_time_seconds", gauge, nil, "How long peers are asked to keep our routes while the daemon is away."}
	obsHeld       = metric{"bgp_prefixes_held", gauge, nil, "Prefixes that are not announced because what they point at is not up."}
	obsUp         = metric{"bgp_session_up", gauge, []string{"peer", "asn"}, "1 while the session is established."}
	obsSince      = metric{"bgp_session_since_seconds", gauge, []string{"peer"}, "When the session entered its state, in seconds since 1970."}
	obsFlaps      = metric{"bgp_session_flaps_total", counter, []string{"peer"}, "Times the session left established."}
	obsSent       = metric{"bgp_updates_sent_total", counter, []string{"peer"}, "UPDATE messages sent."}
	obsReceived   = metric{"bgp_updates_received_total", counter, []string{"peer"}, "UPDATE messages received."}
	obsGraceful   = metric{"bgp_restart_negotiated", gauge, []string{"peer"}, "1 when both sides of an established session speak graceful restart, so that a restart of the daemon loses no route."}
	obsLocal      = metric{"bgp_restarting", gauge, []string{"peer"}, "1 when our last OPEN said that we had restarted."}
	obsPeer       = metric{"bgp_peer_restarting", gauge, []string{"peer"}, "1 when the peer's last OPEN said that it had restarted."}
	obsDesired    = metric{"bgp_prefixes_desired", gauge, []string{"peer", "family"}, "Prefixes that a peer should hear."}
	obsAdvertised = metric{"bgp_prefixes_advertised", gauge, []string{"peer", "family"}, "Prefixes that a peer was sent."}
	obsDropped    = metric{"bgp_prefixes_received", gauge, []string{"peer", "family"}, "Prefixes that a peer sent, all of which are dropped."}
)

// observed lists what an observer reads, in the order of the reference.
func observed() []metric {
	return []metric{
		obsBuild, obsReady, obsNetworks, obsInstances, obsForwards, obsACLs, obsLeases, obsRevision, obsApplied, obsLag, obsFailing,
		obsRunning, obsListening, obsRestart, obsHeld, obsUp, obsSince, obsFlaps, obsSent, obsReceived,
		obsGraceful, obsLocal, obsPeer, obsDesired, obsAdvertised, obsDropped,
	}
}

// observeBound is how long reading everything may take.
const observeBound = 10 * time.Second

// An observer reads the state of the daemon whenever metrics are asked for.
type observer struct{ d *Daemon }

// Describe implements prometheus.Collector.
func (o *observer) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range observed() {
		ch <- m.desc()
	}
}

// Collect implements prometheus.Collector. What cannot be read is left out.
func (o *observer) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), observeBound)
	defer cancel()
	s := samples(ch)
	s.send(obsBuild, 1, api.Version, api.Commit)
	s.send(obsReady, number(o.d.notReady() == ""))
	if objs, err := o.d.store.Snapshot(ctx); err == nil {
		s.targets(objs, o.d.targets())
		if snapshot, err := o.d.decoder.snapshot(objs); err == nil {
			s.send(obsForwards, float64(len(snapshot.Forwards)))
			s.send(obsACLs, float64(len(snapshot.ACLs)))
			s.instances(snapshot.Instances, o.d.troubles())
		}
	}
	if host, err := o.d.view.host(ctx); err == nil {
		s.host(host)
		o.leases(s, host)
	}
	st := o.d.parts.Speaker.Status()
	s.send(obsRunning, number(st.Running))
	s.send(obsListening, number(len(st.Listening) > 0))
	if sessions, err := o.d.parts.Speaker.Sessions(ctx); err == nil {
		for _, session := range sessions {
			s.session(session)
		}
	}
}

// leases counts the leases of every network that gives any.
func (o *observer) leases(s samples, host *network.Host) {
	now := time.Now()
	for _, svc := range host.DHCP {
		leases, err := o.d.parts.DHCP.Leases(svc.Network)
		if err != nil {
			continue
		}
		var n4, n6 int
		for _, l := range leases {
			switch {
			case !l.Expires.IsZero() && l.Expires.Before(now):
			case l.Addr.Is4():
				n4++
			default:
				n6++
			}
		}
		if svc.V4.DHCP {
			s.send(obsLeases, float64(n4), svc.Network, "ipv4")
		}
		if svc.V6.Stateful {
			s.send(obsLeases, float64(n6), svc.Network, "ipv6")
		}
	}
}

// samples are where an observer puts what it has read.
type samples chan<- prometheus.Metric

func (s samples) send(m metric, v float64, labels ...string) {
	t := prometheus.GaugeValue
	if m.kind == counter {
		t = prometheus.CounterValue
	}
	s <- prometheus.MustNewConstMetric(m.desc(), t, v, labels...)
}

func (s samples) targets(objs *db.Objects, all []reconcile.Status) {
	rev := int64(objs.Revision())
	s.send(obsRevision, float64(rev))
	for _, t := range all {
		s.send(obsApplied, float64(t.Applied), t.Target)
		s.send(obsLag, float64(max(rev-t.Applied, 0)), t.Target)
		s.send(obsFailing, number(t.Err != nil), t.Target)
	}
}

func (s samples) instances(all []*network.Instance, troubles []trouble) {
	var running, stopped, errored float64
	for _, i := range all {
		_, bad := ofInstance(troubles, i.Name)
		switch {
		case !i.Running:
			stopped++
		case bad:
			errored++
		default:
			running++
		}
	}
	s.send(obsInstances, running, "running")
	s.send(obsInstances, stopped, "stopped")
	s.send(obsInstances, errored, "error")
}

func (s samples) host(host *network.Host) {
	s.send(obsHeld, float64(len(host.Held)))
	down := 0
	for _, n := range host.Firewall.Networks {
		if host.Down[n.Name] != "" {
			down++
		}
	}
	s.send(obsNetworks, float64(len(host.Firewall.Networks)-down), "up")
	s.send(obsNetworks, float64(down), "down")
	s.send(obsRestart, host.BGP.RestartTime.Seconds())
}

func (s samples) session(b bgp.Session) {
	peer := b.Peer.Addr.String()
	up := b.State == bgp.Established
	s.send(obsUp, number(up), peer, strconv.FormatUint(uint64(b.Peer.ASN), 10))
	if !b.Since.IsZero() {
		s.send(obsSince, float64(b.Since.UnixMilli())/1000, peer)
	}
	s.send(obsFlaps, float64(b.Flaps), peer)
	s.send(obsSent, float64(b.UpdatesSent), peer)
	s.send(obsReceived, float64(b.UpdatesReceived), peer)
	s.send(obsGraceful, number(up && b.Restart.Negotiated), peer)
	s.send(obsLocal, number(b.Restart.LocalRestarting), peer)
	s.send(obsPeer, number(b.Restart.PeerRestarting), peer)
	for _, f := range b.Families {
		s.send(obsDesired, float64(f.Desired), peer, string(f.Family))
		s.send(obsAdvertised, float64(f.Advertised), peer, string(f.Family))
		s.send(obsDropped, float64(f.Received), peer, string(f.Family))
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
