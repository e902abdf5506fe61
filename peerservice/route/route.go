// Package route says how messages reach the members of a cluster: an immutable
// snapshot that senders read without a lock. Today every route is a direct
// session; routes that are learned from relayed frames take the same shape,
// with a next hop that is not the destination. The package is pure.
package route

import (
	"cmp"
	"slices"

	"github.com/maquis-go/maquis/overlay"
)

// Route is how one node is reached now.
type Route struct {
	To         overlay.Peer // the life of the node
	Generation uint64       // of To: a newer one replaces the route
	Via        overlay.Peer // the next hop; To itself for a direct route
	Hops       int          // links to To; 1 for a direct route
}

// Direct returns the route to a peer over the session with it.
func Direct(p overlay.Peer, generation uint64) Route {
	return Route{To: p, Generation: generation, Via: p, Hops: 1}
}

// IsDirect reports whether no other node relays.
func (r Route) IsDirect() bool { return r.Via.Same(r.To) }

// better reports whether r is to be used rather than old: it leads to a newer
// generation, or over fewer hops. Freshness goes first, as in AODV (RFC 3561
// §6.2), so that no loop forms from stale routes.
func (r Route) better(old Route) bool {
	return cmp.Or(cmp.Compare(r.Generation, old.Generation), cmp.Compare(old.Hops, r.Hops)) > 0
}

// Snapshot is all routes of a node at one moment. The zero value and nil have
// none. It is immutable and safe for concurrent use.
type Snapshot struct {
	byName map[string]Route
	names  []string
}

// New makes a snapshot. Of several routes to one node the better stays; routes
// without a name or without a hop are left out.
func New(routes []Route) *Snapshot {
	s := &Snapshot{byName: make(map[string]Route, len(routes))}
	for _, r := range routes {
		if r.To.Name == "" || r.Via.Name == "" || r.Hops < 1 {
			continue
		}
		old, ok := s.byName[r.To.Name]
		if !ok {
			s.names = append(s.names, r.To.Name)
		}
		if !ok || r.better(old) {
			s.byName[r.To.Name] = r
		}
	}
	slices.Sort(s.names)
	return s
}

// Lookup returns the route to a node by name.
func (s *Snapshot) Lookup(name string) (Route, bool) {
	if s == nil {
		return Route{}, false
	}
	r, ok := s.byName[name]
	return r, ok
}

// Names returns the nodes that can be reached, sorted. It must not be changed.
func (s *Snapshot) Names() []string {
	if s == nil {
		return nil
	}
	return s.names
}
