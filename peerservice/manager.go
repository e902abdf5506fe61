package peerservice

import (
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
)

// found is what the roster's host tells the peer service manager, and
// meshEvent what the overlay's host does.
type (
	found     struct{ notice any }
	meshEvent struct{ notice any }
	restarted struct{ instance string }
)

func (s *Service) rosterNotice(n any) { s.root.Send(s.part("peers"), found{n}) }
func (s *Service) meshNotice(n any)   { s.root.Send(s.part("peers"), meshEvent{n}) }
func (s *Service) rosterStarted()     { s.root.Send(s.part("peers"), restarted{rosterInstance}) }
func (s *Service) meshStarted()       { s.root.Send(s.part("peers"), restarted{mainInstance}) }

// receive is the peer service manager: what the roster finds becomes sessions,
// dial rules, admission, ends of watches, and events, in this order.
func (s *Service) receive(c actor.Context) {
	switch m := c.Message().(type) {
	case found:
		s.onFound(m.notice)
	case meshEvent:
		s.onMesh(m.notice)
	case restarted:
		s.onRestarted(m.instance)
	}
}

// onRestarted tells a fresh machine what stands.
func (s *Service) onRestarted(instance string) {
	view, me := s.view.Load(), s.self.Load().Peer.Name
	switch instance {
	case mainInstance:
		for _, m := range view.Members {
			if m.Peer.Name != me {
				s.tellMesh(overlay.MemberUp{Peer: m.Peer})
			}
		}
	case rosterInstance:
		s.mu.Lock()
		links := maps.Clone(s.links)
		s.mu.Unlock()
		for _, m := range view.Members {
			if links[m.Peer.Name] {
				s.tellRoster(overlay.NeighborUp{Peer: m.Peer})
			}
		}
	}
}

func (s *Service) onMesh(n any) {
	switch n := n.(type) {
	case overlay.NeighborUp:
		s.mu.Lock()
		s.links[n.Peer.Name] = true
		s.mu.Unlock()
		s.tellRoster(n)
		if s.cfg.OnLink != nil {
			s.cfg.OnLink(n.Peer)
		}
	case overlay.NeighborDown:
		s.mu.Lock()
		delete(s.links, n.Peer.Name)
		s.mu.Unlock()
		if n.Reason == messages.ReasonDown && n.Known > 0 {
			s.expelled(n.Peer)
		}
		s.tellRoster(n)
	}
}

// expelled: the peer had declared this life down. Its end of the session is
// gone, so ours goes too; a new one follows with our next generation.
func (s *Service) expelled(p overlay.Peer) {
	m, ok := s.view.Load().Lookup(p.Name)
	if !ok || !m.Peer.Same(p) || m.Status >= roster.StatusDown {
		return
	}
	s.cfg.Registry.EndSession(p, m.Generation, messages.ReasonNodeDown)
	if s.cfg.OnNodeGone != nil {
		s.cfg.OnNodeGone(p, messages.ReasonNodeDown)
	}
	s.cfg.Registry.Ensure(m.Peer, m.Generation)
}

func (s *Service) onFound(n any) {
	switch n := n.(type) {
	case roster.Up:
		s.cfg.Registry.Ensure(n.Member.Peer, n.Member.Generation)
		s.publish(Up{n.Member}, put(n.Member))
		s.tellMesh(overlay.MemberUp{Peer: n.Member.Peer})
	case roster.Suspected:
		s.publish(Suspect{n.Member, n.By}, put(n.Member))
	case roster.Cleared:
		old, _ := s.view.Load().Lookup(n.Member.Peer.Name)
		s.publish(Updated{old, n.Member}, put(n.Member))
	case roster.Updated:
		if n.New.Generation > n.Old.Generation {
			// It was declared down elsewhere and has returned; here it never was
			// gone, and its session goes on.
			s.log.Info("a member took a new generation", "node", n.New.Peer.Name, "generation", n.New.Generation)
		}
		s.publish(Updated{n.Old, n.New}, put(n.New))
	case roster.Down:
		s.gone(n.Member, messages.ReasonNodeDown)
		s.publish(Down{n.Member, n.Reason}, put(n.Member))
	case roster.Gone:
		s.gone(n.Member, messages.ReasonNodeDown)
		s.publish(Left{n.Member}, put(n.Member))
	case roster.SelfChanged:
		old := roster.Member{Record: *s.self.Load()}
		rec := n.Self
		s.self.Store(&rec)
		s.cfg.Registry.SetGeneration(rec.Generation)
		s.publish(Updated{old, roster.Member{Record: rec}}, put(roster.Member{Record: rec}))
	case roster.Joined:
		s.answer(func(w *joinWait) bool { w.ok = true; return true })
	case roster.JoinFailed:
		s.answer(func(w *joinWait) bool {
			if _, ok := w.contacts[n.Contact]; !ok {
				return false
			}
			w.contacts[n.Contact] = n.Reason
			return n.Reason == messages.ReasonNameTaken || n.Reason == messages.ReasonSelf && len(w.contacts) == 1
		})
		s.publish(Refused{n.Contact, n.Reason}, nil)
	case roster.NameTaken:
		s.log.Error("another live node has this node's name; give one of them another name", "name", s.self.Load().Peer.Name)
	case roster.LeaveDone:
		s.mu.Lock()
		select {
		case <-s.left:
		default:
			close(s.left)
		}
		s.mu.Unlock()
	}
}

// gone ends what stands with a life: its session with its flows, then its
// watches. The event comes after.
func (s *Service) gone(m roster.Member, why messages.Reason) {
	s.tellMesh(overlay.MemberDown{Peer: m.Peer})
	s.cfg.Registry.EndSession(m.Peer, m.Generation, why)
	if s.cfg.OnNodeGone != nil {
		s.cfg.OnNodeGone(m.Peer, why)
	}
}

func put(m roster.Member) func(map[string]roster.Member) {
	return func(all map[string]roster.Member) { all[m.Peer.Name] = m }
}

// publish makes a new view and hands an event, if there is one, to all
// subscribers.
func (s *Service) publish(e Event, change func(map[string]roster.Member)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if change != nil {
		v := &View{all: make(map[string]roster.Member)}
		if old := s.view.Load(); old != nil {
			maps.Copy(v.all, old.all)
		}
		change(v.all)
		for _, m := range v.all {
			if m.Status < roster.StatusDown {
				v.Members = append(v.Members, m)
			}
		}
		slices.SortFunc(v.Members, func(a, b roster.Member) int { return a.Peer.Compare(b.Peer) })
		s.view.Store(v)
	}
	if e != nil {
		for sub := range s.subs {
			sub.put(e)
		}
	}
}

// answer ends the Joins for which done says so.
func (s *Service) answer(done func(*joinWait) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.waiters {
		if done(w) {
			w.once.Do(func() { close(w.result) })
		}
	}
}
