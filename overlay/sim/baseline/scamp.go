package baseline

import (
	"fmt"
	"math/rand/v2"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Scamp is the membership by Ganesh, Kermarrec and Massoulié as first published
// (SCAMP: Peer-to-Peer Lightweight Membership Service for Large-Scale Group
// Communication, NGC 2001): subscriptions alone, which is all that the HyParView
// paper's comparison uses. There are no leases and no search for a contact,
// which are of 2003 (package scamp), nobody leaves in order, and crashes are
// not found. It holds no sessions: each message dials. It gossips itself, to
// some of its view.
type Scamp struct {
	self   overlay.Peer
	rng    *rand.Rand
	copies int // c
	fanout int
	view   overlay.View
	flood  *Flood
}

// scampHops ends the walk of a copy that nobody can keep, as when there are
// few nodes and all have the newcomer.
const scampHops = 1000

// NewScamp makes a Scamp with an empty view; copies is c.
func NewScamp(self overlay.Peer, rng *rand.Rand, copies, fanout int) *Scamp {
	s := &Scamp{self: self, rng: rng, copies: copies, fanout: fanout, flood: NewFlood(self)}
	s.flood.Choose = func(except overlay.Peer) []overlay.Peer {
		return s.view.Sample(nil, s.rng, s.fanout, func(p overlay.Peer) bool { return !p.Same(except) })
	}
	return s
}

// Step implements overlay.Machine.
func (s *Scamp) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	switch ev := ev.(type) {
	case overlay.Join:
		out.Connect(overlay.Peer{Addr: ev.Contacts[0].Addr})
	case overlay.LinkUp:
		if ev.Contact != "" { // a newcomer's view is its contact
			s.keep(ev.Peer, out)
			out.Send(ev.Peer, &messages.BaseSubscribe{Newcomer: wireOf(cyclonEntry{peer: s.self})})
		}
		if !ev.Inbound {
			out.Disconnect(ev.Peer, messages.ReasonClosed)
		}
	case overlay.Received:
		switch m := ev.Msg.(type) {
		case *messages.BaseGossip:
			s.flood.Step(now, ev, out)
		case *messages.BaseSubscribe:
			if m.Copy {
				s.copied(m, out)
			} else {
				s.subscribed(m, out)
			}
		}
		out.Disconnect(ev.From, messages.ReasonClosed)
	case overlay.Publish:
		s.flood.Step(now, ev, out)
	}
}

// subscribed: the contact sends a copy to each of its view, and c more to some
// of it. The first contact has nobody and keeps the newcomer itself.
func (s *Scamp) subscribed(m *messages.BaseSubscribe, out *overlay.Effects) {
	if s.view.Len() == 0 {
		s.keep(entryOf(m.Newcomer).peer, out)
		return
	}
	on := &messages.BaseSubscribe{Newcomer: m.Newcomer, Copy: true}
	for _, p := range s.view.All() {
		out.Send(p, on)
	}
	for range s.copies {
		out.Send(s.any(), on)
	}
}

// copied keeps a copy with a chance of 1/(1+|view|) if it is news, or passes it
// on to one of the view.
func (s *Scamp) copied(m *messages.BaseSubscribe, out *overlay.Effects) {
	p := entryOf(m.Newcomer).peer
	if !p.Same(s.self) && !s.view.Has(p) && s.rng.IntN(1+s.view.Len()) == 0 {
		s.keep(p, out)
		return
	}
	if s.view.Len() > 0 && m.Hops < scampHops {
		out.Send(s.any(), &messages.BaseSubscribe{Newcomer: m.Newcomer, Copy: true, Hops: m.Hops + 1})
	}
}

// any is one of the view, which is not empty.
func (s *Scamp) any() overlay.Peer { return s.view.All()[s.rng.IntN(s.view.Len())] }

func (s *Scamp) keep(p overlay.Peer, out *overlay.Effects) {
	if s.view.Add(p) {
		out.Notify(overlay.NeighborUp{Peer: p})
	}
}

// String implements fmt.Stringer.
func (s *Scamp) String() string { return fmt.Sprintf("scamp %v", &s.view) }
