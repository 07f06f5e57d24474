package daemon

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"netctl/api"
	"netctl/config"
)

//go:generate env UPDATE=1 go test -count=1 -run "Reference|OpenAPI" .

// A route is one entry of the API. The OpenAPI document is made from it, and
// the tests hold every request and answer to that.
type route struct {
	method, path string
	handle       handler
	raw          http.HandlerFunc // instead of handle, for what is not JSON
	media        string           // media type of what raw answers with; empty for a websocket
	query        string           // names of the parameters that it takes, see parameters
	in           any              // a value of the type of the body; nil for none
	out          any              // a value of the type of the metadata in the answer; nil for none
	created      bool             // the answer is 201 with a Location
	begins       bool             // the answer may be 202 with an operation that goes on
	patient      bool             // the answer takes as long as it takes
	limit        int64            // the longest body, in bytes; maxBody when zero
	doc          string           // what the reference says of it
}

// takes reports whether a route takes a query parameter.
func (r *route) takes(parameter string) bool {
	return slices.Contains(strings.Fields(r.query), parameter)
}

// parameters describes the query parameters of all routes.
var parameters = map[string]string{
	"dry-run":       "With `1`, a write changes nothing and answers with the `Plan` of what it would lead to.",
	"instance-type": "Selects instances of a type: `container` or `virtual-machine`.",
	"force":         "With `1`, an instance is deleted though it runs, which stops it first.",
	"filter":        "Selects objects, as in `name eq br0 and config.ipv4.nat ne true`.",
	"prefix":        "A prefix or an address.",
	"project":       "The project, which is always `default`.",
	"recursion":     "With `1`, a list holds objects instead of their paths; with `2`, instances with their state.",
	"revision":      "A revision of the database to wait for.",
	"secrets":       "With `1`, secrets are shown as they are.",
	"target":        "The member of the cluster that the request is for.",
	"timeout":       "How long to wait, in seconds.",
	"type":          "The types of events, separated by commas.",
}

// Parameters that many routes take.
const (
	scope      = "project target"
	writeScope = "dry-run " + scope
	listScope  = "filter recursion " + scope
)

