package peerservice

import (
	"maps"
	"slices"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
)

// exported is all that the roster's machine knows.
type exported struct{ members []roster.Member }

// takeUp makes good what a predecessor of the manager did not live to do: a
// message that killed it is lost, so the roster is asked for all it knows, and
// the registry for the links that stand. On the first start both have nothing.
func (s *Service) takeUp() {
	s.askRoster()
	s.mu.Lock()
	links := maps.Clone(s.links)
	s.mu.Unlock()
	for _, m := range s.View().Members {
		session := s.cfg.Registry.Session(m.Peer.Name)
		linked := session != nil && session.Peer().Same(m.Peer) && session.Linked()
		switch {
		case linked && !links[m.Peer.Name]:
			s.onOverlay(overlay.NeighborUp{Peer: m.Peer})
		case !linked && links[m.Peer.Name]:
			s.onOverlay(overlay.NeighborDown{Peer: m.Peer, Reason: messages.ReasonReset})
		}
	}
}

// askRoster makes the roster's host notify all that its machine knows.
func (s *Service) askRoster() {
	s.root.Send(s.pids[rosterPart], export{func(m overlay.Machine) any {
		r, ok := m.(interface{ Members() []roster.Member })
		if !ok {
			return nil
		}
		return exported{r.Members()}
	}})
}

// reconcile brings the view to what the roster knows, with the events that
// were missed. What is as it should be is left alone.
func (s *Service) reconcile(members []roster.Member) {
	for _, m := range members {
		old, have := s.Lookup(m.Peer.Name)
		switch {
		case s.isSelf(m):
			if m.Version != s.self.Load().Version || m.Generation != s.self.Load().Generation {
				s.selfChanged(m.Record)
			}
			continue
		case have && !old.Peer.Same(m.Peer) && old.Status < roster.StatusDown:
			old.Status = roster.StatusDown
			s.end(old, messages.ReasonNodeDown)
			s.publish(Down{old, messages.ReasonPastLife}, nil)
		}
		had := have && old.Peer.Same(m.Peer) && old.Status < roster.StatusDown
		switch is := m.Status < roster.StatusDown; {
		case is && !had:
			s.up(m)
			if m.Status == roster.StatusSuspect {
				s.publish(Suspect{Member: m}, put(m))
			}
		case had && !is:
			s.end(m, messages.ReasonNodeDown)
			if m.Status == roster.StatusLeft {
				s.publish(Left{m}, nil)
			} else {
				s.publish(Down{m, messages.ReasonSilent}, nil)
			}
		case had && m.Status == roster.StatusSuspect && old.Status == roster.StatusAlive:
			s.publish(Suspect{Member: m}, put(m))
		case had && (m.Status != old.Status || m.Version != old.Version || m.Generation != old.Generation):
			s.updated(m)
		}
	}
	s.forget(members)
}

// forget drops tombstones that the roster has forgotten.
func (s *Service) forget(members []roster.Member) {
	known := make(map[string]bool, len(members))
	for _, m := range members {
		known[m.Peer.Name] = true
	}
	s.publish(nil, func(all map[string]roster.Member) {
		maps.DeleteFunc(all, func(name string, m roster.Member) bool { return m.Status >= roster.StatusDown && !known[name] })
	})
}

// onStarted tells a fresh machine what stands.
func (s *Service) onStarted(instance string) {
	s.mu.Lock()
	links, contacts, leaving := maps.Clone(s.links), slices.Clone(s.contacts), s.leaving
	s.mu.Unlock()
	for _, m := range s.View().Members {
		switch {
		case s.isSelf(m):
		case instance == mainInstance:
			s.dial(m)
		case links[m.Peer.Name]:
			s.tellRoster(overlay.NeighborUp{Peer: m.Peer})
		}
	}
	switch {
	case instance != rosterInstance:
	case leaving:
		s.tellRoster(overlay.Leave{})
	case len(contacts) > 0:
		s.tellRoster(joinEvent(contacts))
	}
}
