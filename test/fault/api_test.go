package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"netctl/api"
	"netctl/client"
	"netctl/test/lab"
)

// descriptors returns how many files the daemon has open.
func descriptors(tb testing.TB, d *lab.Netctld) int {
	tb.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.Proc.Cmd.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	return len(entries)
}

// goroutines returns how many goroutines the daemon has.
func goroutines(tb testing.TB, c *client.Client) (n int) {
	tb.Helper()
	text, err := c.Metrics(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if _, err := fmt.Sscanf(line, "go_goroutines %d", &n); err == nil {
			return n
		}
	}
	tb.Fatal("no go_goroutines in the metrics")
	return 0
}

// Ten thousand clients at once are all answered, and leave nothing behind.
func TestManyRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	since := time.Now()
	c := client.Unix(s.Daemon.Socket())
	defer c.Close()
	goroutinesBefore, filesBefore := goroutines(t, c), descriptors(t, s.Daemon)
	var wg sync.WaitGroup
	var failed atomic.Int64
	start := time.Now()
	for i := range 10_000 {
		wg.Go(func() {
			one := client.Unix(s.Daemon.Socket())
			defer one.Close()
			for {
				var err error
				switch i % 10 {
				case 0:
					_, err = one.PatchServer(t.Context(), api.ServerPut{Config: map[string]string{"user.n": fmt.Sprint(i)}}, "")
				case 1:
					_, err = one.BGPPeers(t.Context())
				case 2:
					_, err = one.CreateNetwork(t.Context(), api.NetworksPost{Name: "br0"})
					if api.ErrorCode(err) == api.Conflict {
						err = nil
					}
				default:
					_, err = one.Networks(t.Context())
				}
				if errors.Is(err, syscall.EAGAIN) { // the queue of the socket is full
					time.Sleep(10 * time.Millisecond)
					continue
				}
				if err != nil && failed.Add(1) < 5 {
					t.Errorf("request %d: %v", i, err)
				}
				return
			}
		})
	}
	wg.Wait()
	now, most := s.memory()
	t.Logf("answered in %s, %d failed; resident memory: %d MB, %d MB at most", time.Since(start).Round(time.Millisecond), failed.Load(), now>>20, most>>20)
	if most > 1<<30 {
		t.Errorf("it took %d MB", most>>20)
	}
	s.Soon("nothing is left", func() error {
		g, f := goroutines(t, c), descriptors(t, s.Daemon)
		return lab.Expect(g <= goroutinesBefore+10 && f <= filesBefore+5, "%d goroutines, it had %d; %d files, it had %d", g, goroutinesBefore, f, filesBefore)
	})
	s.unharmed(t, since)
}

// raw sends bytes to the socket of the daemon and returns what it answers
// before it hangs up, or has nothing more to say for a second.
func raw(t *testing.T, d *lab.Netctld, request []byte) string {
	t.Helper()
	c, err := net.Dial("unix", d.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, _ = c.Write(request) // it may hang up before it has read it all
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	b, _ := io.ReadAll(c)
	return string(b)
}

// request is an HTTP request with a JSON body.
func request(method, path, body string) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: netctl\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", method, path, len(body), body)
}