// routes is the whole API.
func (d *Daemon) routes() []route {
	const get, put, post, patch, del = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete
	return []route{
		{method: get, path: "/", handle: d.getRoot, out: []string{}, doc: "The versions of the API."},
		{method: get, path: "/1.0", handle: d.getServer, query: scope, out: api.Server{}, doc: "The daemon, its surroundings and its configuration (`Server`). Strangers get `auth: untrusted` and nothing else."},
		{method: put, path: "/1.0", handle: d.putServer, query: writeScope, in: api.ServerPut{}, doc: "Replaces the configuration (`ServerPut`)."},
		{method: patch, path: "/1.0", handle: d.patchServer, query: writeScope, in: api.ServerPut{}, doc: "Changes keys of the configuration (`ServerPut`); an empty value unsets."},
		{method: get, path: "/1.0/networks", handle: d.getNetworks, query: listScope, out: []api.Network{}, doc: "The networks: paths, or `Network` objects with `?recursion=1`; `?filter=` selects."},
		{method: post, path: "/1.0/networks", handle: d.postNetworks, query: writeScope, in: api.NetworksPost{}, created: true, doc: "Creates a network (`NetworksPost`)."},
		{method: get, path: "/1.0/networks/{name}", handle: d.getNetwork, query: "secrets " + scope, out: api.Network{}, doc: "A network (`Network`). Secrets are masked unless `?secrets=1` asks for them."},
		{method: put, path: "/1.0/networks/{name}", handle: d.putNetworkConfig, query: writeScope, in: api.NetworkPut{}, doc: "Replaces the configuration (`NetworkPut`); a masked secret stays as it is."},
		{method: patch, path: "/1.0/networks/{name}", handle: d.patchNetworkConfig, query: writeScope, in: api.NetworkPatch{}, doc: "Changes keys of the configuration (`NetworkPatch`); an empty value unsets."},
		{method: post, path: "/1.0/networks/{name}", handle: d.postNetwork, query: writeScope, in: api.NetworkPost{}, created: true, doc: "Renames a network (`NetworkPost`): the bridge is made anew under the new name, so 409 while it has ports that are not netctl's, which would be lost."},
		{method: del, path: "/1.0/networks/{name}", handle: d.deleteNetwork, query: writeScope, doc: "Deletes a network, and its forwards. Its routes are withdrawn before its bridge goes."},
		{method: get, path: "/1.0/networks/{name}/state", handle: d.getNetworkState, query: scope, out: api.NetworkState{}, doc: "The interface as the kernel has it now (`NetworkState`)."},
		{method: get, path: "/1.0/networks/{name}/leases", handle: d.getLeases, query: scope, out: []api.NetworkLease{}, doc: "Addresses in use (`NetworkLease`): those of the bridge, the static ones of instances, and the leases given to clients."},
		{method: get, path: "/1.0/networks/{name}/forwards", handle: d.getForwards, query: listScope, out: []api.NetworkForward{}, doc: "The forwards of a network: paths, or `NetworkForward` objects with `?recursion=1`; `?filter=` selects."},
		{method: post, path: "/1.0/networks/{name}/forwards", handle: d.postForwards, query: writeScope, in: api.NetworkForwardsPost{}, created: true, doc: "Creates a forward (`NetworkForwardsPost`)."},
		{method: get, path: "/1.0/networks/{name}/forwards/{listen}", handle: d.getForward, query: scope, out: api.NetworkForward{}, doc: "A forward (`NetworkForward`)."},
		{method: put, path: "/1.0/networks/{name}/forwards/{listen}", handle: d.putForwardConfig, query: writeScope, in: api.NetworkForwardPut{}, doc: "Replaces a forward (`NetworkForwardPut`)."},
		{method: patch, path: "/1.0/networks/{name}/forwards/{listen}", handle: d.patchForwardConfig, query: writeScope, in: api.NetworkForwardPatch{}, doc: "Changes keys of a forward (`NetworkForwardPatch`); an empty value unsets, and `ports` are all replaced unless they are left out."},
		{method: del, path: "/1.0/networks/{name}/forwards/{listen}", handle: d.deleteForward, query: writeScope, doc: "Deletes a forward."},
		{method: get, path: "/1.0/instances", handle: d.getInstances, query: "instance-type " + listScope, out: []api.Instance{}, doc: "The instances: paths, `Instance` objects with `?recursion=1`, with their state too with `?recursion=2`; `?filter=` and `?instance-type=` select."},
		{method: post, path: "/1.0/instances", handle: d.postInstances, query: "instance-type " + writeScope, in: api.InstancesPost{}, begins: true, doc: "Creates an instance (`InstancesPost`), and starts it with `start`. As every write of an instance it begins an operation, which ends when the host has followed."},
		{method: get, path: "/1.0/instances/{name}", handle: d.getInstance, query: "recursion " + scope, out: api.Instance{}, doc: "An instance (`Instance`), with its state with `?recursion=1`."},
		{method: put, path: "/1.0/instances/{name}", handle: d.putInstanceConfig, query: writeScope, in: api.InstancePut{}, begins: true, doc: "Replaces the configuration and the devices (`InstancePut`), of a running instance too. What the daemon chose (`volatile.`) stays."},
		{method: patch, path: "/1.0/instances/{name}", handle: d.patchInstanceConfig, query: writeScope, in: api.InstancePatch{}, begins: true, doc: "Changes keys of the configuration, and devices, each as a whole (`InstancePatch`); an empty value unsets, and null removes a device."},
		{method: post, path: "/1.0/instances/{name}", handle: d.postInstance, query: writeScope, in: api.InstancePost{}, begins: true, doc: "Renames an instance that does not run (`InstancePost`)."},
		{method: del, path: "/1.0/instances/{name}", handle: d.deleteInstance, query: "force " + writeScope, begins: true, doc: "Deletes an instance that does not run, or any with `?force=1`."},
		{method: get, path: "/1.0/instances/{name}/state", handle: d.getInstanceState, query: scope, out: api.InstanceState{}, doc: "What there is of an instance on the host (`InstanceState`)."},
		{method: put, path: "/1.0/instances/{name}/state", handle: d.putInstanceState, query: writeScope, in: api.InstanceStatePut{}, begins: true, doc: "Starts, stops or restarts an instance (`InstanceStatePut`). The operation of a start ends when the NICs are in place; when that is not possible it fails, and the instance is stopped again. A stop withdraws the routes of the instance before its NICs go."},
		{method: get, path: "/1.0/instances/{name}/backups", handle: d.getInstanceNothing, query: "recursion " + scope, out: []string{}, doc: "As `snapshots`."},
		{method: get, path: "/1.0/instances/{name}/snapshots", handle: d.getInstanceNothing, query: "recursion " + scope, out: []string{}, doc: "Always empty, for clients that ask: netctl has nothing of an instance that a snapshot could be taken of."},
		{method: get, path: "/1.0/profiles", handle: d.getProfiles, query: "recursion " + scope, out: []api.Profile{}, doc: "The only profile, `default`, which is empty, for clients that ask."},
		{method: get, path: "/1.0/profiles/{name}", handle: d.getProfile, query: scope, out: api.Profile{}, doc: "That profile (`Profile`)."},
		{method: get, path: "/1.0/network-allocations", handle: d.getAllocations, query: "filter " + scope, out: []api.NetworkAllocation{}, doc: "Every address and prefix in use, by what, with NAT and MAC address (`NetworkAllocation`); `?filter=network eq br0` selects."},
		{method: get, path: "/1.0/network-acls", handle: d.getACLs, query: listScope, out: []api.NetworkACL{}, doc: "The network ACLs: paths, or `NetworkACL` objects with `?recursion=1`; `?filter=` selects."},
		{method: post, path: "/1.0/network-acls", handle: d.postACLs, query: writeScope, in: api.NetworkACLsPost{}, created: true, doc: "Creates a network ACL (`NetworkACLsPost`)."},
		{method: get, path: "/1.0/network-acls/{name}", handle: d.getACL, query: scope, out: api.NetworkACL{}, doc: "A network ACL (`NetworkACL`)."},
		{method: put, path: "/1.0/network-acls/{name}", handle: d.putACLConfig, query: writeScope, in: api.NetworkACLPut{}, doc: "Replaces a network ACL (`NetworkACLPut`)."},
		{method: patch, path: "/1.0/network-acls/{name}", handle: d.patchACLConfig, query: writeScope, in: api.NetworkACLPatch{}, doc: "Changes keys of a network ACL (`NetworkACLPatch`); an empty value unsets, and the rules of a direction are all replaced unless they are left out."},
		{method: post, path: "/1.0/network-acls/{name}", handle: d.postACL, query: writeScope, in: api.NetworkACLPost{}, created: true, doc: "Renames a network ACL that no network uses (`NetworkACLPost`)."},
		{method: del, path: "/1.0/network-acls/{name}", handle: d.deleteACL, query: writeScope, doc: "Deletes a network ACL that no network uses."},
		{method: get, path: "/1.0/bgp", handle: d.getBGP, out: api.BGP{}, doc: "The speaker (`BGP`)."},
		{method: get, path: "/1.0/bgp/peers", handle: d.getPeers, query: "recursion", out: []api.BGPPeer{}, doc: "The peers: paths, or `BGPPeer` objects with `?recursion=1`."},
		{method: get, path: "/1.0/bgp/peers/{address}", handle: d.getPeer, out: api.BGPPeer{}, doc: "One peer (`BGPPeer`)."},
		{method: patch, path: "/1.0/bgp/peers/{address}", handle: d.patchPeer, query: writeScope, in: api.BGPPeerPatch{}, doc: "Changes settings of a peer on every network that names it, all at once (`BGPPeerPatch`): `{\"config\": {\"password\": \"new\"}}`. The keys are those of networks without `bgp.peers.NAME.`, other than `address`; an empty value unsets."},
		{method: post, path: "/1.0/bgp/peers/{address}", handle: d.postPeer, in: api.BGPPeerPost{}, doc: "`{\"action\": \"reset\"}` closes the session and lets it come back (`BGPPeerPost`)."},
		{method: get, path: "/1.0/bgp/routes", handle: d.getRoutes, out: []api.BGPRoute{}, doc: "Every prefix that should be announced, whether it is, why not, and what each peer was really sent (`BGPRoute`)."},
		{method: get, path: "/1.0/bgp/explain", handle: d.getExplanation, query: "prefix", out: api.BGPExplanation{}, doc: "Why the prefix, or the one that the address belongs to, given as `?prefix=` is announced or not (`BGPExplanation`)."},
		{method: get, path: "/1.0/plan", handle: d.getPlan, out: api.Plan{}, doc: "What the host lacks of what is stored (`Plan`); empty when all is well. Any write with `?dry-run=1` answers with the plan of what it would store, and changes nothing."},
		{method: get, path: "/1.0/status", handle: d.getStatus, query: "revision timeout", out: api.Status{}, doc: "How far the host has followed the database (`Status`). With `?revision=R&timeout=S` it waits until every target has applied revision R, for S seconds at most."},
		{method: get, path: "/1.0/certificates", handle: d.getCertificates, query: listScope, out: []api.Certificate{}, doc: "The trust store: who may use the API over HTTPS. Paths, or `Certificate` objects with `?recursion=1`."},
		{method: post, path: "/1.0/certificates", handle: d.postCertificates, query: writeScope, in: api.CertificatesPost{}, created: true, begins: true, doc: "Adds a certificate (`CertificatesPost`). With `token`, it begins an operation that stands for a token instead (`TokenMetadata`), with which one stranger can add the certificate that it shows; the token is good once, until it expires (`core.remote_token_expiry`) or the daemon restarts."},
		{method: get, path: "/1.0/certificates/{fingerprint}", handle: d.getCertificate, query: scope, out: api.Certificate{}, doc: "A certificate (`Certificate`); the beginning of the fingerprint is enough when there is no other."},
		{method: put, path: "/1.0/certificates/{fingerprint}", handle: d.putCertificate, query: writeScope, in: api.CertificatePut{}, doc: "Replaces the name and what the client may do (`CertificatePut`)."},
		{method: patch, path: "/1.0/certificates/{fingerprint}", handle: d.patchCertificate, query: writeScope, in: api.CertificatePatch{}, doc: "Changes the name or what the client may do (`CertificatePatch`)."},
		{method: del, path: "/1.0/certificates/{fingerprint}", handle: d.deleteCertificate, query: writeScope, doc: "Takes a certificate out of the trust store. What is under way with it ends."},
		{method: get, path: "/1.0/projects", handle: d.getProjects, query: "recursion", out: []api.Project{}, doc: "The only project, `default`, for clients that ask."},
		{method: get, path: "/1.0/projects/{name}", handle: d.getProject, out: api.Project{}, doc: "That project (`Project`)."},
		{method: get, path: "/1.0/operations", handle: d.getOperations, query: "recursion " + scope, out: map[string][]api.Operation{}, doc: "What goes on in the background, by status: paths, or `Operation` objects with `?recursion=1`. An operation can be read for 5 seconds after its end."},
		{method: get, path: "/1.0/operations/{id}", handle: d.getOperation, query: scope, out: api.Operation{}, doc: "One operation (`Operation`)."},
		{method: del, path: "/1.0/operations/{id}", handle: d.deleteOperation, query: scope, doc: "Cancels an operation: nobody can use a token any more."},
		{method: get, path: "/1.0/operations/{id}/wait", handle: d.waitOperation, patient: true, query: "timeout " + scope, out: api.Operation{}, doc: "One operation (`Operation`), once it has ended, or after `?timeout=` seconds as it is then."},
		{method: get, path: "/1.0/metadata/configuration", handle: d.getMetadata, out: config.Metadata{}, doc: "Every configuration key, as data."},
		{method: get, path: "/1.0/openapi", raw: getOpenAPI, media: openAPIMedia, doc: "This API as an OpenAPI 3 document."},
		{method: get, path: "/1.0/events", raw: d.getEvents, query: "type", doc: "A websocket of events (`Event`); `?type=lifecycle,logging` selects."},
		{method: get, path: "/1.0/metrics", raw: d.metricsHandler, media: "text/plain", doc: "Metrics in Prometheus' text format."},
		{method: get, path: "/internal/ready", handle: d.getReady, doc: "200 once the host has been brought up to date after the start and sessions have begun, 503 before."},
		{method: put, path: "/internal/shutdown", handle: d.putShutdown, in: api.Shutdown{}, doc: "A full shutdown (`Shutdown`): answers when every route has been withdrawn."},
		{method: put, path: "/internal/database", handle: d.putDatabase, limit: maxDatabase, in: api.Database{}, out: api.Restored{}, doc: "Makes what is stored that of a backup (`Database`), as one write; for `netctld db restore`."},
		{method: get, path: "/internal/testing/bgp", handle: d.getBGPDebug, out: api.BGPDebug{}, doc: "The speaker in the shape of LXD's debug endpoint (`BGPDebug`)."},
	}
}

