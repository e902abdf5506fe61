package roster

import (
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// askMost bounds how many neighbors are asked about a lost member.
const askMost = 8

// tries is how often neighbors are asked about a member, and how often a
// suspicion is told within its time: messages can be lost.
const tries = 2

// maxRounds bounds the growth of the pause between askings: 2^maxRounds.
const maxRounds = 5

func watchTimer(e *entry) overlay.Timer {
	return overlay.Timer{Kind: timerWatch, Peer: e.rec.Peer.Name}
}

// watch puts a member into a stage that ends after a time.
func (m *Machine) watch(e *entry, s stage, d time.Duration, out *overlay.Effects) {
	e.stage, e.due = s, m.now.Add(d)
	out.SetTimer(watchTimer(e), d)
}

// unwatch ends the watch over a member.
func (m *Machine) unwatch(e *entry, out *overlay.Effects) {
	if e.stage != stageFine {
		out.CancelTimer(watchTimer(e))
	}
	e.stage, e.rounds, e.tried = stageFine, 0, 0
	delete(m.asked, e)
}

func (m *Machine) onNeighborUp(ev overlay.NeighborUp, out *overlay.Effects) {
	e := m.table.get(ev.Peer.Name)
	if e == nil || e.rec.Peer.Incarnation != ev.Peer.Incarnation || e.status >= StatusDown {
		m.greet(e, ev.Peer, out)
		return
	}
	m.table.link(e, true)
	if e.status == StatusSuspect {
		m.remind(e, out) // and wait on for its answer
	} else {
		m.unwatch(e, out)
	}
	m.notAlone(out)
	if ev.Known > 0 {
		m.raise(ev.Known, out)
	}
	m.found()
	m.sendSelf(e.rec.Peer, out)
	m.sendDigest(e.rec.Peer, out)
}

// found ends joining when a member has become a neighbor while our own contacts
// do not answer, or there are none: it joined through us. It reports whether we
// were joining.
func (m *Machine) found() bool {
	if m.joined || len(m.vias) > 0 || m.pending() {
		return false
	}
	m.joined, m.visible, m.echoes = true, true, nil
	return true
}

// greet meets a neighbor of whom we know no record that holds. On partial views
// it is one that has just joined, or is back; elsewhere the overlay has not
// heard yet that it is no member.
func (m *Machine) greet(e *entry, p overlay.Peer, out *overlay.Effects) {
	if !m.cfg.Partial || p.Name == m.self.Peer.Name {
		return
	}
	m.ahead[p.Name] = p
	m.notAlone(out)
	if e != nil && e.rec.Peer.Incarnation == p.Incarnation { // it must know, so that it returns
		out.Send(p, &messages.RosterUpdate{Claims: []*messages.RosterClaim{m.claimOf(e)}})
	}
	m.sendSelf(p, out)
	m.sendDigest(p, out)
}

// meet links a member whose record has come after it became a neighbor.
func (m *Machine) meet(e *entry, out *overlay.Effects) {
	if p, ok := m.ahead[e.rec.Peer.Name]; ok && p.Same(e.rec.Peer) {
		delete(m.ahead, p.Name)
		m.table.link(e, true)
		m.unwatch(e, out)
		if m.found() { // what greet sent was not seen yet
			m.sendSelf(p, out)
			m.sendDigest(p, out)
		}
	}
}

// agreed reports whether a link ended since one of the two gave it up.
func agreed(why messages.Reason) bool {
	switch why {
	case messages.ReasonClosed, messages.ReasonPeerClosed, messages.ReasonLimit, messages.ReasonPastLife:
		return true
	}
	return false
}

// onNeighborDown takes the loss of a link, or (the reason says so) a failure
// to dial it again.
func (m *Machine) onNeighborDown(ev overlay.NeighborDown, out *overlay.Effects) {
	if p, ok := m.ahead[ev.Peer.Name]; ok && p.Same(ev.Peer) {
		delete(m.ahead, ev.Peer.Name)
		m.checkAlone(out)
	}
	e := m.table.get(ev.Peer.Name)
	if e == nil || e.rec.Peer.Incarnation != ev.Peer.Incarnation {
		return
	}
	m.table.link(e, false)
	m.checkAlone(out)
	switch {
	case m.cfg.Partial && agreed(ev.Reason):
	case e.status >= StatusDown || m.leaving:
	case ev.Reason == messages.ReasonDown && ev.Known > 0:
		// It lives, and has declared us down. We return with a new generation.
		m.unaccuse(e, out)
		m.raise(ev.Known, out)
	case ev.Reason == messages.ReasonDisconnected:
		// The operator wants no link: that says nothing about the member.
	case ev.Reason == messages.ReasonNameTaken:
		// It lives, and holds another for us.
		if m.taken.Name == "" {
			m.taken = overlay.Peer{Name: m.self.Peer.Name}
		}
		m.unaccuse(e, out)
		m.nameTaken(NameTaken{Contact: ev.Peer.Addr}, out)
	case e.status == StatusSuspect:
	case e.verdict != nil && e.verdict.GetStatus() == messages.RosterStatus_ROSTER_STATUS_LEFT:
		c := e.verdict // its farewell had come over others
		m.bury(e, stateOfClaim(c), c.GetAddr(), c.GetObservers(), m.since(c), messages.ReasonDown, overlay.Peer{}, out)
	case e.stage == stageFine:
		// At a time of its own: of all who lost it one is the first to accuse it,
		// and the others, who hear of that in time, need not.
		m.watch(e, stageGrace, m.jitter(m.grace()), out)
	case e.stage == stageGrace && (ev.Reason == messages.ReasonRefused || ev.Reason == messages.ReasonWrongName):
		m.ask(e, out) // nobody listens there any more, or somebody else does
	}
}

// parted: a session broke that we held with a member. On partial views one that has
// not found its neighbors yet, or lost them, is missed by nobody else.
func (m *Machine) parted(ev overlay.LinkDown, out *overlay.Effects) {
	e := m.table.get(ev.Peer.Name)
	broke := ev.Reason == messages.ReasonReset || ev.Reason == messages.ReasonSilent
	if m.cfg.Partial && broke && !m.leaving && e != nil && e.rec.Peer.Same(ev.Peer) && !e.neighbor && e.status == StatusAlive && e.stage == stageFine {
		m.watch(e, stageGrace, m.jitter(m.grace()), out)
	}
}

// deserted reports whether the only member that we know, whom we lost, went while we
// were joining, and no contact is left that could tell us more: then we had found
// each other, and it is watched as any other.
func (m *Machine) deserted(e *entry) bool {
	return !m.joined && !e.neighbor && len(m.vias) == 0 && !m.pending() && !slices.ContainsFunc(m.table.order, func(o *entry) bool {
		return o != e && o.status < StatusDown && o.rec.Peer.Name != m.self.Peer.Name
	})
}

// unaccuse ends the watch over one that answered, if not with a link. A
// suspicion stands: only its owner refutes it.
func (m *Machine) unaccuse(e *entry, out *overlay.Effects) {
	if e.status == StatusAlive {
		m.unwatch(e, out)
	}
}

// mute reports whether we may not accuse now.
func (m *Machine) mute() bool {
	return !m.joined || m.leaving || m.taken.Name != "" || m.now < m.quiet
}

// onWatch: the time of a member's stage is over.
func (m *Machine) onWatch(e *entry, out *overlay.Effects) {
	if e.stage == stageFine || m.late(e, out) {
		return
	}
	if m.deserted(e) {
		m.joined, m.visible, m.echoes = true, true, nil
	}
	switch {
	case m.mute():
		m.watch(e, e.stage, max(m.quiet.Sub(m.now), m.grace()), out)
	case e.stage == stageAsking && e.tried >= tries:
		m.accuse(e, out) // who was asked did not answer
	case e.stage != stageSuspect:
		m.ask(e, out)
	case e.neighbor:
		m.remind(e, out) // it is connected to us, so it lives and will refute
		m.watch(e, stageSuspect, m.suspicion(), out)
	case e.tried < tries:
		e.tried++
		if m.repeats(e) {
			m.tell(e, overlay.Peer{}, out)
		}
		m.watch(e, stageSuspect, m.suspicion()/(tries+1), out)
	default:
		s, addr := e.state(), e.rec.Peer.Addr
		by := e.observers
		if v := e.verdict; v != nil {
			s, addr, by = stateOfClaim(v), v.GetAddr(), v.GetObservers()
		} else {
			s.status = StatusDown
		}
		m.bury(e, s, addr, by, m.now, messages.ReasonSilent, overlay.Peer{}, out)
	}
}

// ask asks neighbors whether they have a link to a member that we lost, and on partial
// views calls it. It is accused only if none has, or, where there is nobody to ask, if it
// does not answer.
func (m *Machine) ask(e *entry, out *overlay.Effects) {
	if e.stage != stageAsking {
		e.tried = 0
	}
	if m.mute() {
		m.watch(e, stageGrace, max(m.quiet.Sub(m.now), m.grace()), out)
		return
	}
	near := m.sample(askMost, e.rec.Peer)
	if called := m.cfg.Partial && m.summon(e.rec.Peer, out); len(near) == 0 && !called {
		m.accuse(e, out)
		return
	}
	asked := m.asked[e][:0]
	for _, p := range near {
		asked = append(asked, p.Name)
		out.Send(p, &messages.RosterAsk{Name: e.rec.Peer.Name, Incarnation: uint64(e.rec.Peer.Incarnation)})
	}
	m.asked[e] = asked
	e.tried++
	m.watch(e, stageAsking, m.grace()/2/tries, out)
}

// onAsk answers whether there is a link, and says so if the member is gone.
func (m *Machine) onAsk(from overlay.Peer, msg *messages.RosterAsk, out *overlay.Effects) {
	if msg.GetName() == "" || len(msg.GetName()) > maxName || msg.GetIncarnation() == 0 {
		out.Reject(from, messages.ReasonBadFrame)
		return
	}
	e := m.table.get(msg.GetName())
	same := e != nil && uint64(e.rec.Peer.Incarnation) == msg.GetIncarnation()
	if same && e.status >= StatusDown {
		out.Send(from, &messages.RosterUpdate{Claims: []*messages.RosterClaim{m.claimOf(e)}})
	}
	out.Send(from, &messages.RosterAnswer{Name: msg.GetName(), Incarnation: msg.GetIncarnation(), Linked: same && e.neighbor})
}

func (m *Machine) onAnswer(from overlay.Peer, msg *messages.RosterAnswer, out *overlay.Effects) {
	e := m.table.get(msg.GetName())
	if e == nil || uint64(e.rec.Peer.Incarnation) != msg.GetIncarnation() || e.stage != stageAsking {
		return // too late
	}
	asked := m.asked[e]
	i := slices.Index(asked, from.Name)
	switch {
	case i < 0: // not asked
	case msg.GetLinked():
		m.vouched(e, out)
	default:
		if m.asked[e] = slices.Delete(asked, i, i+1); len(m.asked[e]) == 0 {
			m.accuse(e, out)
		}
	}
}

// vouched: a member to whom we have no link is alive for others. It is asked
// about again, ever more seldom.
func (m *Machine) vouched(e *entry, out *overlay.Effects) {
	if m.cfg.Partial { // whoever has a link will see it end
		m.unwatch(e, out)
		return
	}
	e.tried = 0
	delete(m.asked, e)
	m.watch(e, stageVouched, m.jitter(m.cfg.Suspicion/2<<e.rounds), out)
	e.rounds = min(e.rounds+1, maxRounds)
}
