package client_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"netctl/api"
	"netctl/client"
)

// Create a network, and wait until it is in place and announced.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := client.Unix(exampleSocket())
	defer c.Close()
	rev, err := c.CreateNetwork(ctx, api.NetworksPost{Name: "br0", Config: map[string]string{
		"ipv4.address":          "198.51.100.1/24",
		"ipv6.address":          "none",
		"bgp.peers.tor.address": "192.0.2.1",
		"bgp.peers.tor.asn":     "65000",
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.WaitApplied(ctx, rev, 10*time.Second); err != nil {
		fmt.Println(err) // names what lags, and why
		return
	}
	fmt.Println("in place at revision", rev)
	// Output: in place at revision 7
}

// Change a network only if nobody else has since it was read.
func ExampleClient_PatchNetwork() {
	ctx := context.Background()
	c := client.Unix(exampleSocket())
	defer c.Close()
	n, etag, err := c.Network(ctx, "br0")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(n.Config["ipv4.address"])
	_, err = c.PatchNetwork(ctx, "br0", api.NetworkPatch{Config: map[string]string{"bridge.mtu": "1400"}}, etag)
	fmt.Println(api.ErrorCode(err) == api.Precondition, err)
	// Output:
	// 198.51.100.1/24
	// true ETag doesn't match: /1.0/networks/br0 has changed since it was read; read it again
}

// See what a write would lead to, without doing it.
func ExampleClient_DryRun() {
	c := client.Unix(exampleSocket()).DryRun(func(p api.Plan) error {
		for _, change := range p.Members[0].Changes {
			fmt.Println(change.Target, change.Command)
		}
		return nil
	})
	defer c.Close()
	if _, err := c.DeleteNetwork(context.Background(), "br0", ""); err != nil {
		fmt.Println(err)
	}
	// Output: link ip link del br0
}

// Send what arrives for an address to instances, some ports elsewhere.
func ExampleClient_CreateNetworkForward() {
	c := client.Unix(exampleSocket())
	defer c.Close()
	rev, err := c.CreateNetworkForward(context.Background(), "br0", api.NetworkForwardsPost{
		ListenAddress: "198.51.100.7",
		Config:        map[string]string{"target_address": "10.0.0.10"},
		Ports:         []api.NetworkForwardPort{{Protocol: "tcp", ListenPort: "80,443", TargetAddress: "10.0.0.11"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("stored as revision", rev)
	// Output: stored as revision 7
}

// Let web traffic in, and have a network use that.
func ExampleClient_CreateNetworkACL() {
	ctx := context.Background()
	c := client.Unix(exampleSocket())
	defer c.Close()
	_, err := c.CreateNetworkACL(ctx, api.NetworkACLsPost{
		Name:    "web",
		Ingress: []api.NetworkACLRule{{Action: "allow", State: "enabled", Protocol: "tcp", DestinationPort: "80,443"}},
		Egress:  []api.NetworkACLRule{{Action: "allow", State: "enabled"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.PatchNetwork(ctx, "br1", api.NetworkPatch{Config: map[string]string{"security.acls": "web"}}, "")
	fmt.Println(err)
	// Output: <nil>
}

// Find out who has an address.
func ExampleClient_NetworkAllocations() {
	c := client.Unix(exampleSocket())
	defer c.Close()
	all, err := c.NetworkAllocations(context.Background(), "br0")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range all {
		fmt.Println(a.Address, a.Type, a.UsedBy, a.Key)
	}
	// Output: 198.51.100.7/32 network-forward /1.0/networks/br0/forwards/198.51.100.7 listen_address
}

// Create an instance whose address is announced while it runs, and start it.
func ExampleClient_CreateInstance() {
	ctx := context.Background()
	c := client.Unix(exampleSocket())
	defer c.Close()
	task, err := c.CreateInstance(ctx, api.InstancesPost{
		Name: "web", Type: api.Container, Start: true,
		Devices: map[string]map[string]string{
			"eth0": {"network": "br0", "ipv4.address": "198.51.100.10", "ipv4.routes.external": "203.0.113.7/32"},
		},
	})
	if err != nil {
		fmt.Println(err) // it was not created
		return
	}
	if err := task.Wait(ctx); err != nil {
		fmt.Println(err) // it was created, and is stopped
		return
	}
	s, err := c.InstanceState(ctx, "web")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Status, "in", s.Netns)
	// Output: Running in /run/netns/web
}

// Stop an instance. The operation ends when its routes have been withdrawn and
// its NICs are gone.
func ExampleClient_SetInstanceState() {
	ctx := context.Background()
	c := client.Unix(exampleSocket())
	defer c.Close()
	task, err := c.SetInstanceState(ctx, "web", api.InstanceStatePut{Action: "stop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(task.Operation.Description, task.Wait(ctx))
	// Output: Stopping instance <nil>
}

// exampleSocket is where a daemon with canned answers listens.
func exampleSocket() string {
	dir, err := os.MkdirTemp("", "netctl")
	if err != nil {
		panic(err)
	}
	path := filepath.Join(dir, "unix.socket")
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
	if err != nil {
		panic(err)
	}
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(api.HeaderRevision, "7")
			w.Header().Set("ETag", "abc")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	m := http.NewServeMux()
	m.HandleFunc("POST /1.0/networks", answer(201, `{"type":"sync","metadata":null}`))
	m.HandleFunc("GET /1.0/networks/br0", answer(200, `{"type":"sync","metadata":{"name":"br0","config":{"ipv4.address":"198.51.100.1/24"}}}`))
	m.HandleFunc("PATCH /1.0/networks/br0", answer(412, `{"type":"error","error_code":412,"error":"ETag doesn't match: /1.0/networks/br0 has changed since it was read; read it again"}`))
	m.HandleFunc("DELETE /1.0/networks/br0", answer(200, `{"type":"sync","metadata":{"members":[{"changes":[{"target":"link","command":"ip link del br0"}]}]}}`))
	m.HandleFunc("POST /1.0/networks/br0/forwards", answer(201, `{"type":"sync","metadata":null}`))
	m.HandleFunc("POST /1.0/network-acls", answer(201, `{"type":"sync","metadata":null}`))
	m.HandleFunc("PATCH /1.0/networks/br1", answer(200, `{"type":"sync","metadata":null}`))
	m.HandleFunc("GET /1.0/network-allocations", answer(200, `{"type":"sync","metadata":[{"addresses":"198.51.100.7/32","type":"network-forward",
		"used_by":"/1.0/networks/br0/forwards/198.51.100.7","network":"br0","key":"listen_address"}]}`))
	begun := func(what string) http.HandlerFunc {
		return answer(202, `{"type":"async","metadata":{"id":"1","status_code":103,"description":"`+what+`"}}`)
	}
	m.HandleFunc("POST /1.0/instances", begun("Creating instance"))
	m.HandleFunc("PUT /1.0/instances/web/state", begun("Stopping instance"))
	m.HandleFunc("GET /1.0/instances/web/state", answer(200, `{"type":"sync","metadata":{"status":"Running","netns":"/run/netns/web"}}`))
	m.HandleFunc("GET /1.0/operations/1/wait", answer(200, `{"type":"sync","metadata":{"id":"1","status_code":200}}`))
	m.HandleFunc("GET /1.0/status", answer(200, `{"type":"sync","metadata":{"revision":7,"applied":7,"targets":[]}}`))
	go func() { _ = (&http.Server{Handler: m, ReadHeaderTimeout: time.Second}).Serve(l) }()
	return path
}