// What is not a proper request is answered with an error of the client, or with
// nothing, and never with one of ours; and what is stored stays.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	before, from := s.stored(), len(s.Daemon.Proc.Output())
	deep := strings.Repeat("[", 200_000)
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	network := func(name, config string) string { return `{"name": ` + name + `, "config": ` + config + `}` }
	for name, tt := range map[string]struct {
		request []byte
		status  string // the beginning of the status line
	}{
		"oversized":              {request("POST", "/1.0/networks", `{"name": "`+strings.Repeat("x", 2<<20)+`"}`), "413"},
		"oversized elsewhere":    {request("PUT", "/1.0", `{"config": {"user.x": "`+strings.Repeat("x", 2<<20)+`"}}`), "413"},
		"truncated":              {request("POST", "/1.0/networks", `{"name": "br1", "config": {"ipv4.add`), "400"},
		"deep":                   {request("POST", "/1.0/networks", deep), "400"},
		"deep inside":            {request("POST", "/1.0/networks", `{"x": `+deep+`}`), "400"},
		"null":                   {request("POST", "/1.0/networks", `null`), "400"},
		"array":                  {request("POST", "/1.0/networks", `[]`), "400"},
		"two values":             {request("POST", "/1.0/networks", `{"name": "br1"}{"name": "br2"}`), "400"},
		"name is a number":       {request("POST", "/1.0/networks", network("1e999", "{}")), "400"},
		"name is null":           {request("POST", "/1.0/networks", network("null", "null")), "400"},
		"config is a list":       {request("POST", "/1.0/networks", network(`"br1"`, `["ipv4.address"]`)), "400"},
		"value is a number":      {request("POST", "/1.0/networks", network(`"br1"`, `{"bridge.mtu": 1400}`)), "400"},
		"value is null":          {request("POST", "/1.0/networks", network(`"br/1"`, `{"bridge.mtu": null}`)), "400"},
		"key twice":              {request("POST", "/1.0/networks", network(`"br1"`, `{"bridge.mtu": "1400", "bridge.mtu": "x"}`)), "400"},
		"not UTF-8":              {request("POST", "/1.0/networks", network("\"br\xff1\"", "{}")), "400"},
		"surrogate":              {request("POST", "/1.0/networks", network(`"br\ud800"`, "{}")), "400"},
		"NUL":                    {request("POST", "/1.0/networks", network(`"br\u0000"`, "{}")), "400"},
		"many keys":              {request("POST", "/1.0/networks", network(`"br1"`, "{"+strings.TrimSuffix(strings.Repeat(`"user.x": "y", "bogus": "z",`, 10_000), ",")+"}")), "400"},
		"name climbs":            {request("POST", "/1.0/networks", network(quote("../../etc"), "{}")), "400"},
		"path climbs":            {request("GET", "/1.0/networks/../../etc/passwd", ""), "301"},
		"path climbs, escaped":   {request("GET", "/1.0/networks/%2e%2e%2f%2e%2e%2fetc%2fpasswd", ""), "404"},
		"path climbs to leases":  {request("GET", "/1.0/networks/%2e%2e/leases", ""), "404"},
		"path with NUL":          {request("GET", "/1.0/networks/br0%00/state", ""), "404"},
		"path with newline":      {request("DELETE", "/1.0/networks/br0%0a", ""), "404"},
		"path escaped badly":     {request("GET", "/1.0/networks/%zz", ""), "400"},
		"filter":                 {request("GET", "/1.0/networks?recursion=1&filter="+strings.Repeat("%28", 100_000), ""), "431"},
		"filter of nonsense":     {request("GET", "/1.0/networks?recursion=1&filter=name%20eq%20%22", ""), ""},
		"peer of nonsense":       {request("GET", "/1.0/bgp/peers/%27%3b--", ""), "4"},
		"prefix of nonsense":     {request("GET", "/1.0/bgp/explain?prefix=::ffff:0.0.0.0/200", ""), "400"},
		"huge number":            {request("GET", "/1.0/status?revision=99999999999999999999999", ""), "400"},
		"negative numbers":       {request("GET", "/1.0/status?revision=-1&timeout=-99999999", ""), "200"},
		"header too long":        {[]byte("GET /1.0 HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 1<<20) + "\r\n\r\n"), "431"},
		"many headers":           {[]byte("GET /1.0 HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 1<<18) + "\r\n"), "431"},
		"no HTTP":                {[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), ""},
		"length that lies":       {[]byte("POST /1.0/networks HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{\"name\": \"br1\"}"), ""},
		"two lengths":            {[]byte("POST /1.0/networks HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\n{\"name\": \"br1\"}"), "400"},
		"smuggled":               {[]byte("POST /1.0/networks HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n{\"name\": \"br1\"}"), "501"},
		"endless chunks":         {append([]byte("POST /1.0/networks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), bytes.Repeat([]byte("1000\r\n"+strings.Repeat(" ", 4096)+"\r\n"), 1000)...), "413"},
		"websocket of nothing":   {[]byte("GET /1.0/events HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"), "4"},
		"restore of nothing":     {request("PUT", "/internal/database", `{"file": "bm90aGluZw=="}`), "400"},
		"restore, not in base64": {request("PUT", "/internal/database", `{"file": "?"}`), "400"},
	} {
		answer := raw(t, s.Daemon, tt.request)
		line, _, _ := strings.Cut(answer, "\r\n")
		if !strings.HasPrefix(strings.TrimPrefix(line, "HTTP/1.1 "), tt.status) || strings.Contains(line, " 50") && tt.status != "501" {
			t.Errorf("%s: answered %q, want %s", name, line, tt.status)
		}
	}
	if after := s.stored(); after != before {
		t.Errorf("stored is\n%s\nand was\n%s", after, before)
	}
	if loud := logged(s.Daemon, from, "level=ERROR|panic"); len(loud) > 0 {
		t.Errorf("the log says %q", loud)
	}
}

// A client that takes its time does not get it for ever.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	d := lab.New(t, "curl").NS("host").Netctld()
	for name, begin := range map[string]string{
		"header": "GET /1.0 HTTP/1.1\r\nX: ",
		"body":   "POST /1.0/networks HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("unix", d.Socket())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			start := time.Now()
			_, err = c.Write([]byte(begin))
			for err == nil && time.Since(start) < 50*time.Second {
				_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
				if _, rerr := c.Read(make([]byte, 4096)); rerr != nil && !isTimeout(rerr) {
					break
				}
				_, err = c.Write([]byte(" "))
			}
			t.Logf("hung up on after %s", time.Since(start).Round(time.Second))
			if time.Since(start) > 45*time.Second {
				t.Error("that is too long")
			}
		})
	}
}

// hostile are strings that mean something somewhere.
var hostile = []string{
	"../x", "..", ".", "/", "a/b", "a\\b", "", " ", "a b", "a\nb", "a\r\nserver=6.6.6.6", "a\x00b", "a'b", `a"b`, "a`id`", "a$(id)", "a;b", "a|b", "a&b", "a*",
	"a{b}", "a,b", "a#b", "a%n", "-a", "--help", "ä", "а", "\u202ea", "a\u200b", "\ufeffa", "\U0001f4a9", "\xff\xfe", "all", "default", "lo", "0", "12345",
	"averylongname1234567890", "br0.", ".br0", "br0\t", "@br", "br:0", "br%d", "NaN", "null", "true", "[x]", "<x>", "x=y", "!", "~", "^",
}

// Names that mean something to a shell, a path, dnsmasq, nft or the kernel are
// refused, or are nothing but names; wherever a client can put them.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := client.Unix(s.Daemon.Socket())
	defer c.Close()
	files := s.Host.Run("find", s.Daemon.Dir, "-mindepth", "1")
	links, rules := s.Host.Run("ip", "-o", "-br", "link"), s.Host.Run("nft", "list", "ruleset")
	accepted := 0
	for _, h := range hostile {
		attempts := map[string]func(context.Context) error{
			"name": func(ctx context.Context) error {
				_, err := c.CreateNetwork(ctx, api.NetworksPost{Name: h, Config: map[string]string{"ipv4.address": "none", "ipv6.address": "none"}})
				if err == nil {
					_, err = c.DeleteNetwork(ctx, h, "")
				}
				return err
			},
			"rename": func(ctx context.Context) error {
				_, err := c.RenameNetwork(ctx, "br0", h)
				if err == nil {
					_, err = c.RenameNetwork(ctx, h, "br0")
				}
				return err
			},
		}
		for _, key := range []string{
			"bgp.peers." + h + ".address", "dns.domain", "dns.search", "bridge.hwaddr", "bridge.external_interfaces", "ipv4.address", "ipv4.routes", "ipv4.dhcp.ranges",
			"ipv4.dhcp.expiry", "ipv4.dhcp.gateway", "ipv4.nat.address", "ipv4.nat.order", "dns.mode", "bgp.ipv4.nexthop", "bgp.peers.tor.password", h,
		} {
			attempts[key] = func(ctx context.Context) error {
				_, err := c.PatchNetwork(ctx, "br0", api.NetworkPatch{Config: map[string]string{key: h}}, "")
				return err
			}
		}
		for where, try := range attempts {
			before := s.stored()
			err := try(t.Context())
			switch code := api.ErrorCode(err); {
			case err == nil:
				accepted++
				s.restoreConfig(c)
			case code != api.Invalid && code != api.NotFound && code != api.Conflict:
				t.Errorf("%s %q: %v (%s)", where, h, err, code)
			case s.stored() != before:
				t.Errorf("%s %q is refused and changed something", where, h)
			}
		}
		text := "note: " + strings.ToValidUTF8(h, "?")
		if _, err := c.PatchNetwork(t.Context(), "br0", api.NetworkPatch{Description: &text, Config: map[string]string{"user.note": text}}, ""); err != nil {
			t.Errorf("description %q: %v", text, err)
		}
		n, _, err := c.Network(t.Context(), "br0")
		if err != nil || n.Description != text || n.Config["user.note"] != text {
			t.Errorf("description %q came back as %q and %q, %v", text, n.Description, n.Config["user.note"], err)
		}
	}
	t.Logf("%d strings in %d places; %d times accepted", len(hostile), 18, accepted)
	s.empty("hostile names")
	now := s.Host.Run("find", s.Daemon.Dir, "-mindepth", "1")
	if !sameBut(files, now, "dnsmasq-") {
		t.Errorf("files are\n%s\nand were\n%s", now, files)
	}
	if now := s.Host.Run("ip", "-o", "-br", "link"); now != links {
		t.Errorf("links are\n%s\nand were\n%s", now, links)
	}
	if now := s.Host.Run("nft", "list", "ruleset"); now != rules {
		t.Errorf("rules are\n%s\nand were\n%s", now, rules)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "x")); err == nil {
		t.Error("a name climbed out of the directory")
	}
}

// restoreConfig goes back to the usual settings of br0.
func (s *site) restoreConfig(c *client.Client) {
	s.Helper()
	keys := []string{
		"network", "set", "br0", "--wait=0", "dns.domain=", "dns.search=", "ipv4.dhcp.expiry=", "bgp.peers.tor.password=", "bridge.external_interfaces=",
		"ipv4.address=" + bridge4, "ipv6.address=" + bridge6,
	}
	n, _, err := c.Network(context.Background(), "br0")
	if err != nil {
		s.Fatalf("%v", err)
	}
	for k := range n.Config {
		if strings.HasPrefix(k, "user.") || strings.HasPrefix(k, "bgp.peers.") && !strings.HasPrefix(k, "bgp.peers.tor.") {
			keys = append(keys, k+"=")
		}
	}
	s.Daemon.CLI(keys...)
}

// sameBut reports whether two lists of lines are the same but for lines with a
// text.
func sameBut(a, b, text string) bool {
	keep := func(s string) (out string) {
		for line := range strings.Lines(s) {
			if !strings.Contains(line, text) {
				out += line
			}
		}
		return out
	}
	return keep(a) == keep(b)
}

// A handler answers in JSON whatever is asked for.
func TestEveryAnswerIsAnEnvelope(t *testing.T) {
	t.Parallel()
	d := lab.New(t, "curl").NS("host").Netctld()
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", d.Socket())
	}}}
	defer hc.CloseIdleConnections()
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
		for _, path := range []string{"/", "/1.0", "/2.0", "/1.0/networks", "/1.0/networks/none", "/1.0/networks/none/state", "/1.0/bgp/peers/none", "/1.0/operations/none/wait", "/internal", "/internal/ready", "*", "/%00"} {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://netctl/", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.URL.Opaque = path
			resp, err := hc.Do(req)
			if err != nil {
				t.Errorf("%s %s: %v", method, path, err)
				continue
			}
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			var e api.Envelope
			if resp.StatusCode >= 500 && resp.StatusCode != 501 || method != "HEAD" && resp.StatusCode >= 400 && resp.ProtoAtLeast(1, 1) && json.Unmarshal(b, &e) != nil && resp.StatusCode != 400 {
				t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, b)
			}
		}
	}
	d.Settled()
}
