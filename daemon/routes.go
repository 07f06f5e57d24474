package daemon

import (
	"fmt"
	"io"
	"net/http"
)

// A route is one entry of the API.
type route struct {
	method, path string
	handle       handler
	raw          http.HandlerFunc // instead of handle, for what is not JSON
	doc          string           // what the reference says of it
}

// routes is the whole API.
func (d *Daemon) routes() []route {
	const get, put, post, patch, del = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete
	return []route{
		{method: get, path: "/", handle: d.getRoot, doc: "The versions of the API."},
		{method: get, path: "/1.0", handle: d.getServer, doc: "The daemon, its surroundings and its configuration (`Server`). Strangers get `auth: untrusted` and nothing else."},
		{method: put, path: "/1.0", handle: d.putServer, doc: "Replaces the configuration (`ServerPut`)."},
		{method: patch, path: "/1.0", handle: d.patchServer, doc: "Changes keys of the configuration (`ServerPut`); an empty value unsets."},
		{method: get, path: "/1.0/networks", handle: d.getNetworks, doc: "The networks: paths, or `Network` objects with `?recursion=1`; `?filter=` selects."},
		{method: post, path: "/1.0/networks", handle: d.postNetworks, doc: "Creates a network (`NetworksPost`)."},
		{method: get, path: "/1.0/networks/{name}", handle: d.getNetwork, doc: "A network (`Network`). Secrets are masked unless `?secrets=1` asks for them."},
		{method: put, path: "/1.0/networks/{name}", handle: d.putNetworkConfig, doc: "Replaces the configuration (`NetworkPut`); a masked secret stays as it is."},
		{method: patch, path: "/1.0/networks/{name}", handle: d.patchNetworkConfig, doc: "Changes keys of the configuration (`NetworkPatch`); an empty value unsets."},
		{method: post, path: "/1.0/networks/{name}", handle: d.postNetwork, doc: "Renames a network (`NetworkPost`): the bridge is made anew under the new name."},
		{method: del, path: "/1.0/networks/{name}", handle: d.deleteNetwork, doc: "Deletes a network. Its routes are withdrawn before its bridge goes."},
		{method: get, path: "/1.0/networks/{name}/state", handle: d.getNetworkState, doc: "The interface as the kernel has it now (`NetworkState`)."},
		{method: get, path: "/1.0/networks/{name}/leases", handle: d.getLeases, doc: "Addresses in use (`NetworkLease`): those of the bridge, and the leases given to clients."},
		{method: get, path: "/1.0/bgp", handle: d.getBGP, doc: "The speaker (`BGP`)."},
		{method: get, path: "/1.0/bgp/peers", handle: d.getPeers, doc: "The peers: paths, or `BGPPeer` objects with `?recursion=1`."},
		{method: get, path: "/1.0/bgp/peers/{address}", handle: d.getPeer, doc: "One peer (`BGPPeer`)."},
		{method: post, path: "/1.0/bgp/peers/{address}", handle: d.postPeer, doc: "`{\"action\": \"reset\"}` closes the session and lets it come back (`BGPPeerPost`)."},
		{method: get, path: "/1.0/bgp/routes", handle: d.getRoutes, doc: "Every prefix that should be announced, whether it is, why not, and what each peer was really sent (`BGPRoute`)."},
		{method: get, path: "/1.0/status", handle: d.getStatus, doc: "How far the host has followed the database (`Status`). With `?revision=R&timeout=S` it waits until every target has applied revision R, for S seconds at most."},
		{method: get, path: "/1.0/operations", handle: d.getOperations, doc: "What runs in the background, by status. Every write is synchronous, so this is empty."},
		{method: get, path: "/1.0/operations/{id}", handle: d.getOperation, doc: "One operation."},
		{method: get, path: "/1.0/operations/{id}/wait", handle: d.getOperation, doc: "One operation, once it has ended."},
		{method: get, path: "/1.0/metadata/configuration", handle: d.getMetadata, doc: "Every configuration key, as data."},
		{method: get, path: "/1.0/events", raw: d.getEvents, doc: "A websocket of events (`Event`); `?type=lifecycle,logging` selects."},
		{method: get, path: "/1.0/metrics", raw: d.metricsHandler, doc: "Metrics in Prometheus' text format."},
		{method: get, path: "/internal/ready", handle: d.getReady, doc: "200 once the host has been brought up to date after the start and sessions have begun, 503 before."},
		{method: put, path: "/internal/shutdown", handle: d.putShutdown, doc: "A full shutdown (`Shutdown`): answers when every route has been withdrawn."},
		{method: get, path: "/internal/testing/bgp", handle: d.getBGPDebug, doc: "The speaker in the shape of LXD's debug endpoint (`BGPDebug`)."},
	}
}

// writeReference writes the reference page of the API.
func writeReference(w io.Writer, routes []route) error {
	_, err := fmt.Fprint(w, `# REST API

The API listens on the unix socket `+"`unix.socket`"+` in the daemon's directory; root and
the members of the group given by `+"`--group`"+` may use it. The conventions are
LXD's: an envelope around every answer, `+"`ETag`"+` on objects and `+"`If-Match`"+` on writes
(412 when it does not match), PUT replaces and PATCH merges, an empty value
unsets a key. Types are those of the Go package `+"`api`"+`.

Every write answers with the header `+"`Netctl-Revision`"+`; `+"`GET /1.0/status`"+` tells when
the host has followed it. Errors are 400 (invalid), 403, 404, 409 (clash), 412,
413 (too large), 500, 501, 503 (try again) and 504, with a text that names the
key, the value and the object it clashes with. A body may have 1 MiB and a
request 60 seconds.

`+"```"+`
curl --unix-socket /var/lib/netctl/unix.socket http://netctl/1.0/networks?recursion=1
`+"```"+`

| request | what it does |
|---|---|
`)
	for _, r := range routes {
		if err != nil {
			break
		}
		_, err = fmt.Fprintf(w, "| `%s %s` | %s |\n", r.method, r.path, r.doc)
	}
	return err
}
