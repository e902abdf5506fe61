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
// the overlays for their neighbors. On the first start they have nothing.
func (s *Service) takeUp() {
	s.askRoster()
	s.tellStacks(false, standing{})
}

// onNeighbors brings what we know of an overlay's neighbors to what is so.
func (s *Service) onNeighbors(instance string, now []overlay.Peer) {
	s.mu.Lock()
	links := maps.Clone(s.links)
	s.mu.Unlock()
	for _, p := range now {
		if k := links[p.Name]; !k.peer.Same(p) || !slices.Contains(k.on, instance) {
			s.neighborUp(instance, overlay.NeighborUp{Peer: p})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(links)) {
		if k := links[name]; slices.Contains(k.on, instance) && !slices.ContainsFunc(now, k.peer.Same) {
			s.neighborDown(instance, overlay.NeighborDown{Peer: k.peer, Reason: messages.ReasonReset})
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
				s.selfChanged(*m.Record)
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
	s.publish(nil, func(s *Service) {
		maps.DeleteFunc(s.all, func(name string, m roster.Member) bool { return m.Status >= roster.StatusDown && !known[name] })
	})
}

// onStarted tells a fresh machine what stands.
func (s *Service) onStarted(instance string) {
	s.mu.Lock()
	links, contacts, leaving := maps.Clone(s.links), slices.Clone(s.contacts), s.leaving
	s.mu.Unlock()
	if instance != rosterInstance {
		i := slices.IndexFunc(s.overlays, func(o OverlaySpec) bool { return o.ID == instance })
		s.startedStack(s.overlays[i], links, contacts)
		return
	}
	for _, m := range s.View().Members {
		if links[m.Peer.Name].peer.Same(m.Peer) {
			s.tellRoster(overlay.NeighborUp{Peer: m.Peer})
		}
	}
	switch {
	case leaving:
		s.tellRoster(overlay.Leave{})
	case len(contacts) > 0:
		s.tellRoster(joinEvent(contacts))
	}
}

// startedStack tells a fresh overlay whom to dial: the members, or the last
// neighbors before all other contacts.
func (s *Service) startedStack(o OverlaySpec, links map[string]neighbor, contacts []string) {
	if o.kind().rule {
		for _, m := range s.View().Members {
			s.dial(m)
		}
		return
	}
	var last []string
	for _, name := range slices.Sorted(maps.Keys(links)) {
		if k := links[name]; slices.Contains(k.on, o.ID) {
			last = append(last, k.peer.Addr)
			s.neighborDown(o.ID, overlay.NeighborDown{Peer: k.peer, Reason: messages.ReasonClosed}) // until it is up again
		}
	}
	s.mu.Lock()
	leaving := s.leaving
	s.mu.Unlock()
	if list := append(last, contacts...); len(list) > 0 && !leaving {
		s.tellStack(o, joinEvent(list))
	}
}
