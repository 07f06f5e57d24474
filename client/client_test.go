package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netctl/api"
)

// serve answers requests on a unix socket with handle and returns a client.
func serve(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "unix.socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: handle}}
	s.Start()
	t.Cleanup(s.Close)
	c := Unix(path)
	t.Cleanup(c.Close)
	return c
}

// answerWith writes an envelope around metadata.
func answerWith(w http.ResponseWriter, metadata string) {
	fmt.Fprintf(w, `{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":%s}`, metadata)
}

// TestRequests holds every method to what it sends.
func TestRequests(t *testing.T) {
	t.Parallel()
	peer := netip.MustParseAddr("2001:db8::1")
	text := "new"
	for name, test := range map[string]struct {
		call   func(ctx context.Context, c *Client) (any, error)
		want   string // method, URL, If-Match and body
		answer string // metadata
		result any
	}{
		"Server": {
			func(ctx context.Context, c *Client) (any, error) {
				s, etag, err := c.Server(ctx)
				return s.Auth + " " + etag, err
			},
			"GET /1.0", `{"auth":"trusted"}`, "trusted tag",
		},
		"UpdateServer": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.UpdateServer(ctx, api.ServerPut{Config: map[string]string{"a": "b"}}, "x")
			},
			`PUT /1.0 If-Match:x {"config":{"a":"b"}}`, `null`, int64(7),
		},
		"PatchServer": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.PatchServer(ctx, api.ServerPut{Config: map[string]string{"a": ""}}, "")
			},
			`PATCH /1.0 {"config":{"a":""}}`, `null`, int64(7),
		},
		"Networks": {
			func(ctx context.Context, c *Client) (any, error) { v, err := c.Networks(ctx); return len(v), err },
			"GET /1.0/networks?recursion=1", `[{"name":"br0"},{"name":"br1"}]`, 2,
		},
		"Network": {
			func(ctx context.Context, c *Client) (any, error) {
				n, tag, err := c.Network(ctx, "a/b?")
				return n.Name + tag, err
			},
			"GET /1.0/networks/a%2Fb%3F", `{"name":"br0"}`, "br0tag",
		},
		"NetworkForwards": {
			func(ctx context.Context, c *Client) (any, error) {
				v, err := c.NetworkForwards(ctx, "br0")
				return len(v), err
			},
			"GET /1.0/networks/br0/forwards?recursion=1", `[{"listen_address":"192.0.2.1"}]`, 1,
		},
		"NetworkForward": {
			func(ctx context.Context, c *Client) (any, error) {
				f, tag, err := c.NetworkForward(ctx, "br0", peer)
				return f.ListenAddress + " " + tag, err
			},
			"GET /1.0/networks/br0/forwards/2001:db8::1", `{"listen_address":"2001:db8::1"}`, "2001:db8::1 tag",
		},
		"CreateNetworkForward": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.CreateNetworkForward(ctx, "br0", api.NetworkForwardsPost{ListenAddress: "192.0.2.1"})
			},
			`POST /1.0/networks/br0/forwards {"description":"","config":null,"ports":null,"listen_address":"192.0.2.1"}`, `null`, int64(7),
		},
		"UpdateNetworkForward": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.UpdateNetworkForward(ctx, "br0", peer, api.NetworkForwardPut{Description: "d"}, "x")
			},
			`PUT /1.0/networks/br0/forwards/2001:db8::1 If-Match:x {"description":"d","config":null,"ports":null}`, `null`, int64(7),
		},
		"PatchNetworkForward": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.PatchNetworkForward(ctx, "br0", peer, api.NetworkForwardPatch{Description: &text}, "")
			},
			`PATCH /1.0/networks/br0/forwards/2001:db8::1 {"description":"new"}`, `null`, int64(7),
		},
		"DeleteNetworkForward": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.DeleteNetworkForward(ctx, "br0", peer, "x")
			},
			"DELETE /1.0/networks/br0/forwards/2001:db8::1 If-Match:x", `null`, int64(7),
		},
		"NetworkACLs": {
			func(ctx context.Context, c *Client) (any, error) { v, err := c.NetworkACLs(ctx); return len(v), err },
			"GET /1.0/network-acls?recursion=1", `[{"name":"web"}]`, 1,
		},
		"NetworkACL": {
			func(ctx context.Context, c *Client) (any, error) {
				a, tag, err := c.NetworkACL(ctx, "web")
				return a.Name + " " + tag, err
			},
			"GET /1.0/network-acls/web", `{"name":"web"}`, "web tag",
		},
		"CreateNetworkACL": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.CreateNetworkACL(ctx, api.NetworkACLsPost{Name: "web", Egress: []api.NetworkACLRule{{Action: "drop", State: "logged"}}})
			},
			`POST /1.0/network-acls {"name":"web","description":"","config":null,"ingress":null,"egress":[{"action":"drop","state":"logged"}]}`, `null`, int64(7),
		},
		"UpdateNetworkACL": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.UpdateNetworkACL(ctx, "web", api.NetworkACLPut{Description: "d"}, "x")
			},
			`PUT /1.0/network-acls/web If-Match:x {"description":"d","config":null,"ingress":null,"egress":null}`, `null`, int64(7),
		},
		"PatchNetworkACL": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.PatchNetworkACL(ctx, "web", api.NetworkACLPatch{Description: &text}, "")
			},
			`PATCH /1.0/network-acls/web {"description":"new"}`, `null`, int64(7),
		},
		"RenameNetworkACL": {
			func(ctx context.Context, c *Client) (any, error) { return c.RenameNetworkACL(ctx, "web", "www") },
			`POST /1.0/network-acls/web {"name":"www"}`, `null`, int64(7),
		},
		"DeleteNetworkACL": {
			func(ctx context.Context, c *Client) (any, error) { return c.DeleteNetworkACL(ctx, "web", "x") },
			"DELETE /1.0/network-acls/web If-Match:x", `null`, int64(7),
		},
		"NetworkAllocations": {
			func(ctx context.Context, c *Client) (any, error) {
				v, err := c.NetworkAllocations(ctx, "")
				return len(v), err
			},
			"GET /1.0/network-allocations", `[{"addresses":"192.0.2.1/24"}]`, 1,
		},
		"NetworkAllocations of one": {
			func(ctx context.Context, c *Client) (any, error) {
				v, err := c.NetworkAllocations(ctx, "br0")
				return len(v), err
			},
			"GET /1.0/network-allocations?filter=network+eq+%22br0%22", `[]`, 0,
		},
		"Target": {
			func(ctx context.Context, c *Client) (any, error) {
				n, _, err := c.Target("h&1").Network(ctx, "br0")
				return n.Name, err
			},
			"GET /1.0/networks/br0?target=h%261", `{"name":"br0"}`, "br0",
		},
		"CreateNetwork": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.CreateNetwork(ctx, api.NetworksPost{Name: "br0"})
			},
			`POST /1.0/networks {"name":"br0","type":"","description":"","config":null}`, `null`, int64(7),
		},
		"UpdateNetwork": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.UpdateNetwork(ctx, "br0", api.NetworkPut{Description: "d"}, "x")
			},
			`PUT /1.0/networks/br0 If-Match:x {"description":"d","config":null}`, `null`, int64(7),
		},
		"PatchNetwork": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.PatchNetwork(ctx, "br0", api.NetworkPatch{Description: &text}, "x")
			},
			`PATCH /1.0/networks/br0 If-Match:x {"description":"new"}`, `null`, int64(7),
		},
		"RenameNetwork": {
			func(ctx context.Context, c *Client) (any, error) { return c.RenameNetwork(ctx, "br0", "br1") },
			`POST /1.0/networks/br0 {"name":"br1"}`, `null`, int64(7),
		},
		"DeleteNetwork": {
			func(ctx context.Context, c *Client) (any, error) { return c.DeleteNetwork(ctx, "br0", "x") },
			`DELETE /1.0/networks/br0 If-Match:x`, `null`, int64(7),
		},
		"NetworkState": {
			func(ctx context.Context, c *Client) (any, error) {
				v, err := c.NetworkState(ctx, "br0")
				return v.MTU, err
			},
			"GET /1.0/networks/br0/state", `{"mtu":1500}`, 1500,
		},
		"Certificates": {
			func(ctx context.Context, c *Client) (any, error) { v, err := c.Certificates(ctx); return len(v), err },
			"GET /1.0/certificates?recursion=1", `[{"name":"a"}]`, 1,
		},
		"Certificate": {
			func(ctx context.Context, c *Client) (any, error) {
				v, tag, err := c.Certificate(ctx, "ab12")
				return v.Name + tag, err
			},
			"GET /1.0/certificates/ab12", `{"name":"a"}`, "atag",
		},
		"CreateCertificate": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.CreateCertificate(ctx, api.CertificatesPost{TrustToken: "t"})
			},
			`POST /1.0/certificates {"name":"","type":"","restricted":false,"projects":null,"certificate":"","token":false,"trust_token":"t"}`, `null`, int64(7),
		},
		"CreateToken": {
			func(ctx context.Context, c *Client) (any, error) {
				t, err := c.CreateToken(ctx, api.CertificatesPost{Name: "a"})
				return t.ClientName + t.Secret, err
			},
			`POST /1.0/certificates {"name":"a","type":"","restricted":false,"projects":null,"certificate":"","token":true}`,
			`{"class":"token","metadata":{"secret":"s","request":{"name":"a"}}}`, "as",
		},
		"UpdateCertificate": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.UpdateCertificate(ctx, "ab", api.CertificatePut{Name: "b"}, "x")
			},
			`PUT /1.0/certificates/ab If-Match:x {"name":"b","type":"","restricted":false,"projects":null,"certificate":""}`, `null`, int64(7),
		},
		"PatchCertificate": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.PatchCertificate(ctx, "ab", api.CertificatePatch{Name: &text}, "x")
			},
			`PATCH /1.0/certificates/ab If-Match:x {"name":"new"}`, `null`, int64(7),
		},
		"DeleteCertificate": {
			func(ctx context.Context, c *Client) (any, error) { return c.DeleteCertificate(ctx, "ab", "x") },
			`DELETE /1.0/certificates/ab If-Match:x`, `null`, int64(7),
		},
		"WaitOperation": {
			func(ctx context.Context, c *Client) (any, error) {
				op, err := c.WaitOperation(ctx, "1", 1500*time.Millisecond)
				return op.Status, err
			},
			"GET /1.0/operations/1/wait?timeout=2", `{"status":"Running"}`, "Running",
		},
		"WaitOperation for ever": {
			func(ctx context.Context, c *Client) (any, error) {
				op, err := c.WaitOperation(ctx, "1", -1)
				return op.Status, err
			},
			"GET /1.0/operations/1/wait?timeout=-1", `{"status":"Success"}`, "Success",
		},
		"CancelOperation": {
			func(ctx context.Context, c *Client) (any, error) { return nil, c.CancelOperation(ctx, "1") },
			"DELETE /1.0/operations/1", `null`, nil,
		},
		"NetworkLeases": {
			func(ctx context.Context, c *Client) (any, error) {
				v, err := c.NetworkLeases(ctx, "br0")
				return len(v), err
			},
			"GET /1.0/networks/br0/leases", `[{}]`, 1,
		},
		"BGP": {
			func(ctx context.Context, c *Client) (any, error) { v, err := c.BGP(ctx); return v.ASN, err },
			"GET /1.0/bgp", `{"asn":65000}`, uint32(65000),
		},
		"BGPPeers": {
			func(ctx context.Context, c *Client) (any, error) { v, err := c.BGPPeers(ctx); return len(v), err },
			"GET /1.0/bgp/peers?recursion=1", `[{}]`, 1,
		},
		"BGPPeer": {
			func(ctx context.Context, c *Client) (any, error) {
				v, _, err := c.BGPPeer(ctx, peer)
				return v.State, err
			},
			"GET /1.0/bgp/peers/2001:db8::1", `{"state":"idle"}`, "idle",
		},
		"PatchBGPPeer": {
			func(ctx context.Context, c *Client) (any, error) {
				return c.PatchBGPPeer(ctx, peer, api.BGPPeerPatch{Config: map[string]string{"password": "new"}}, "t1")
			},
			`PATCH /1.0/bgp/peers/2001:db8::1 If-Match:t1 {"config":{"password":"new"}}`, `null`, int64(7),
		},
		"ResetBGPPeer": {
			func(ctx context.Context, c *Client) (any, error) { return nil, c.ResetBGPPeer(ctx, peer) },
			`POST /1.0/bgp/peers/2001:db8::1 {"action":"reset"}`, `null`, nil,
		},
		"BGPRoutes": {
			func(ctx context.Context, c *Client) (any, error) { v, err := c.BGPRoutes(ctx); return len(v), err },
			"GET /1.0/bgp/routes?recursion=1", `[{},{}]`, 2,
		},
		"BGPDebug": {
			func(ctx context.Context, c *Client) (any, error) { v, err := c.BGPDebug(ctx); return v.Server.ASN, err },
			"GET /internal/testing/bgp", `{"server":{"asn":1}}`, uint32(1),
		},
		"Status": {
			func(ctx context.Context, c *Client) (any, error) { v, err := c.Status(ctx); return v.Applied, err },
			"GET /1.0/status", `{"applied":3}`, int64(3),
		},
		"Metadata": {
			func(ctx context.Context, c *Client) (any, error) { v, err := c.Metadata(ctx); return string(v), err },
			"GET /1.0/metadata/configuration", `{"configs":{}}`, `{"configs":{}}`,
		},
		"Operations": {
			func(ctx context.Context, c *Client) (any, error) {
				v, err := c.Operations(ctx)
				return len(v["running"]), err
			},
			"GET /1.0/operations?recursion=1", `{"running":[{}]}`, 1,
		},
		"Operation": {
			func(ctx context.Context, c *Client) (any, error) { v, err := c.Operation(ctx, "x"); return v.ID, err },
			"GET /1.0/operations/x", `{"id":"x"}`, "x",
		},
		"Ready": {
			func(ctx context.Context, c *Client) (any, error) { return nil, c.Ready(ctx) },
			"GET /internal/ready", `null`, nil,
		},
		"Restore": {
			func(ctx context.Context, c *Client) (any, error) { return c.Restore(ctx, []byte("x")) },
			`PUT /internal/database {"file":"eA=="}`, `{"kept":"old.db"}`, "old.db",
		},
		"Shutdown": {
			func(ctx context.Context, c *Client) (any, error) {
				return nil, c.Shutdown(ctx, api.Shutdown{Message: "bye"})
			},
			`PUT /internal/shutdown {"message":"bye","remove_bridges":false}`, `null`, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				have := r.Method + " " + r.URL.RequestURI()
				if tag := r.Header.Get("If-Match"); tag != "" {
					have += " If-Match:" + tag
				}
				if body, err := io.ReadAll(r.Body); err != nil {
					t.Error(err)
				} else if len(body) > 0 {
					have += " " + string(body)
				}
				if have != test.want {
					t.Errorf("request\n%s\nwant\n%s", have, test.want)
				}
				w.Header().Set("ETag", "tag")
				w.Header().Set(api.HeaderRevision, "7")
				answerWith(w, test.answer)
			})
			have, err := test.call(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.result, have); diff != "" {
				t.Errorf("result (-want +have):\n%s", diff)
			}
			if !strings.HasPrefix(test.want, http.MethodGet) {
				inDryRun(t, test.call)
			}
		})
	}
}

