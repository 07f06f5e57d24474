package daemon

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what GET /1.0/metrics serves. What the daemon counts itself is
// kept here; the rest is read by an observer when it is asked for.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	panics   prometheus.Counter
	turns    *prometheus.HistogramVec
	failures *prometheus.CounterVec
}

// What the daemon counts itself. The reference lists it with what an observer
// reads.
var (
	infoRequests = metric{"http_request_seconds", histogram, []string{"method", "path", "code"}, "Time to answer a request of the API, by the pattern of its path."}
	infoPanics   = metric{"http_panics_total", counter, nil, "Handlers that panicked. Each is a bug, and is in the log."}
	infoTurns    = metric{"apply_seconds", histogram, []string{"target"}, "Time that a target took to apply the latest state; most turns find nothing to do."}
	infoFailures = metric{"apply_errors_total", counter, []string{"target"}, "Turns of a target that went wrong."}
)

func newMetrics(d *Daemon) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: infoRequests.histogram(.001, .002, .005, .01, .02, .05, .1, .5, 1, 5),
		panics:   prometheus.NewCounter(infoPanics.counter()),
		turns:    infoTurns.histogram(.0001, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 5),
		failures: prometheus.NewCounterVec(infoFailures.counter(), infoFailures.labels),
	}
	m.registry.MustRegister(m.requests, m.panics, m.turns, m.failures, &observer{d},
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

// applied counts one turn of a target.
func (m *metrics) applied(target string, took time.Duration, err error) {
	m.turns.WithLabelValues(target).Observe(took.Seconds())
	failed := m.failures.WithLabelValues(target) // there from the first turn on, so that a rate can be taken
	if err != nil {
		failed.Inc()
	}
}

// metricsSite is what is served at core.metrics_address. Over TLS it is for
// clients that are trusted, else for everybody: core.metrics_authentication
// decides between the two.
func (d *Daemon) metricsSite() http.Handler {
	trusted := d.authorized(http.HandlerFunc(d.metricsHandler))
	m := mux.NewRouter()
	m.HandleFunc("/1.0/metrics", func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			trusted.ServeHTTP(w, r)
			return
		}
		d.metricsHandler(w, r)
	}).Methods(http.MethodGet)
	return d.recovered(m)
}

// metricsHandler is GET /1.0/metrics.
func (d *Daemon) metricsHandler(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(d.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}
