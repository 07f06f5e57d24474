package daemon

import (
	"net/http"

	"netctl/api"
	"netctl/db"
)

// project returns the only project that there is.
func (d *Daemon) project(r *http.Request) (api.Project, error) {
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return api.Project{}, err
	}
	p := api.Project{Name: "default", Description: "Everything is in this project", Config: map[string]string{}, UsedBy: []string{}}
	for _, o := range objs.List(networksPrefix) {
		if parts := db.Parts(o.Key); len(parts) == 2 {
			p.UsedBy = append(p.UsedBy, networkURL(parts[1]))
		}
	}
	for _, o := range objs.List(instancesPrefix) {
		p.UsedBy = append(p.UsedBy, instanceURL(db.Parts(o.Key)[1]))
	}
	return p, nil
}

// getProjects is GET /1.0/projects.
func (d *Daemon) getProjects(r *http.Request) (reply, error) {
	p, err := d.project(r)
	if recursive(r) {
		return reply{metadata: []api.Project{p}}, err
	}
	return reply{metadata: []string{"/1.0/projects/default"}}, err
}

// getProject is GET /1.0/projects/{name}.
func (d *Daemon) getProject(r *http.Request) (reply, error) {
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	if name != "default" {
		return reply{}, api.Errorf(api.NotFound, "project %q not found: there is only \"default\"", name)
	}
	p, err := d.project(r)
	return reply{etag: p, metadata: p}, err
}
