package peerservice

import (
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
	if m, ok := s.all[name]; ok {
		return m, true
	}
	return roster.Nobody, false
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

// Known returns all that are remembered, also those that are down or have left,
// sorted by name.
func (s *Service) Known() []roster.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]roster.Member, 0, len(s.all))
	for _, m := range s.all {
		list = append(list, m)
	}
	slices.SortFunc(list, byPeer)
	return list
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

// Note puts an event of another part of the node, which is no change of the
// membership, in the order of events: all subscribers find it as Noted. A
// subscriber that falls behind misses it.
func (s *Service) Note(note any) { s.publish(Noted{note}, nil) }

// publish makes a change, if it is not nil, and hands the event to all
// subscribers. Only the manager makes changes.
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

// tagsOf returns the tags of a member; they must not be changed.
func (s *Service) tagsOf(name string) map[string]string {
	m, _ := s.Lookup(name)
	return m.Tags
}
