package hyparview

import (
	"slices"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// reserved reports whether a peer may fill a reserved place.
func (m *Machine) reserved(p overlay.Peer) bool {
	return m.cfg.Reserved > 0 && p.Name != "" && m.cfg.Reserve(p)
}

// free is how many places a peer could have: those that are neither taken nor
// kept for answers, for who was given up in our favor, or for others.
func (m *Machine) free(p overlay.Peer) int {
	n := m.cfg.Active - m.active.Len() - len(m.kept)
	for i := range m.asked {
		n -= m.asked[i].places
	}
	if m.cfg.Reserved > 0 && !m.reserved(p) {
		filled := 0
		for _, q := range m.active.All() {
			if m.reserved(q) {
				filled++
			}
		}
		n -= max(m.cfg.Reserved-filled, 0)
	}
	return n
}

// victim is the neighbor of longest standing that may be given up for p. The
// paper draws one; but when many join at once through few contacts, those are
// soon neighbors of newcomers only, who would be given up for each other and
// become a cluster that ends together.
func (m *Machine) victim(p overlay.Peer) (overlay.Peer, bool) {
	for _, q := range m.active.All() {
		if q.Name != p.Name && !m.reserved(q) {
			return q, true
		}
	}
	return overlay.Peer{}, false
}

// take makes p a neighbor. If there is no place and evict is set, another is
// given up for it, who will turn to p.
func (m *Machine) take(p overlay.Peer, evict bool, out *overlay.Effects) (evicted, ok bool) {
	if m.active.Has(p) {
		return false, true
	}
	if _, parting := m.isParting(p.Name); parting {
		return false, false
	}
	if i := m.askedBy(p.Name); i >= 0 { // both asked: its request is the answer
		m.settle(i, out)
	}
	m.yield(p, out)
	switch {
	case m.free(p) > 0:
	case !evict:
		return false, false
	default:
		v, ok := m.victim(p)
		if !ok {
			return false, false
		}
		m.giveUp(v, p, out)
		evicted = true
	}
	m.add(p, out)
	return evicted, true
}

// yield gives p the place that is kept for the answer of a passive peer: who
// asks is there, and the other may not be.
func (m *Machine) yield(p overlay.Peer, out *overlay.Effects) {
	for i := len(m.asked) - 1; i >= 0 && m.free(p) <= 0; i-- {
		if a := m.asked[i]; a.why == forLow || a.why == forHigh {
			m.settle(i, out)
			out.Disconnect(a.peer, messages.ReasonClosed)
		}
	}
}

// add makes p a neighbor; there is a place.
func (m *Machine) add(p overlay.Peer, out *overlay.Effects) {
	if old, ok := m.active.Find(p.Name); ok && !old.Same(p) {
		m.drop(old, messages.ReasonPastLife, out)
	}
	if q, ok := m.passive.Find(p.Name); ok {
		m.passive.Remove(q)
	}
	if m.strangers.Remove(p) {
		out.CancelTimer(overlay.Timer{Kind: timerStranger, Peer: p.Name})
	}
	if m.active.Add(p) {
		out.Notify(overlay.NeighborUp{Peer: p})
	}
	m.answer(out)
	m.tries, m.odd = 0, 0
}

// drop ends being neighbors and releases the session.
func (m *Machine) drop(p overlay.Peer, why messages.Reason, out *overlay.Effects) {
	if m.active.Remove(p) {
		out.Notify(overlay.NeighborDown{Peer: p, Reason: why})
		out.Disconnect(p, why)
	}
}

// giveUp tells a neighbor to turn to another. It remains linked until it says
// that it has heard, but its place is free.
func (m *Machine) giveUp(v, instead overlay.Peer, out *overlay.Effects) {
	m.active.Remove(v)
	m.parting = append(m.parting, parting{v, instead})
	out.Notify(overlay.NeighborDown{Peer: v, Reason: messages.ReasonClosed})
	out.Send(v, &messages.HyparDisconnect{Instead: overlay.Ref(instead)})
	out.SetTimer(overlay.Timer{Kind: timerParting, Peer: v.Name}, m.cfg.Request)
}

func (m *Machine) isParting(name string) (overlay.Peer, bool) {
	for i := range m.parting {
		if m.parting[i].peer.Name == name {
			return m.parting[i].peer, true
		}
	}
	return overlay.Peer{}, false
}

// part releases the session with a peer that was given up.
func (m *Machine) part(p overlay.Peer, why messages.Reason, out *overlay.Effects) {
	m.parting = slices.DeleteFunc(m.parting, func(q parting) bool { return q.peer.Same(p) })
	out.CancelTimer(overlay.Timer{Kind: timerParting, Peer: p.Name})
	out.Disconnect(p, why)
}

// onDisconnect: a neighbor gives us up, or leaves. The place is free, unless we
// are to turn to another. Our last neighbor hears that we have heeded it when we
// have another: until then it waits, with the link, and is there to miss us.
func (m *Machine) onDisconnect(from overlay.Peer, msg *messages.HyparDisconnect, out *overlay.Effects) {
	instead, ok := overlay.DialableOf(msg.GetInstead())
	if msg.GetInstead() != nil && !ok {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	var owed overlay.Peer // whom we gave up from for, if both gave up each other
	if i := slices.IndexFunc(m.parting, func(q parting) bool { return q.peer.Same(from) }); i >= 0 && !msg.GetLeaving() {
		if msg.GetInstead() == nil || m.cfg.Self.Name < from.Name {
			return // what we told it counts
		}
		owed = m.parting[i].instead
		m.part(from, messages.ReasonClosed, out)
	} else if i >= 0 {
		m.part(from, messages.ReasonClosed, out)
		return
	} else if !m.active.Has(from) {
		if msg.GetInstead() != nil {
			out.Send(from, &messages.HyparDisconnected{}) // it waits for that
		}
		return
	}
	if m.active.Len() == 1 && m.active.Has(from) && msg.GetInstead() != nil && !msg.GetLeaving() {
		m.active.Remove(from)
		out.Notify(overlay.NeighborDown{Peer: from, Reason: messages.ReasonPeerClosed})
		m.last = from
	} else {
		if !msg.GetLeaving() {
			out.Send(from, &messages.HyparDisconnected{})
		}
		m.drop(from, messages.ReasonPeerClosed, out)
	}
	m.tried = append(m.tried, trial{name: from.Name}) // not at once again
	if msg.GetLeaving() {
		m.passive.Remove(from)
	} else {
		m.remember(from)
	}
	if ok && instead.Name != m.cfg.Self.Name && !m.concerns(instead) {
		m.dial(asked{peer: instead, key: instead.Name, why: forInstead, via: from.Name, places: 1}, out)
	}
	if owed.Name != "" && m.free(overlay.Peer{}) < 0 {
		if v, ok := m.victim(owed); ok {
			m.giveUp(v, owed, out)
		}
	}
	m.promote(out)
}

// holds reports whether a peer waits for our answer, and we hold the session for it.
func (m *Machine) holds(p overlay.Peer) bool { return m.last.Name != "" && m.last.Same(p) }

// answer tells our last neighbor that we need it no more.
func (m *Machine) answer(out *overlay.Effects) {
	if p := m.last; p.Name != "" {
		m.last = overlay.Peer{}
		out.Send(p, &messages.HyparDisconnected{})
		if !m.concerns(p) {
			out.Disconnect(p, messages.ReasonPeerClosed)
		}
	}
}

func (m *Machine) onDisconnected(from overlay.Peer, out *overlay.Effects) {
	if p, ok := m.isParting(from.Name); ok && p.Same(from) {
		m.part(from, messages.ReasonClosed, out)
		m.remember(from)
	}
}

// dial begins a request: the link first.
func (m *Machine) dial(a asked, out *overlay.Effects) {
	if len(m.asked) >= maxAsked || m.askedBy(a.key) >= 0 {
		return // one request at a time to each
	}
	m.request++
	a.id = m.request
	m.asked = append(m.asked, a)
	out.SetTimer(overlay.Timer{Kind: timerRequest, Peer: a.key}, m.cfg.Request)
	out.Connect(a.peer)
}

// ask sends a request over the link that is up.
func (m *Machine) ask(a *asked, out *overlay.Effects) {
	a.sent = true
	if m.holds(a.peer) {
		m.answer(out) // it takes nobody whom it gives up
	}
	if a.why == forJoin {
		out.Send(a.peer, &messages.HyparJoin{Request: a.id})
		return
	}
	msg := &messages.HyparNeighbor{Request: a.id, Via: a.via, Evicts: a.evicts}
	switch a.why {
	case forHigh:
		msg.Priority = messages.HyparPriority_HYPAR_HIGH
	case forOffer:
		msg.Priority = messages.HyparPriority_HYPAR_OFFER
	}
	out.Send(a.peer, msg)
}

// askedBy finds the request to a peer by name, or to a contact by address.
func (m *Machine) askedBy(key string) int {
	return slices.IndexFunc(m.asked, func(a asked) bool { return a.key == key || a.peer.Name == key })
}

// settle takes a request off the list.
func (m *Machine) settle(i int, out *overlay.Effects) asked {
	a := m.asked[i]
	m.asked = slices.Delete(m.asked, i, i+1)
	out.CancelTimer(overlay.Timer{Kind: timerRequest, Peer: a.key})
	return a
}

// abandon ends a request whose answer does not come.
func (m *Machine) abandon(i int, out *overlay.Effects) {
	out.Disconnect(m.asked[i].peer, messages.ReasonTimeout)
	m.failed(i, out)
}

// failed ends a request without an answer. A passive peer that cannot be
// reached is no good (section 4.3); the next one is tried.
func (m *Machine) failed(i int, out *overlay.Effects) {
	a := m.settle(i, out)
	m.passive.Remove(a.peer)
	m.promote(out)
}

// onNeighbor decides on a request for a place (section 4.3).
func (m *Machine) onNeighbor(from overlay.Peer, msg *messages.HyparNeighbor, out *overlay.Effects) {
	var evicted, ok bool
	offer := msg.GetPriority() == messages.HyparPriority_HYPAR_OFFER
	switch {
	case len(msg.GetVia()) > overlay.MaxName:
		out.Reject(from, messages.ReasonMalformed)
	case !m.mayAsk(from, out):
	case msg.GetVia() != "" && slices.Contains(m.kept, msg.GetVia()):
		m.release(msg.GetVia(), out)
		_, ok = m.take(from, false, out)
	case offer && msg.GetEvicts():
		if m.active.Has(from) || m.free(from) >= 2 {
			_, ok = m.take(from, false, out)
		}
		if ok {
			m.keep(from, out)
		}
	default:
		evicted, ok = m.take(from, msg.GetPriority() == messages.HyparPriority_HYPAR_HIGH, out)
	}
	out.Send(from, &messages.HyparNeighborReply{Request: msg.GetRequest(), Accepted: ok, Evicted: evicted})
	if !ok {
		m.remember(from)
	}
}

// keep keeps a place for whom p gives up in our favor.
func (m *Machine) keep(p overlay.Peer, out *overlay.Effects) {
	if !slices.Contains(m.kept, p.Name) {
		m.kept = append(m.kept, p.Name)
		out.SetTimer(overlay.Timer{Kind: timerPlace, Peer: p.Name}, m.cfg.Request)
	}
}

// release gives back the place that is kept by a peer's name.
func (m *Machine) release(name string, out *overlay.Effects) bool {
	i := slices.Index(m.kept, name)
	if i >= 0 {
		m.kept = slices.Delete(m.kept, i, i+1)
		out.CancelTimer(overlay.Timer{Kind: timerPlace, Peer: name})
	}
	return i >= 0
}

// onReply ends a request.
func (m *Machine) onReply(from overlay.Peer, msg *messages.HyparNeighborReply, out *overlay.Effects) {
	i := slices.IndexFunc(m.asked, func(a asked) bool { return a.sent && a.id == msg.GetRequest() && a.peer.Same(from) })
	if i < 0 {
		// Too late, or we took it meanwhile; if it believes that we are
		// neighbors and we are not, it is told. If it has been asked again, the
		// answer to that will say the same.
		if msg.GetAccepted() && m.askedBy(from.Name) < 0 && m.neighbor(from, out) && msg.GetEvicted() && m.free(overlay.Peer{}) > 0 {
			m.keep(from, out)
		}
		return
	}
	a := m.settle(i, out)
	if _, parting := m.isParting(from.Name); parting || !msg.GetAccepted() {
		// We may have given it up since: it accepted before it heard of that.
		m.declined(a, out)
		return
	}
	if !m.active.Has(from) && m.free(from) <= 0 {
		v, ok := m.victim(from)
		if !ok {
			out.Send(from, &messages.HyparDisconnect{})
			return
		}
		m.giveUp(v, from, out)
	}
	m.add(from, out)
	if msg.GetEvicted() {
		m.keep(from, out)
	}
	m.promote(out)
}

// declined: the peer has no place for us.
func (m *Machine) declined(a asked, out *overlay.Effects) {
	if a.why != forOffer && a.why != forJoin {
		m.tried = append(m.tried, trial{a.peer.Name, a.why == forHigh || m.active.Len() == 0})
		m.refused++
	}
	m.remember(a.peer)
	m.promote(out)
}

// promote fills free places from the passive view (section 4.3), as many at a
// time as there are. Without neighbors and candidates it goes back to the
// contacts. A single place that nobody had room to fill for some shuffles is
// asked for ever more seldom: where the places of all make an odd number, one
// stays free, and a few nodes are full soon.
func (m *Machine) promote(out *overlay.Effects) {
	alone := m.active.Len() == 0
	for (alone || m.refused < m.cfg.Tries) && len(m.asked) < maxAsked {
		free := m.free(overlay.Peer{})
		if free <= 0 || alone && free == 1 && len(m.asked) > 0 {
			return // who is alone asks with high priority only
		}
		if free == 1 && m.odd > patience && seldom(m.odd) && !alone {
			return
		}
		p, ok := m.passive.Random(m.cfg.Rand, func(q overlay.Peer) bool {
			return !m.wasTried(q, alone) && m.askedBy(q.Name) < 0 && (!m.concerns(q) || m.holds(q) && len(m.asked) == 0)
		})
		if !ok {
			break
		}
		a := asked{peer: p, key: p.Name, why: forLow, places: 1}
		if free >= 2 {
			a.why, a.places = forHigh, 2
		}
		m.dial(a, out)
	}
	if alone && len(m.asked) == 0 && len(m.kept) == 0 {
		m.contact(out)
	}
}

// wasTried reports whether a peer was tried for a place since the last shuffle,
// and is not to be tried again. Who has no neighbor left tries everyone who has
// not refused that.
func (m *Machine) wasTried(p overlay.Peer, alone bool) bool {
	return slices.ContainsFunc(m.tried, func(t trial) bool { return t.name == p.Name && (t.firm || !alone) })
}
