package daemon

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"netctl/api"
	"netctl/config"
	"netctl/db"
)

// extensions are the API extensions of LXD that work here, and ours. The
// extension storage_and_network_operations must not be among them: it would
// turn the writes of networks into operations. Without container_backup lxc does
// not show an instance; that there are no backups is all that it learns.
var extensions = []string{
	"api_filtering", "certificate_project", "certificate_token", "certificate_update", "etag", "explicit_trust_token",
	"container_backup", "container_full", "instance_nic_network", "instances", "metadata_configuration", "metrics", "network", "network_acl", "network_allocations", "network_forward", "network_leases",
	"network_state", "operation_wait", "patch", "projects",
	"netctl_bgp",
}

// getRoot is GET /.
func (d *Daemon) getRoot(*http.Request) (reply, error) {
	return reply{metadata: []string{"/1.0"}}, nil
}

// getServer is GET /1.0. Strangers learn only that they are strangers.
func (d *Daemon) getServer(r *http.Request) (reply, error) {
	s := api.Server{
		APIExtensions: extensions, APIStatus: "stable", APIVersion: api.APIVersion,
		Auth: "untrusted", AuthMethods: []string{"tls"}, Config: map[string]string{},
		Environment: api.Environment{Addresses: []string{}, Architectures: []string{}},
	}
	if !identityOf(r).trusted {
		return reply{metadata: s}, nil
	}
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return reply{}, err
	}
	cfg, err := serverConfig(objs.Get)
	if err != nil {
		return reply{}, err
	}
	s.Auth, s.Config = "trusted", config.ServerSchema.Mask(cfg)
	if s.Environment, err = d.environment(r.Context()); err != nil {
		return reply{}, err
	}
	return reply{revision: int64(objs.Revision()), etag: cfg, metadata: s}, nil
}

func (d *Daemon) environment(ctx context.Context) (api.Environment, error) {
	var u unix.Utsname
	_ = unix.Uname(&u) // it cannot fail with a valid pointer
	served := d.https.served()
	addresses, err := d.addresses(ctx, served)
	return api.Environment{
		Addresses: addresses, Architectures: []string{architecture()}, Firewall: "nftables",
		Kernel: unix.ByteSliceToString(u.Sysname[:]), KernelVersion: unix.ByteSliceToString(u.Release[:]),
		Project: "default", Server: "netctl", ServerName: d.hostname, ServerPID: os.Getpid(), ServerVersion: api.Version,
		Certificate: served.certificate, CertificateFingerprint: served.fingerprint,
	}, err
}

// architecture returns the name that LXD has for what this was built for.
func architecture() string {
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	return cmp.Or(arch, runtime.GOARCH)
}

// putServer is PUT /1.0, and patchServer PATCH.
func (d *Daemon) putServer(r *http.Request) (reply, error) {
	return d.updateServer(r, func(old, req map[string]string) map[string]string {
		// What the daemon chose itself is not the client's to forget.
		for k, v := range old {
			if _, ok := req[k]; !ok && strings.HasPrefix(k, "volatile.") {
				req[k] = v
			}
		}
		return req
	})
}

func (d *Daemon) patchServer(r *http.Request) (reply, error) {
	return d.updateServer(r, func(old, req map[string]string) map[string]string {
		out := maps.Clone(old)
		maps.Copy(out, req)
		return out
	})
}

func (d *Daemon) updateServer(r *http.Request, merge func(old, req map[string]string) map[string]string) (reply, error) {
	req := api.ServerPut{}
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	if req.Config == nil {
		req.Config = map[string]string{}
	}
	update := func(tx *db.Tx) error {
		old, err := serverConfig(tx.Get)
		if err != nil {
			return err
		}
		if err := ifMatch(r, old); err != nil {
			return err
		}
		return putServerConfig(tx, old, merge(old, maps.Clone(req.Config)))
	}
	return d.write(r, update, api.EventLifecycleBody{Action: "config-updated", Source: "/1.0"}, reply{})
}

func putServerConfig(tx *db.Tx, old, cfg map[string]string) error {
	cfg = config.ServerSchema.Unmask(cfg, old)
	maps.DeleteFunc(cfg, func(_, v string) bool { return v == "" })
	if err := config.ServerSchema.Validate(cfg); err != nil {
		return configError("server configuration", err)
	}
	global, local := config.ServerSchema.Split(cfg)
	for key, c := range map[string]map[string]string{serverKey: global, serverMemberKey: local} {
		if len(c) == 0 {
			tx.Delete(key)
			continue
		}
		if err := tx.Put(key, schemaVersion, storedServer{c}); err != nil {
			return err
		}
	}
	return nil
}

// getMetadata is GET /1.0/metadata/configuration.
func (d *Daemon) getMetadata(*http.Request) (reply, error) {
	return reply{metadata: config.NewMetadata()}, nil
}
