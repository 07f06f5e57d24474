package daemon

import (
	"net/http"
	"net/url"

	"netctl/api"
	"netctl/db"
	"netctl/network"
)

func aclURL(name string) string { return "/1.0/network-acls/" + url.PathEscape(name) }

func aclNotFound(name string) error {
	return api.Errorf(api.NotFound, "network ACL not found: %q", name)
}

// getACLs is GET /1.0/network-acls.
func (d *Daemon) getACLs(r *http.Request) (reply, error) {
	match, err := parseFilter(r.URL.Query().Get("filter"))
	if err != nil {
		return reply{}, err
	}
	objs, users, err := d.aclUsers(r)
	if err != nil {
		return reply{}, err
	}
	urls, all := []string{}, []api.NetworkACL{}
	for _, o := range objs.List(aclsPrefix) {
		a, err := showACL(db.Parts(o.Key)[1], o, users)
		if err != nil {
			return reply{}, err
		}
		if match(a) {
			urls, all = append(urls, aclURL(a.Name)), append(all, a)
		}
	}
	rev := int64(objs.Revision())
	if recursive(r) {
		return reply{revision: rev, metadata: all}, nil
	}
	return reply{revision: rev, metadata: urls}, nil
}

// getACL is GET /1.0/network-acls/{name}.
func (d *Daemon) getACL(r *http.Request) (reply, error) {
	name, err := pathVar(r, "name")
	if err != nil {
		return reply{}, err
	}
	objs, users, err := d.aclUsers(r)
	if err != nil {
		return reply{}, err
	}
	o := objs.Get(aclKey(name))
	if o == nil {
		return reply{}, aclNotFound(name)
	}
	a, err := showACL(name, o, users)
	return reply{revision: int64(objs.Revision()), etag: aclTag(a), metadata: a}, err
}

// aclUsers returns the latest objects, and the paths of what uses each ACL.
func (d *Daemon) aclUsers(r *http.Request) (*db.Objects, map[string][]string, error) {
	objs, err := d.store.Snapshot(r.Context())
	if err != nil {
		return nil, nil, err
	}
	s, err := d.decoder.snapshot(objs)
	if err != nil {
		return nil, nil, err
	}
	return objs, aclUsers(s.Networks), nil
}

// aclUsers returns the paths of the networks that use each ACL.
func aclUsers(networks []*network.Network) map[string][]string {
	users := map[string][]string{}
	for _, n := range networks {
		for _, name := range n.Config[member].ACLs {
			users[name] = append(users[name], networkURL(n.Name))
		}
	}
	return users
}

// showACL returns a stored ACL as the API shows it.
func showACL(name string, o *db.Object, users map[string][]string) (api.NetworkACL, error) {
	var s storedACL
	err := decode(o, &s)
	a := api.NetworkACL{
		Name: name, Description: s.Description, Config: s.Config, Ingress: s.Ingress, Egress: s.Egress, UsedBy: users[name],
	}
	if a.UsedBy == nil {
		a.UsedBy = []string{}
	}
	return a, err
}

// aclTag is what the ETag of an ACL is computed from: all of it but its users.
func aclTag(a api.NetworkACL) api.NetworkACL {
	a.UsedBy = nil
	return a
}
