package netlink

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"netctl/network/link"
)

// refuse splits want into what may be realised, and the error about links and
// namespaces whose names are taken by some that are not ours. Nothing is put
// into such a namespace.
func (h *Host) refuse(want link.State) (link.State, error) {
	want = link.Complete(want)
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	taken := map[string]bool{}
	ours := h.spaces.list // sorted by name, as those wanted
	want.Namespaces = keep(want.Namespaces, func(n *link.Namespace) bool {
		for len(ours) > 0 && ours[0].Name < n.Name {
			ours = ours[1:]
		}
		if len(ours) > 0 && ours[0].Name == n.Name || !h.spaces.occupied(n.Name) {
			return true
		}
		taken[n.Name] = true
		errs = append(errs, fmt.Errorf("instance %s: %w", n.Owner, &TakenError{Namespace: n.Name}))
		return false
	})
	want.Links = keep(want.Links, func(w *link.Link) bool {
		if h.matches[w] != nil {
			return true
		}
		e := h.names[w.Name]
		switch {
		case e == nil:
			return len(taken) == 0 || w.Peer == nil || !taken[w.Peer.Netns.Name]
		case !e.ours():
			errs = append(errs, fmt.Errorf("%s%w", ownerPrefix(w.Owner), &TakenError{Name: w.Name}))
			return false
		}
		return true
	})
	return want, errors.Join(errs...)
}

// keep returns the elements that ok is true for; all itself when that is so
// for each.
func keep[T any](all []T, ok func(T) bool) []T {
	var out []T
	for i, v := range all {
		switch {
		case ok(v):
			if out != nil {
				out = append(out, v)
			}
		case out == nil:
			out = append(make([]T, 0, len(all)), all[:i]...)
		}
	}
	if out == nil {
		return all
	}
	return out
}

// A TakenError reports a wanted link, namespace or route in whose place there
// is one that is not ours.
type TakenError struct {
	Name      string // of an interface
	Namespace string
	Route     string
}

func (e *TakenError) Error() string {
	switch {
	case e.Namespace != "":
		return fmt.Sprintf("network namespace %s exists and is not ours", e.Namespace)
	case e.Route != "":
		return fmt.Sprintf("route to %s exists and is not ours", e.Route)
	}
	return fmt.Sprintf("interface %s exists and is not ours", e.Name)
}

// wants reports whether a namespace is to be one of ours.
func wants(all []*link.Namespace, name string) bool {
	_, ok := slices.BinarySearchFunc(all, name, func(n *link.Namespace, name string) int { return strings.Compare(n.Name, name) })
	return ok
}