// inDryRun holds a call to change nothing in a dry run: either it shows a plan,
// or nothing is sent.
func inDryRun(t *testing.T, call func(context.Context, *Client) (any, error)) {
	t.Helper()
	sent, shown := 0, 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if sent++; r.URL.Query().Get("dry-run") != "1" {
			t.Errorf("%s %s is sent in a dry run", r.Method, r.URL)
		}
		answerWith(w, `{"revision":7,"members":[]}`)
	}).DryRun(func(api.Plan) error { shown++; return nil })
	_, err := call(t.Context(), c)
	if planned, refused := sent == 1 && shown == 1 && err == nil, sent == 0 && api.ErrorCode(err) == api.Invalid; !planned && !refused {
		t.Errorf("dry run: %d sent, %d shown, %v", sent, shown, err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "netctl_up 1\n") })
	if m, err := c.Metrics(t.Context()); err != nil || m != "netctl_up 1\n" {
		t.Errorf("metrics %q, %v", m, err)
	}
	c = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"type":"error","error_code":403,"error":"not for you"}`)
	})
	if _, err := c.Metrics(t.Context()); api.ErrorCode(err) != api.Forbidden {
		t.Errorf("error %v, want forbidden", err)
	}
}

// TestErrors maps every code there and back.
func TestErrors(t *testing.T) {
	t.Parallel()
	for code, status := range api.HTTPStatus {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			if err := json.NewEncoder(w).Encode(api.Envelope{Type: api.TypeError, ErrorCode: status, Error: "no: " + string(code)}); err != nil {
				t.Error(err)
			}
		})
		_, err := c.Networks(t.Context())
		if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != code || e.Error() != "no: "+string(code) {
			t.Errorf("%s came back as %#v", code, err)
		}
	}
}

func TestForeignServer(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	_, err := c.Networks(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not one of netctld") {
		t.Errorf("error %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Stat(stale); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "missing"), stale} {
		c := Unix(path)
		_, err := c.Networks(t.Context())
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), path) {
			t.Errorf("request: %v", err)
		}
		if _, err := c.Events(t.Context()); !errors.Is(err, ErrUnreachable) {
			t.Errorf("events: %v", err)
		}
	}
	if _, err := Unix(filepath.Join(dir, "missing")).Networks(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause is lost: %v", err)
	}
}

func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, `{"type":`)
		panic(http.ErrAbortHandler)
	})
	if _, err := c.Networks(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("error %v", err)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	if _, err := c.Networks(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("error %v", err)
	}
}

func TestWaitApplied(t *testing.T) {
	t.Parallel()
	var asked []string
	applied := 6
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		answerWith(w, fmt.Sprintf(`{"revision":7,"applied":%d,"targets":[{"name":"link","applied":7},
			{"name":"bgp","applied":%[1]d,"error":"port 179 is in use"},{"name":"dhcp","applied":%[1]d}]}`, applied))
		if len(asked) == 2 {
			applied = 7
		}
	})
	if err := c.WaitApplied(t.Context(), 7, 70*time.Second); err != nil {
		t.Errorf("applied in the third request: %v", err)
	}
	applied = 6
	err := c.WaitApplied(t.Context(), 7, 1500*time.Millisecond)
	lag, ok := errors.AsType[*LagError](err)
	if !ok || len(lag.Targets) != 2 {
		t.Fatalf("error %v", err)
	}
	const text = "revision 7 is stored but not in effect yet: waiting for bgp (port 179 is in use), dhcp"
	if lag.Error() != text {
		t.Errorf("error %q, want %q", lag, text)
	}
	want := []string{
		"revision=7&timeout=30", "revision=7&timeout=30", "revision=7&timeout=10", "revision=7&timeout=2",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("requests (-want +have):\n%s", diff)
	}
}
