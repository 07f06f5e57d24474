package daemon

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"netctl/api"
)

// Limits of one request.
const (
	maxBody       = 1 << 20
	maxHeader     = 64 << 10
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second
	handleTimeout = 60 * time.Second
	idleTimeout   = 5 * time.Minute
)

// A reply is what a handler answers with.
type reply struct {
	status   int    // 200 when zero
	location string // of what was created
	revision int64  // of the database; 0 when it does not matter
	etag     any    // what the ETag is computed from; nil for none
	metadata any

	operation *api.Operation // that goes on after this answer; nil when all is done
}

// A handler answers one request. An error is turned into an error envelope.
type handler func(*http.Request) (reply, error)

// router builds the HTTP handler of the whole API from its routes.
func (d *Daemon) router() http.Handler {
	m := mux.NewRouter().UseEncodedPath()
	for _, r := range d.routes() {
		handle := r.handle
		if r.takes("project") {
			handle = scoped(handle)
		}
		if r.method != http.MethodGet && !r.takes("dry-run") {
			handle = unrehearsed(handle)
		}
		h := d.envelope(handle, !r.patient, cmp.Or(r.limit, maxBody))
		if r.raw != nil {
			h = d.metrics.measured(r.raw)
		}
		m.HandleFunc(r.path, h).Methods(r.method)
	}
	m.NotFoundHandler = d.envelope(func(r *http.Request) (reply, error) {
		return reply{}, api.Errorf(api.NotFound, "no such path: %s", r.URL.Path)
	}, true, maxBody)
	m.MethodNotAllowedHandler = d.envelope(func(r *http.Request) (reply, error) {
		return reply{}, api.Errorf(api.NotImplemented, "%s is not supported on %s", r.Method, r.URL.Path)
	}, true, maxBody)
	return d.recovered(d.authorized(m))
}

