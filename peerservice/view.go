package peerservice

import (
	"maps"
	"slices"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
)

// View is what is known of all members at one moment. It is immutable.
type View struct {
	Members []roster.Member // alive and suspect, this node included, sorted by name
}

func byPeer(a, b roster.Member) int { return a.Peer.Compare(b.Peer) }

// View returns the members of this moment. It is made anew after a change
// only, so that who asks often pays for a look.
func (s *Service) View() *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.viewed()
}

// viewed is View with s.mu held.
func (s *Service) viewed() *View {
	if s.view != nil {
		return s.view
	}
	v := &View{Members: make([]roster.Member, 0, s.alive)}
	for _, m := range s.all {
		if m.Status < roster.StatusDown {
			v.Members = append(v.Members, m)
		}
	}
	slices.SortFunc(v.Members, byPeer)
	s.view = v
	return v
}

// Count returns how many members there are, this node included.
func (s *Service) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.alive
}

// Lookup returns a member by name, also one that is down or has left while it
// is remembered.
func (s *Service) Lookup(name string) (roster.Member, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.all[name]
	return m, ok
}

// Session returns the session with the current life of a member, which is made
// when it is asked for, or why there is none.
func (s *Service) Session(name string) (*channelmgr.Session, messages.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.all[name]
	switch {
	case !ok:
		return nil, messages.ReasonUnknownNode
	case m.Status >= roster.StatusDown:
		return nil, messages.ReasonNodeDown
	case s.isSelf(m):
		return nil, messages.ReasonSelf
	}
	return s.cfg.Registry.Ensure(m.Peer, m.Generation), ""
}

// known returns all that are remembered, sorted by name.
func (s *Service) known() []roster.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.all), byPeer)
}

// put is the change of what is known by one member.
func put(m roster.Member) func(*Service) {
	return func(s *Service) {
		if old, ok := s.all[m.Peer.Name]; ok && old.Status < roster.StatusDown {
			s.alive--
		}
		if m.Status < roster.StatusDown {
			s.alive++
		}
		s.all[m.Peer.Name] = m
		s.view = nil
	}
}

// publish makes a change, if it is not nil, and hands the event to all
// subscribers. Only one goroutine at a time publishes: the manager's.
func (s *Service) publish(e Event, change func(*Service)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if change != nil {
		change(s)
	}
	if e != nil {
		for sub := range s.subs {
			sub.put(e)
		}
	}
}

// Neighbors returns the peers to whom the overlays have links, sorted.
func (s *Service) Neighbors() []overlay.Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]overlay.Peer, 0, len(s.links))
	for _, k := range s.links {
		list = append(list, k.peer)
	}
	slices.SortFunc(list, overlay.Peer.Compare)
	return list
}
