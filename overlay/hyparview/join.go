package hyparview

import (
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// join takes contacts, besides those that it has, and joins through the new ones
// first. A node that has neighbors, and so a component of its own, makes room for
// two first: it takes its component along (see docs/protocols/hyparview.md,
// "Halves").
func (m *Machine) join(contacts []overlay.Peer, out *overlay.Effects) {
	list := slices.DeleteFunc(slices.Clone(contacts), func(p overlay.Peer) bool {
		return p.Addr == "" || p.Addr == m.cfg.Self.Addr || len(p.Addr) > overlay.MaxName
	})
	if len(list) == 0 {
		return
	}
	if m.active.Len() == 0 { // many that start at once with the same list do not all come to its first
		m.cfg.Rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	list = list[:min(len(list), maxContacts)]
	former := slices.DeleteFunc(m.contacts, func(p overlay.Peer) bool {
		return slices.ContainsFunc(list, func(q overlay.Peer) bool { return q.Addr == p.Addr })
	})
	former = former[:min(len(former), maxContacts-len(list))]
	m.contacts, m.next, m.tries = slices.Concat(former, list), len(former), 0
	if m.waiting {
		m.waiting = false
		out.CancelTimer(overlay.Timer{Kind: timerRejoin})
	}
	if m.joining() {
		return
	}
	first := list[0]
	if slices.ContainsFunc(m.active.All(), func(p overlay.Peer) bool { return p.Addr == first.Addr }) {
		return
	}
	for m.free(overlay.Peer{}) < 2 && m.active.Len() >= 2 {
		a, ok := m.victim(overlay.Peer{})
		if !ok {
			break
		}
		b, ok := m.victim(a)
		if !ok {
			break
		}
		m.giveUp(a, b, out)
		m.giveUp(b, a, out)
	}
	m.contact(out)
}

func (m *Machine) joining() bool {
	return slices.ContainsFunc(m.asked, func(a asked) bool { return a.why == forJoin })
}

// contact asks the next contact; after a round without success it waits.
func (m *Machine) contact(out *overlay.Effects) {
	if len(m.contacts) == 0 || m.joining() || m.waiting {
		return
	}
	if m.next == len(m.contacts) {
		m.next = 0
		pause := min(m.cfg.RetryMin<<min(m.tries, 16), m.cfg.RetryMax)
		m.tries++
		m.waiting = true
		out.SetTimer(overlay.Timer{Kind: timerRejoin}, pause/2+time.Duration(m.cfg.Rand.Int64N(int64(pause))))
		m.cfg.Rand.Shuffle(len(m.contacts), func(i, j int) { m.contacts[i], m.contacts[j] = m.contacts[j], m.contacts[i] })
		return
	}
	p := m.contacts[m.next]
	m.next++
	m.knock(p, out)
}

// knock asks a contact to let us join.
func (m *Machine) knock(p overlay.Peer, out *overlay.Effects) {
	m.request++
	a := asked{peer: overlay.Peer{Addr: p.Addr}, key: p.Addr, why: forJoin, id: m.request, places: 2}
	m.asked = append(m.asked, a)
	out.SetTimer(overlay.Timer{Kind: timerRequest, Peer: a.key}, m.cfg.Request)
	out.Connect(a.peer)
}

// seek goes back to a contact, ever more seldom, if there is room for an edge and
// nobody to ask: two nodes whose links to all others broke at once, and whom
// nobody answered then, would else remain each other's only neighbor for ever.
func (m *Machine) seek(out *overlay.Effects) {
	if m.active.Len() == 0 || m.passive.Len() > 0 || len(m.asked) > 0 || m.free(overlay.Peer{}) < 2 {
		m.starved = 0
		return
	}
	m.starved++
	if m.starved == 1 || seldom(m.starved) {
		return
	}
	far := slices.DeleteFunc(slices.Clone(m.contacts), func(p overlay.Peer) bool {
		return slices.ContainsFunc(m.active.All(), func(q overlay.Peer) bool { return q.Addr == p.Addr })
	})
	if len(far) > 0 {
		m.knock(far[m.cfg.Rand.IntN(len(far))], out)
	}
}

// seldom reports whether something is left for another shuffle that is done in
// the 1st, 2nd, 4th and so on, and in each 32nd of them.
func seldom(n int) bool { return n&(n-1) != 0 && n%mostSeldom != 0 }

// onJoin takes the newcomer, giving up a neighbor for it if need be, and tells
// the neighbors (section 4.2).
func (m *Machine) onJoin(from overlay.Peer, msg *messages.HyparJoin, out *overlay.Effects) {
	if !m.mayAsk(from, out) {
		out.Send(from, &messages.HyparNeighborReply{Request: msg.GetRequest()})
		return
	}
	evicted, ok := m.take(from, true, out)
	out.Send(from, &messages.HyparNeighborReply{Request: msg.GetRequest(), Accepted: ok, Evicted: evicted})
	if !ok {
		return
	}
	walk := &messages.HyparForwardJoin{Newcomer: overlay.Ref(from), Ttl: uint32(m.cfg.ActiveWalk)}
	for _, p := range m.active.All() {
		if !p.Same(from) {
			out.Send(p, walk)
		}
	}
}

// onForwardJoin is a step of a newcomer's walk (section 4.2). Where the walk
// ends the newcomer is offered a place; so it is, in the walk's second half, at
// a node that has one free. A node that is new itself, which has sent no shuffle
// yet, ends no walk before its time: who joins at the same time would become
// neighbors of each other only. It sends the walk back if it has nobody else.
func (m *Machine) onForwardJoin(from overlay.Peer, msg *messages.HyparForwardJoin, out *overlay.Effects) {
	p, ok := overlay.DialableOf(msg.GetNewcomer())
	if !ok || msg.GetTtl() > maxWalk {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	if !m.neighbor(from, out) || p.Name == m.cfg.Self.Name {
		return
	}
	ttl := min(int(msg.GetTtl()), m.cfg.ActiveWalk)
	known := m.concerns(p)
	settled := m.shuffle > 0
	if !known && (ttl == 0 || settled && (m.active.Len() <= 1 || ttl <= m.cfg.PassiveWalk && m.free(p) > 0)) {
		m.offer(p, out)
		return
	}
	if ttl == m.cfg.PassiveWalk && !known {
		m.remember(p)
	}
	if ttl == 0 {
		return
	}
	if next, ok := m.active.Random(m.cfg.Rand, func(q overlay.Peer) bool { return !q.Same(from) && !q.Same(p) }); ok {
		out.Send(next, &messages.HyparForwardJoin{Newcomer: msg.GetNewcomer(), Ttl: uint32(ttl - 1)})
	} else if !known && settled {
		m.offer(p, out)
	} else {
		out.Send(from, &messages.HyparForwardJoin{Newcomer: msg.GetNewcomer(), Ttl: uint32(ttl - 1)})
	}
}

// offer offers a newcomer a place.
func (m *Machine) offer(p overlay.Peer, out *overlay.Effects) {
	a := asked{peer: p, key: p.Name, why: forOffer}
	if m.free(p) > 0 {
		a.places = 1
	} else if _, ok := m.victim(p); ok {
		a.evicts = true
	} else {
		return
	}
	m.dial(a, out)
}

// neighbor reports whether a peer is one. If not, it is told so: it believes
// otherwise, and views are symmetric.
func (m *Machine) neighbor(p overlay.Peer, out *overlay.Effects) bool {
	if m.active.Has(p) {
		return true
	}
	if _, ok := m.isParting(p.Name); !ok {
		out.Send(p, &messages.HyparDisconnect{})
	}
	return false
}

// mayAsk bounds how often a peer can ask us for a place.
func (m *Machine) mayAsk(p overlay.Peer, out *overlay.Effects) bool {
	t := m.account(p)
	if t.asked++; t.asked > perPeriod {
		out.Reject(p, messages.ReasonLimit)
		return false
	}
	return true
}
