package peerservice

import (
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
	"github.com/maquis-go/maquis/peerservice/route"
)

// lookAgain is after how many new members it is asked which tombstones are still
// of interest.
const lookAgain = 1024

// maxRefusals bounds the contacts whose last refusal is remembered.
const maxRefusals = 1024

// onRoster acts on what the roster's machine notified.
func (s *Service) onRoster(n any) {
	switch n := n.(type) {
	case roster.Up:
		s.up(n.Member)
	case roster.Suspected:
		s.publish(Suspect{n.Member, n.By}, put(n.Member))
	case roster.Cleared:
		s.updated(n.Member)
	case roster.Updated:
		s.updated(n.New)
	case roster.Down:
		s.end(n.Member, messages.ReasonNodeDown)
		s.publish(Down{n.Member, n.Reason}, nil)
	case roster.Gone:
		s.end(n.Member, messages.ReasonNodeDown)
		s.publish(Left{n.Member}, nil)
	case roster.SelfChanged:
		s.selfChanged(n.Self)
	case roster.Joined:
		s.mu.Lock()
		clear(s.refusals)
		s.mu.Unlock()
		s.answerJoins(func(*joinWait) (bool, error) { return true, nil })
	case roster.JoinFailed:
		s.joinFailed(n)
	case roster.NameTaken:
		if n.By.Name != "" { // else it is the answer of a contact, see joinFailed
			s.log.Error("another live node owns this node's name; this one is no member until that is gone: give one of them another name", "name", n.By.Name, "at", n.By.Addr)
		}
	case roster.Isolated:
		s.log.Warn("no link to any member is left; contacts are being called")
		s.publish(Isolated{time.Now()}, nil)
	case roster.NotIsolated:
		s.log.Info("links to members stand again")
	case roster.Met:
		s.tellStacks(false, joinEvent([]string{n.Peer.Addr}))
	case roster.LeaveDone:
		s.onLeft()
	case exported:
		s.reconcile(n.members)
	}
}

// up: a member is new or back. Its session exists once it is needed.
func (s *Service) up(m roster.Member) {
	s.publish(Up{m}, put(m))
	s.dial(m)
	if s.news++; s.news%lookAgain == 0 {
		s.askRoster() // to forget what it has forgotten
	}
}

// updated: a member changed its record or refuted. If it took a new generation
// it was declared down elsewhere, never here: its session goes on.
func (s *Service) updated(m roster.Member) {
	old, _ := s.Lookup(m.Peer.Name)
	if m.Generation > old.Generation && s.cfg.Registry.Session(m.Peer.Name) != nil {
		s.cfg.Registry.Ensure(m.Peer, m.Generation)
	}
	s.publish(Updated{old, m}, put(m))
	if m.Peer.Addr != old.Peer.Addr {
		s.dial(m)
	}
}

// end ends what stands with a life: nobody finds a session with it any more,
// then the session ends with its flows, then its watches. The event comes
// after.
func (s *Service) end(m roster.Member, why messages.Reason) {
	s.publish(nil, put(m))
	s.tellStacks(false, overlay.MemberDown{Peer: m.Peer})
	s.mu.Lock()
	delete(s.met, m.Peer.Name)
	s.mu.Unlock()
	s.cfg.Registry.EndSession(m.Peer, m.Generation, why)
	if s.cfg.OnNodeGone != nil {
		s.cfg.OnNodeGone(m.Peer, why)
	}
}

// selfChanged: handshakes and the view show our new record. If the generation
// rose, what stood with those who had declared us down was ended when they
// said so (expelled); the others never saw us go.
func (s *Service) selfChanged(rec roster.Record) {
	old := roster.Member{Record: s.self.Load()}
	s.self.Store(&rec)
	s.cfg.Registry.SetGeneration(rec.Generation)
	m := roster.Member{Record: &rec}
	s.publish(Updated{old, m}, put(m))
	s.mu.Lock()
	waiting, back := s.changes, s.returns && rec.Generation > old.Generation
	s.changes, s.returns = nil, s.returns && !back
	s.mu.Unlock()
	for _, pid := range waiting {
		s.root.Send(pid, done{})
	}
	if back {
		s.comeBack()
	}
}

// comeBack: after we had left, the members that we know are dialed again.
func (s *Service) comeBack() {
	for _, m := range s.View().Members {
		if !s.isSelf(m) {
			s.dial(m)
		}
	}
}

