package daemon

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"netctl/api"
	"netctl/bgp"
)

// metrics are what GET /1.0/metrics serves. What the daemon counts itself is
// kept here; the rest is read when it is asked for.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	panics   prometheus.Counter
}

func newMetrics(d *Daemon) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "netctl_http_request_seconds", Help: "Time to answer a request of the API.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .5, 1, 5},
		}, []string{"method", "path", "code"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "netctl_http_panics_total", Help: "Handlers that panicked."}),
	}
	m.registry.MustRegister(m.requests, m.panics, &observer{d},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// request counts one answered request by the path's pattern, so that names do
// not become labels.
func (m *metrics) request(r *http.Request, status int, start time.Time) {
	path := "other"
	if rt := mux.CurrentRoute(r); rt != nil {
		if t, err := rt.GetPathTemplate(); err == nil {
			path = t
		}
	}
	m.requests.WithLabelValues(r.Method, path, strconv.Itoa(status)).Observe(time.Since(start).Seconds())
}

// metricsHandler is GET /1.0/metrics.
func (d *Daemon) metricsHandler(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(d.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

// An observer reads the state of the daemon whenever metrics are asked for.
type observer struct{ d *Daemon }

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("netctl_"+name, help, labels, nil)
}

var (
	descBuild      = gauge("build_info", "Version of the daemon.", "version", "commit")
	descNetworks   = gauge("networks", "Networks by status.", "status")
	descRevision   = gauge("revision", "Revision of the database.")
	descApplied    = gauge("applied_revision", "Revision that a target has applied.", "target")
	descFailing    = gauge("target_failing", "1 while the latest turn of a target went wrong.", "target")
	descListening  = gauge("bgp_listening", "1 while the speaker accepts connections.")
	descUp         = gauge("bgp_session_up", "1 while the session is established.", "peer", "asn")
	descFlaps      = gauge("bgp_session_flaps_total", "Times the session left established.", "peer")
	descSent       = gauge("bgp_updates_sent_total", "UPDATE messages sent.", "peer")
	descReceived   = gauge("bgp_updates_received_total", "UPDATE messages received.", "peer")
	descDesired    = gauge("bgp_prefixes_desired", "Prefixes that a peer should hear.", "peer", "family")
	descAdvertised = gauge("bgp_prefixes_advertised", "Prefixes that a peer was sent.", "peer", "family")
	descHeld       = gauge("bgp_prefixes_held", "Prefixes that are not announced because what they point at is not up.")
)

// Describe implements prometheus.Collector; the metrics are the same each time,
// so the collector describes itself by them.
func (o *observer) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBuild, descNetworks, descRevision, descApplied, descFailing, descListening, descUp, descFlaps,
		descSent, descReceived, descDesired, descAdvertised, descHeld,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (o *observer) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	send(descBuild, prometheus.GaugeValue, 1, api.Version, api.Commit)
	if objs, err := o.d.store.Snapshot(ctx); err == nil {
		send(descRevision, prometheus.GaugeValue, float64(objs.Revision()))
	}
	for _, t := range append(o.d.datapath.Status(), o.d.speaking.Status()...) {
		send(descApplied, prometheus.GaugeValue, float64(t.Applied), t.Target)
		send(descFailing, prometheus.GaugeValue, number(t.Err != nil), t.Target)
	}
	if host, err := o.d.view.host(ctx); err == nil {
		held := 0
		for _, e := range host.Exports {
			if e.Held != "" {
				held++
			}
		}
		send(descHeld, prometheus.GaugeValue, float64(held))
		send(descNetworks, prometheus.GaugeValue, float64(len(host.Link.Links)-len(host.Down)), "up")
		send(descNetworks, prometheus.GaugeValue, float64(len(host.Down)), "down")
	}
	send(descListening, prometheus.GaugeValue, number(len(o.d.parts.Speaker.Status().Listening) > 0))
	sessions, err := o.d.parts.Speaker.Sessions(ctx)
	if err != nil {
		return
	}
	for _, s := range sessions {
		peer := s.Peer.Addr.String()
		send(descUp, prometheus.GaugeValue, number(s.State == bgp.Established), peer, strconv.FormatUint(uint64(s.Peer.ASN), 10))
		send(descFlaps, prometheus.CounterValue, float64(s.Flaps), peer)
		send(descSent, prometheus.CounterValue, float64(s.UpdatesSent), peer)
		send(descReceived, prometheus.CounterValue, float64(s.UpdatesReceived), peer)
		for _, f := range s.Families {
			send(descDesired, prometheus.GaugeValue, float64(f.Desired), peer, string(f.Family))
			send(descAdvertised, prometheus.GaugeValue, float64(f.Advertised), peer, string(f.Family))
		}
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