// recovered answers 500 when a handler panics; everything else goes on.
func (d *Daemon) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				d.metrics.panics.Inc()
				d.log.Error("handler panicked", "path", r.URL.Path, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
				writeError(w, &api.Error{Code: api.Internal, Message: "internal error (the handler panicked; see the daemon's log)"})
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// envelope runs a handler under the limits and wraps its answer.
func (d *Daemon) envelope(h handler, timed bool, limit int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if timed {
			ctx, cancel := context.WithTimeout(r.Context(), handleTimeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		start := time.Now()
		var rep reply
		// What is not understood would be passed over, a dry run among it.
		_, err := url.ParseQuery(r.URL.RawQuery)
		if err == nil {
			rep, err = h(r)
		} else {
			err = api.Errorf(api.Invalid, "query: %w", err)
		}
		if err != nil {
			e := d.explain(r, err)
			d.metrics.request(r, api.HTTPStatus[e.Code], start)
			writeError(w, e)
			return
		}
		if rep.operation != nil {
			rep.status, rep.location, rep.metadata = http.StatusAccepted, operationURL(rep.operation.ID), rep.operation
		}
		if rep.status == 0 {
			rep.status = http.StatusOK
		}
		d.metrics.request(r, rep.status, start)
		writeReply(w, rep)
	}
}

// explain turns any error into one for the client. What is not meant for it is
// logged under a number that the client is given.
func (d *Daemon) explain(r *http.Request, err error) *api.Error {
	if why, ok := errors.AsType[*api.Error](context.Cause(r.Context())); ok {
		return why // the request was ended from here
	}
	if e, ok := classify(err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return &api.Error{Code: api.Timeout, Message: "the client did not wait for the answer", Err: err}
	}
	id := d.requestID.Add(1)
	d.log.Error("request failed", "request", id, "method", r.Method, "path", r.URL.Path, "err", err)
	return &api.Error{Code: api.Internal, Message: fmt.Sprintf("internal error (request %d; see the daemon's log)", id)}
}

func writeReply(w http.ResponseWriter, rep reply) {
	if rep.location != "" {
		w.Header().Set("Location", rep.location)
	}
	if rep.revision != 0 {
		w.Header().Set(api.HeaderRevision, strconv.FormatInt(rep.revision, 10))
	}
	if rep.etag != nil {
		w.Header().Set("ETag", etag(rep.etag))
	}
	meta, err := json.Marshal(rep.metadata)
	if err != nil {
		writeError(w, &api.Error{Code: api.Internal, Message: "internal error: " + err.Error()})
		return
	}
	env := api.Envelope{Type: api.TypeSync, StatusCode: api.StatusSuccess, Metadata: meta}
	if rep.operation != nil {
		env.Type, env.StatusCode, env.Operation = api.TypeAsync, api.StatusCreated, rep.location
	}
	env.Status = api.StatusText(env.StatusCode)
	writeJSON(w, rep.status, env)
}

func writeError(w http.ResponseWriter, e *api.Error) {
	status := api.HTTPStatus[e.Code]
	writeJSON(w, status, api.Envelope{Type: api.TypeError, ErrorCode: status, Error: e.Message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}

// etag returns the ETag of an object: a digest of its JSON.
func etag(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // only strings and maps of strings get here
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// ifMatch refuses a write whose If-Match names another version of the object.
func ifMatch(r *http.Request, current any) error {
	want := r.Header.Get("If-Match")
	if want == "" || want == "*" {
		return nil
	}
	have := etag(current)
	for tag := range strings.SplitSeq(want, ",") {
		if strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`) == have {
			return nil
		}
	}
	return api.Errorf(api.Precondition, "ETag doesn't match: %s has changed since it was read; read it again", r.URL.Path)
}

// body decodes the JSON body of a request into v. Fields that v does not have
// are ignored, since clients send back what they have read; anything that is
// not one JSON value is an error. An empty body, or null, leaves v as it is; where it would
// replace an object by nothing it is an error.
func body(r *http.Request, v any) error {
	empty, err := anyBody(r, v)
	if err == nil && empty && r.Method == http.MethodPut {
		return api.Errorf(api.Invalid, "request body: empty")
	}
	return err
}

// anyBody is body for requests that need none. It reports whether there was
// none.
func anyBody(r *http.Request, v any) (empty bool, err error) {
	b, err := io.ReadAll(r.Body)
	switch tooLarge := (*http.MaxBytesError)(nil); {
	case errors.As(err, &tooLarge):
		return false, err
	case err != nil: // the client has hung up, or takes too long
		return false, api.Errorf(api.Invalid, "request body: %w", err)
	}
	if s := string(bytes.TrimSpace(b)); s == "" || s == "null" {
		return true, nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, api.Errorf(api.Invalid, "request body: %w", err)
	}
	return false, nil
}

// pathVar returns a variable of the path, decoded.
func pathVar(r *http.Request, name string) (string, error) {
	return unescape(mux.Vars(r)[name])
}

// queryInt returns a number from the query, or def when it is not there.
func queryInt(r *http.Request, name string, def int64) (int64, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return def, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, api.Errorf(api.Invalid, "%s=%s: not a number", name, s)
	}
	return n, nil
}

// recursive reports whether a list should hold objects instead of paths.
func recursive(r *http.Request) bool {
	s := r.URL.Query().Get("recursion")
	return s != "" && s != "0"
}

// scoped is the handler h of a request for a project and a member. It refuses
// those that we do not have.
func scoped(h handler) handler {
	return func(r *http.Request) (reply, error) {
		q := r.URL.Query()
		if p := q.Get("project"); p != "" && p != "default" {
			return reply{}, api.Errorf(api.NotFound, "project %q not found: there is only \"default\"", p)
		}
		if t := q.Get("target"); t != "" && t != member {
			return reply{}, api.Errorf(api.NotFound, "member %q not found: this server is not clustered, leave target away", t)
		}
		return h(r)
	}
}