// writeReference writes the reference page of the API.
func writeReference(w io.Writer, routes []route) error {
	_, err := fmt.Fprint(w, `# REST API

The API listens on the unix socket `+"`unix.socket`"+` in the daemon's directory; root and
the members of the group given by `+"`--group`"+` may use it. With `+"`core.https_address`"+` it
is served over HTTPS too, TLS 1.3, to clients whose certificate is in the trust
store; a restricted certificate may only read, and no secrets. Strangers may
read `+"`/`"+` and `+"`/1.0`"+`, and send a token to `+"`/1.0/certificates`"+`. The conventions are
LXD's: an envelope around every answer, `+"`ETag`"+` on objects and `+"`If-Match`"+` on writes
(412 when it does not match), PUT replaces and PATCH merges, an empty value
unsets a key. Types are those of the Go package `+"`api`"+`;
[openapi.yaml](openapi.yaml) describes all of it for programs, and is served at
`+"`/1.0/openapi`"+`.

Every write answers with the header `+"`Netctl-Revision`"+`; `+"`GET /1.0/status`"+` tells when
the host has followed it. Errors are 400 (invalid), 403, 404, 409 (clash), 412,
413 (too large), 429 (too many wrong tokens), 500, 501, 503 (try again) and 504, with a text that names the
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
