package peerservice

import (
	"maps"
	"slices"

	"github.com/maquis-go/maquis/overlay/roster"
	"github.com/maquis-go/maquis/peerservice/route"
)

// View is what is known of all members at one moment. It is immutable.
type View struct {
	Members []roster.Member // alive and suspect, this node included, sorted by name
	all     map[string]roster.Member
}

// Lookup returns a member by name, also one that is down or has left while it
// is remembered.
func (v *View) Lookup(name string) (roster.Member, bool) {
	m, ok := v.all[name]
	return m, ok
}

// known returns all that are remembered, sorted by name.
func (v *View) known() []roster.Member {
	return slices.SortedFunc(maps.Values(v.all), byPeer)
}

func byPeer(a, b roster.Member) int { return a.Peer.Compare(b.Peer) }

// put is the change of a view by one member.
func put(m roster.Member) func(map[string]roster.Member) {
	return func(all map[string]roster.Member) { all[m.Peer.Name] = m }
}

// publish makes a new view, if change is not nil, and hands the events to all
// subscribers. Only one goroutine at a time publishes: the manager's.
func (s *Service) publish(e Event, change func(map[string]roster.Member)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if change != nil {
		v := &View{all: make(map[string]roster.Member)}
		if old := s.view.Load(); old != nil {
			maps.Copy(v.all, old.all)
		}
		change(v.all)
		var routes []route.Route
		for _, m := range v.all {
			if m.Status >= roster.StatusDown {
				continue
			}
			v.Members = append(v.Members, m)
			if m.Peer.Name != s.name() {
				routes = append(routes, route.Direct(m.Peer, m.Generation))
			}
		}
		slices.SortFunc(v.Members, byPeer)
		s.view.Store(v)
		s.routes.Store(route.New(routes))
	}
	if e != nil {
		for sub := range s.subs {
			sub.put(e)
		}
	}
}
