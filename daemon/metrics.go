package daemon

import (
	"bufio"
	"net"
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
	infoRequests = metric{"http_request_seconds", histogram, []string{"method", "path", "code"}, "Time to answer a request of the API, by the pattern of its path; of a websocket, the time until it is one."}
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
// not become labels; nor do methods that a client makes up.
func (m *metrics) request(r *http.Request, status int, start time.Time) {
	path := "other"
	if rt := mux.CurrentRoute(r); rt != nil {
		if t, err := rt.GetPathTemplate(); err == nil {
			path = t
		}
	}
	method := "other"
	switch r.Method {
	case http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
		method = r.Method
	}
	m.requests.WithLabelValues(method, path, strconv.Itoa(status)).Observe(time.Since(start).Seconds())
}

// measured counts the requests that a handler answers by itself. One that
// becomes a websocket is counted when it does, not when that ends.
func (m *metrics) measured(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start, upgraded := time.Now(), false
		rec := &recorder{ResponseWriter: w, status: http.StatusOK, upgraded: func() {
			upgraded = true
			m.request(r, http.StatusSwitchingProtocols, start)
		}}
		h(rec, r)
		if !upgraded {
			m.request(r, rec.status, start)
		}
	}
}

// A recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter

	status   int
	upgraded func() // called when the connection becomes something else
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Hijack implements http.Hijacker.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil {
		r.upgraded()
	}
	return conn, rw, err
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
	metrics := d.metrics.measured(d.metricsHandler)
	trusted := d.authorized(metrics)
	m := mux.NewRouter()
	m.HandleFunc("/1.0/metrics", func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			trusted.ServeHTTP(w, r)
			return
		}
		metrics(w, r)
	}).Methods(http.MethodGet)
	return d.recovered(m)
}

// metricsHandler is GET /1.0/metrics.
func (d *Daemon) metricsHandler(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(d.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}
