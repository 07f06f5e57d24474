package daemon

import (
	"net/http"

	"netctl/api"
	"netctl/db"
)

// profile returns the only profile that there is.
func (d *Daemon) profile(r *http.Request) (api.Profile, error) {
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return api.Profile{}, err
	}
	p := api.Profile{
		Name: "default", Description: "Every instance has this profile, which is empty", Project: "default",
		Config: map[string]string{}, Devices: map[string]map[string]string{}, UsedBy: []string{},
	}
	for _, o := range objs.List(instancesPrefix) {
		p.UsedBy = append(p.UsedBy, instanceURL(db.Parts(o.Key)[1]))
	}
	return p, nil
}

// getProfiles is GET /1.0/profiles.
func (d *Daemon) getProfiles(r *http.Request) (reply, error) {
	p, err := d.profile(r)
	if recursive(r) {
		return reply{metadata: []api.Profile{p}}, err
	}
	return reply{metadata: []string{"/1.0/profiles/default"}}, err
}

// getProfile is GET /1.0/profiles/{name}.
func (d *Daemon) getProfile(r *http.Request) (reply, error) {
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	if name != "default" {
		return reply{}, api.Errorf(api.NotFound, "profile %q not found: there is only \"default\", which is empty", name)
	}
	p, err := d.profile(r)
	return reply{etag: p, metadata: p}, err
}
