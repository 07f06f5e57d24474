package netlink

import "netctl/network/link"

// matches are the links that are known to be as they are wanted, by what is
// wanted: those that nothing has been heard of since they were compared.
type matches map[*link.Link]*entry

// add notes that e is as w says.
func (m matches) add(e *entry, w *link.Link) {
	m.drop(e)
	m[w], e.match = e, w
}

// drop forgets what is known of e, which may be nil.
func (m matches) drop(e *entry) {
	if e != nil && e.match != nil {
		delete(m, e.match)
		e.match = nil
	}
}

// inside forgets what is known of the links whose other end should be in a
// namespace called name, and reports whether there were some.
func (m matches) inside(name string) (some bool) {
	for w, e := range m {
		if w.Peer != nil && w.Peer.Netns.Name == name {
			m.drop(e)
			some = true
		}
	}
	return some
}
