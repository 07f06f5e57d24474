package daemon

import "net/http"

// routes is the whole API.
func (d *Daemon) routes() []route {
	return []route{
		{method: http.MethodGet, path: "/", handle: d.getRoot},
		{method: http.MethodGet, path: "/1.0", handle: d.getServer},
		{method: http.MethodPut, path: "/1.0", handle: d.putServer},
		{method: http.MethodPatch, path: "/1.0", handle: d.patchServer},
		{method: http.MethodGet, path: "/1.0/networks", handle: d.getNetworks},
		{method: http.MethodPost, path: "/1.0/networks", handle: d.postNetworks},
		{method: http.MethodGet, path: "/1.0/networks/{name}", handle: d.getNetwork},
		{method: http.MethodPut, path: "/1.0/networks/{name}", handle: d.putNetworkConfig},
		{method: http.MethodPatch, path: "/1.0/networks/{name}", handle: d.patchNetworkConfig},
		{method: http.MethodPost, path: "/1.0/networks/{name}", handle: d.postNetwork},
		{method: http.MethodDelete, path: "/1.0/networks/{name}", handle: d.deleteNetwork},
		{method: http.MethodGet, path: "/1.0/networks/{name}/state", handle: d.getNetworkState},
		{method: http.MethodGet, path: "/1.0/networks/{name}/leases", handle: d.getLeases},
		{method: http.MethodGet, path: "/1.0/bgp", handle: d.getBGP},
		{method: http.MethodGet, path: "/1.0/bgp/peers", handle: d.getPeers},
		{method: http.MethodGet, path: "/1.0/bgp/peers/{address}", handle: d.getPeer},
		{method: http.MethodPost, path: "/1.0/bgp/peers/{address}", handle: d.postPeer},
		{method: http.MethodGet, path: "/1.0/bgp/routes", handle: d.getRoutes},
		{method: http.MethodGet, path: "/1.0/status", handle: d.getStatus},
		{method: http.MethodGet, path: "/1.0/operations", handle: d.getOperations},
		{method: http.MethodGet, path: "/1.0/operations/{id}", handle: d.getOperation},
		{method: http.MethodGet, path: "/1.0/operations/{id}/wait", handle: d.getOperation},
		{method: http.MethodGet, path: "/1.0/metadata/configuration", handle: d.getMetadata},
		{method: http.MethodGet, path: "/1.0/events", raw: d.getEvents},
		{method: http.MethodGet, path: "/1.0/metrics", raw: d.metrics.handler().ServeHTTP},
		{method: http.MethodGet, path: "/internal/ready", handle: d.getReady},
		{method: http.MethodPut, path: "/internal/shutdown", handle: d.putShutdown},
		{method: http.MethodGet, path: "/internal/testing/bgp", handle: d.getBGPDebug},
	}
}
