package scamp

import (
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

func (m *Machine) received(from overlay.Peer, ev overlay.Received, out *overlay.Effects) {
	if from.Name == m.cfg.Self.Name {
		out.Reject(from, messages.ReasonSelf)
		return
	}
	if m.talk[from.Name]++; m.talk[from.Name] > perPeriod {
		out.Reject(from, messages.ReasonLimit)
		return
	}
	switch msg := ev.Msg.(type) {
	case *messages.ScampSubscribe:
		m.onSubscribe(from, msg, out)
	case *messages.ScampWelcome:
		m.joined(out)
		if !m.view.Has(from) {
			m.keep(from, out)
		}
	case *messages.ScampForward:
		m.onForward(from, msg, out)
	case *messages.ScampKeep:
		m.onKeep(from, out)
	case *messages.ScampDrop:
		m.in.Remove(from)
		m.sync(from, messages.ReasonPeerClosed, out)
	case *messages.ScampLeave:
		m.onLeave(from, msg, out)
	case *messages.ScampHeartbeat:
		if !m.in.Has(from) {
			m.onKeep(from, out) // it has us, whatever we believed
		}
		m.heard = m.now
		delete(m.quiet, from.Name)
	default:
		out.Reject(from, messages.ReasonUnknownType)
	}
}

// onSubscribe finds the contact of a subscriber by a walk (section 4.1): each
// step goes to a random link, and stays with a chance that makes all nodes
// equally likely to be its end (Metropolis and Hastings). The contact sends a
// copy to each of its view and c more (section 3.1).
func (m *Machine) onSubscribe(from overlay.Peer, msg *messages.ScampSubscribe, out *overlay.Effects) {
	p, ok := overlay.DialableOf(msg.GetSubscriber())
	if !ok || msg.GetWalk() > maxHops {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	if p.Name == m.cfg.Self.Name {
		return // our own came back: there is nobody else yet, or there will be another
	}
	if walk := min(int(msg.GetWalk()), m.cfg.Walk); walk > 0 {
		degree, next := m.up.Len(), from
		stay := !from.Same(p) && degree > 0 && m.up.Has(from) && m.cfg.Rand.IntN(degree) >= int(msg.GetDegree())
		if !stay {
			next, ok = m.up.Random(m.cfg.Rand, func(q overlay.Peer) bool { return !q.Same(p) })
		}
		if ok {
			out.Send(next, &messages.ScampSubscribe{Subscriber: msg.GetSubscriber(), Walk: uint32(walk - 1), Degree: uint32(degree)})
			return
		}
	}
	m.sponsor(p, out)
}

// sponsor is the contact's part of a subscription.
func (m *Machine) sponsor(p overlay.Peer, out *overlay.Effects) {
	if m.linked.Has(p) {
		out.Send(p, &messages.ScampWelcome{})
	} else {
		m.welcome.Add(p)
		out.Connect(p)
	}
	copyTo := &messages.ScampForward{Subscriber: overlay.Ref(p), Hops: uint32(m.cfg.Hops)}
	up := func(q overlay.Peer) bool { return !q.Same(p) && m.linked.Has(q) }
	sent := 0
	for _, q := range m.view.All() {
		if up(q) {
			out.Send(q, copyTo)
			sent++
		}
	}
	for range m.cfg.C {
		if q, ok := m.view.Random(m.cfg.Rand, up); ok {
			out.Send(q, copyTo)
			sent++
		}
	}
	if sent == 0 && !m.view.Has(p) {
		m.keep(p, out) // the first of all
	}
}

// onForward keeps a copy with a chance of 1/(1+|view|), or passes it on; the
// last node of its walk keeps it if it can.
func (m *Machine) onForward(from overlay.Peer, msg *messages.ScampForward, out *overlay.Effects) {
	p, ok := overlay.DialableOf(msg.GetSubscriber())
	if !ok || msg.GetHops() > maxHops {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	hops := min(int(msg.GetHops()), m.cfg.Hops)
	can := p.Name != m.cfg.Self.Name && !m.view.Has(p)
	if can && (hops == 0 || m.cfg.Rand.IntN(1+m.view.Len()) == 0) {
		m.keep(p, out)
		return
	}
	if hops == 0 {
		return
	}
	next, ok := m.view.Random(m.cfg.Rand, func(q overlay.Peer) bool { return !q.Same(p) && m.linked.Has(q) })
	switch {
	case ok:
		out.Send(next, &messages.ScampForward{Subscriber: msg.GetSubscriber(), Hops: uint32(hops - 1)})
	case can:
		m.keep(p, out)
	}
}

// onKeep notes who has us.
func (m *Machine) onKeep(from overlay.Peer, out *overlay.Effects) {
	if !m.in.Has(from) && m.in.Len() >= m.cfg.MaxView {
		q, _ := m.in.Random(m.cfg.Rand, nil)
		m.in.Remove(q)
		m.sync(q, messages.ReasonLimit, out)
	}
	m.link(from, out) // it says so over a session
	m.in.Add(from)
	m.heard = m.now
	delete(m.quiet, from.Name)
	m.sync(from, "", out)
}

// onLeave takes the leaver out of both views, and takes another in its place.
func (m *Machine) onLeave(from overlay.Peer, msg *messages.ScampLeave, out *overlay.Effects) {
	p, ok := overlay.DialableOf(msg.GetInstead())
	if msg.GetInstead() != nil && !ok {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	had := m.view.Has(from)
	m.lost(from, messages.ReasonPeerClosed, out)
	out.Disconnect(from, messages.ReasonPeerClosed)
	if had && ok && p.Name != m.cfg.Self.Name && !m.view.Has(p) {
		m.keep(p, out)
	}
}