// joinFailed: a contact could not be reached or refused us. Joins are told
// when it is final, subscribers when the reason is another than before.
func (s *Service) joinFailed(n roster.JoinFailed) {
	s.mu.Lock()
	linked := len(s.links) > 0
	s.mu.Unlock()
	s.answerJoins(func(w *joinWait) (bool, error) {
		if _, ok := w.reasons[n.Contact]; !ok {
			return false, nil
		}
		if n.Reason == messages.ReasonDuplicate && linked {
			return true, nil // the address is another of a member to which we have a link
		}
		w.reasons[n.Contact] = n.Reason
		final := w.once || n.Reason == messages.ReasonNameTaken || n.Reason == messages.ReasonSelf && len(w.reasons) == 1
		return final, &JoinError{}
	})
	s.mu.Lock()
	news := s.refusals[n.Contact] != n.Reason
	if len(s.refusals) >= maxRefusals {
		clear(s.refusals)
	}
	s.refusals[n.Contact] = n.Reason
	s.mu.Unlock()
	if news {
		s.log.Info("a contact did not accept this node; it is called again", "contact", n.Contact, "reason", string(n.Reason))
		s.publish(Refused{n.Contact, n.Reason}, nil)
	}
}

// neighbor is a peer to whom overlays have links.
type neighbor struct {
	peer overlay.Peer
	on   []string // the overlays
}

// notified takes what a host's machine notified, on the host's goroutine. News
// go straight to who wants them.
func (s *Service) notified(instance string, n any) {
	switch n := n.(type) {
	case overlay.Publish: // of the roster: it goes on the tree
		s.tellStack(s.overlays[0], n)
	case overlay.Delivered:
		switch n.Subject {
		case roster.Subject:
			s.tellRoster(n)
		case castSubject:
			s.root.Send(s.pids[castPart], n)
		}
	case overlay.Carry:
		s.carry(instance, n)
	case route.Way:
		s.cfg.Registry.SetWay(n.To, n.Via)
	case route.Nowhere:
		s.cfg.Registry.NoWay(n.To)
	default:
		s.tellPeers(notice{instance, n})
	}
}

// onOverlay acts on what an overlay's machine notified: the roster watches over
// neighbors.
func (s *Service) onOverlay(instance string, n any) {
	switch n := n.(type) {
	case overlay.NeighborUp:
		s.neighborUp(instance, n)
	case overlay.NeighborDown:
		s.neighborDown(instance, n)
	case neighbors:
		s.onNeighbors(instance, n)
	case parted:
		s.onParted()
	}
}

func (s *Service) neighborUp(instance string, n overlay.NeighborUp) {
	s.mu.Lock()
	k, had := s.links[n.Peer.Name]
	if had && !k.peer.Same(n.Peer) {
		k, had = neighbor{}, false
	}
	k.peer = n.Peer
	if !slices.Contains(k.on, instance) {
		k.on = append(slices.Clone(k.on), instance)
	}
	s.links[n.Peer.Name], s.met[n.Peer.Name] = k, true
	s.mu.Unlock()
	if had && n.Known == 0 {
		return // another overlay has a link already
	}
	s.tellRoster(n)
}

func (s *Service) neighborDown(instance string, n overlay.NeighborDown) {
	s.mu.Lock()
	k := s.links[n.Peer.Name]
	if k.peer.Same(n.Peer) {
		k.on = slices.DeleteFunc(slices.Clone(k.on), func(i string) bool { return i == instance })
		if s.links[n.Peer.Name] = k; len(k.on) == 0 {
			delete(s.links, n.Peer.Name)
		}
	}
	still := k.peer.Same(n.Peer) && len(k.on) > 0
	leaving, blocked := s.leaving, s.blocked[n.Peer.Name]
	s.mu.Unlock()
	switch {
	case still:
		return // over another overlay
	case leaving:
		n.Reason = messages.ReasonClosed // they part from us as we do from them
	case blocked:
		n.Reason = messages.ReasonDisconnected // wanted: no ground for suspicion
	case n.Reason == messages.ReasonDown && n.Known > 0:
		s.expelled(n.Peer)
	}
	s.tellRoster(n)
}

// expelled: the peer had declared this life down. Its end of the session is
// gone, so ours goes too; a new one follows with our next generation. A session
// that never had a link has nothing that the peer could have ended.
func (s *Service) expelled(p overlay.Peer) {
	m, ok := s.Lookup(p.Name)
	s.mu.Lock()
	met := s.met[p.Name]
	delete(s.met, p.Name)
	s.mu.Unlock()
	if !ok || !met || !m.Peer.Same(p) || m.Status >= roster.StatusDown {
		return
	}
	s.cfg.Registry.EndSession(p, m.Generation, messages.ReasonNodeDown)
	if s.cfg.OnNodeGone != nil {
		s.cfg.OnNodeGone(p, messages.ReasonNodeDown)
	}
}
