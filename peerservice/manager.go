package peerservice

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
)

// Messages to the manager, inside the process only; its orders are those of
// package messages.
type (
	// notice is what a host's machine notified.
	notice struct {
		instance string
		value    any
	}
	// started tells that a host runs a fresh machine.
	started struct{ instance string }
	// alter is an order to change this node's record.
	alter struct{ order any }
	// parted tells that the overlays have said farewell.
	parted struct{}
	// part is the order to end all sessions, after the farewell.
	part struct{}
)

// manager is the peer service manager actor: what the roster finds becomes
// sessions, dial rules, ends of watches and events, in this order; and it takes
// the orders of the application. All it must not forget is the Service's.
//
// It heeds JoinOrder, LeaveOrder, ForceLeaveOrder, DisconnectOrder and
// SetTagsOrder, which it answers.
type manager struct{ s *Service }

// Receive implements actor.Actor.
func (m *manager) Receive(c actor.Context) {
	s := m.s
	switch msg := c.Message().(type) {
	case *actor.Started:
		s.takeUp()
	case started:
		s.onStarted(msg.instance)
	case notice:
		if msg.instance == rosterInstance {
			s.onRoster(msg.value)
		} else {
			s.onOverlay(msg.instance, msg.value)
		}
	case *messages.JoinOrder:
		s.onJoin(msg)
	case *messages.LeaveOrder:
		s.onLeave(c.Sender())
	case part:
		s.part()
		c.Respond(done{})
	case *messages.ForceLeaveOrder:
		c.Respond(done{s.onForceLeave(msg.GetName())})
	case *messages.DisconnectOrder:
		c.Respond(done{s.onDisconnect(msg.GetName())})
	case *messages.SetTagsOrder:
		rec := s.Self()
		rec.Tags = msg.GetTags()
		if err := rec.Validate(); err != nil {
			c.Respond(done{err})
			return
		}
		s.change(c.Sender(), roster.SetTags{Tags: msg.GetTags()})
	case alter:
		s.change(c.Sender(), msg.order)
	}
}

// call makes the roster call contacts, now and after every restart of it.
func (s *Service) call(contacts []string) {
	s.mu.Lock()
	for _, c := range contacts {
		if !slices.Contains(s.contacts, c) {
			s.contacts = append(s.contacts, c)
		}
	}
	s.mu.Unlock()
	s.tellRoster(joinEvent(contacts))
	s.tellStacks(false, joinEvent(contacts))
}

func joinEvent(contacts []string) overlay.Join {
	var ev overlay.Join
	for _, c := range contacts {
		ev.Contacts = append(ev.Contacts, overlay.Peer{Addr: c})
	}
	return ev
}

func (s *Service) onJoin(o *messages.JoinOrder) {
	s.mu.Lock()
	back := s.leaving
	s.returns = s.returns || back
	s.leaving, s.farewell = false, false
	s.mu.Unlock()
	if back { // what has left stays so
		now := time.Now()
		s.cast.back.Store(&now)
		s.tellStacks(false, renew{})
	}
	for _, m := range s.Known() {
		if slices.ContainsFunc(o.GetContacts(), func(c string) bool { return slices.Contains(m.Addrs, c) }) {
			s.unblock(m)
		}
	}
	s.call(o.GetContacts())
}

// onLeave: from now on no member is dialed, since members that know of the
// farewell refuse us, which must not look as if they had declared us down.
func (s *Service) onLeave(who *actor.PID) {
	s.mu.Lock()
	s.leavers = append(s.leavers, who)
	s.leaving = true
	said := s.farewell
	s.mu.Unlock()
	if said {
		s.onLeft()
		return
	}
	s.tellRoster(overlay.Leave{})
}

func (s *Service) onLeft() {
	s.mu.Lock()
	said := s.farewell
	s.farewell = s.leaving
	s.mu.Unlock()
	if !said && s.leaving {
		s.tellStacks(false, overlay.Leave{})
	}
	// Whoever waits is answered once all overlays have said farewell, too.
	last := s.overlays[len(s.overlays)-1]
	s.tellStack(last, export{func(overlay.Machine) any { return parted{} }})
}

// onParted answers those who wait for the farewell.
func (s *Service) onParted() {
	s.mu.Lock()
	leavers := s.leavers
	s.leavers = nil
	s.mu.Unlock()
	for _, pid := range leavers {
		s.root.Send(pid, done{})
	}
}

// part ends what stands with all members; they do the same on our farewell.
func (s *Service) part() {
	for _, m := range s.View().Members {
		if !s.isSelf(m) {
			s.end(m, messages.ReasonClosed)
		}
	}
}

func (s *Service) onForceLeave(name string) error {
	m, ok := s.Lookup(name)
	switch {
	case !ok:
		return fmt.Errorf("peerservice: no member %q is known", name)
	case m.Status == roster.StatusAlive:
		return fmt.Errorf("peerservice: %q is alive; only a member that is down can be made to leave", name)
	}
	s.tellRoster(overlay.Command{Order: roster.ForceLeave{Name: name}})
	return nil
}

func (s *Service) onDisconnect(name string) error {
	m, ok := s.Lookup(name)
	switch {
	case !ok:
		return fmt.Errorf("peerservice: no member %q is known", name)
	case s.isSelf(m):
		return errors.New("peerservice: a node cannot disconnect from itself")
	}
	s.mu.Lock()
	s.blocked[name] = true
	s.mu.Unlock()
	s.cfg.Registry.Block(name, true)
	s.tellStacks(false, overlay.MemberDown{Peer: m.Peer})
	return nil
}

// unblock ends Disconnect.
func (s *Service) unblock(m roster.Member) {
	s.mu.Lock()
	was := s.blocked[m.Peer.Name]
	delete(s.blocked, m.Peer.Name)
	s.mu.Unlock()
	if was {
		s.cfg.Registry.Block(m.Peer.Name, false)
		s.dial(m)
	}
}

// dial lets the overlays that are dial rules consider a member.
func (s *Service) dial(m roster.Member) {
	s.mu.Lock()
	not := s.blocked[m.Peer.Name] || s.leaving
	s.mu.Unlock()
	if !not && m.Status < roster.StatusDown && !s.isSelf(m) {
		s.tellStacks(true, overlay.MemberUp{Peer: m.Peer})
	}
}

// change has the roster change our record; who asked is answered once it has.
func (s *Service) change(who *actor.PID, order any) {
	s.mu.Lock()
	s.changes = append(s.changes, who)
	s.mu.Unlock()
	s.tellRoster(overlay.Command{Order: order})
}
