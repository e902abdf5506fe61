package roster

import (
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// claimOf says of an entry what we hold of it.
func (m *Machine) claimOf(e *entry) *messages.RosterClaim {
	c := &messages.RosterClaim{
		Name: e.rec.Peer.Name, Incarnation: uint64(e.rec.Peer.Incarnation), Generation: e.rec.Generation,
		Version: e.rec.Version, Status: messages.RosterStatus(e.status), Observers: e.observers,
	}
	if e.status == StatusSuspect {
		c.Version = max(c.Version, e.accused)
	} else {
		c.Addr = e.rec.Peer.Addr
		c.AgeMs = uint64(max(m.now.Sub(e.changed), 0) / time.Millisecond)
	}
	return c
}

// takeSuspicion takes a suspicion of the life that we know. Whoever has a link
// to the suspect does not believe it: it passes it on, and the suspect refutes
// on that link. So one broken link declares nobody down.
func (m *Machine) takeSuspicion(from overlay.Peer, e *entry, c *messages.RosterClaim, out *overlay.Effects) {
	switch {
	case c.GetVersion() < e.rec.Version: // refuted already: the sender has not heard of it
		if !m.fromTree {
			out.Send(from, &messages.RosterUpdate{Records: [][]byte{e.rec.raw}})
		}
	case e.neighbor:
		out.Send(e.rec.Peer, &messages.RosterUpdate{Claims: []*messages.RosterClaim{c}})
	case e.status == StatusSuspect:
		e.accused = max(e.accused, c.GetVersion())
		for _, o := range c.GetObservers() {
			if len(e.observers) < maxObservers && !slices.Contains(e.observers, o) {
				e.observers = append(slices.Clip(e.observers), o)
			}
		}
		m.comesBack(e.rec.Peer.Name, from, out)
	default:
		m.suspect(e, c.GetObservers(), c.GetVersion(), out)
		m.pass(&messages.RosterUpdate{Claims: []*messages.RosterClaim{c}}, nil, from, out)
	}
}

// takeVerdict takes the word that a life is over. It is final for those who
// suspected the member. Who has a link to it tells it, so that it returns with
// a higher generation; who knows nothing bad of it makes it a suspect first.
func (m *Machine) takeVerdict(from overlay.Peer, e *entry, c *messages.RosterClaim, out *overlay.Effects) {
	s := stateOfClaim(c)
	farewell := s.status == StatusLeft && from.Name == c.GetName() && from.Incarnation == s.incarnation
	news := &messages.RosterUpdate{Claims: []*messages.RosterClaim{c}}
	switch {
	case s.compare(e.state()) <= 0:
		return
	case e.status >= StatusDown || farewell:
	case e.neighbor:
		e.verdict = c
		out.Send(e.rec.Peer, news)
		return
	case e.status == StatusAlive && s.status == StatusDown:
		fresh := e.verdict == nil
		e.verdict = c
		if fresh {
			m.suspect(e, c.GetObservers(), max(c.GetVersion(), e.rec.Version), out)
			m.pass(news, nil, from, out)
		}
		return
	}
	m.bury(e, s, c.GetAddr(), c.GetObservers(), m.since(c), messages.ReasonDown, from, out)
}

// suspect makes an alive member a suspect, with a time to refute.
func (m *Machine) suspect(e *entry, by []string, version uint64, out *overlay.Effects) {
	m.table.change(e, e.rec, StatusSuspect)
	e.observers, e.accused, e.changed = by, version, m.now
	delete(m.asked, e)
	e.tried = m.parts(e)
	m.watch(e, stageSuspect, m.suspicion()/time.Duration(tries+1-e.tried), out)
	if m.table.doubts >= 4 && m.table.doubts*manySuspects >= len(m.table.order) {
		m.probeSoon(out)
	}
	out.Notify(Suspected{Member: e.member(), By: slices.Clone(by)})
	m.follow(e.rec.Peer.Name, out)
}

// parts is how many of the parts of its time a suspect has without a word of ours: all
// but the last, unless we are one of its observers, who tell of it again. Else it
// takes a single timer.
func (m *Machine) parts(e *entry) uint16 {
	if e.status == StatusSuspect && !slices.Contains(e.observers, m.self.Peer.Name) {
		return tries
	}
	return 0
}

// accuse is a suspicion of our own.
func (m *Machine) accuse(e *entry, out *overlay.Effects) {
	m.suspect(e, []string{m.self.Peer.Name}, e.rec.Version, out)
	m.tell(e, overlay.Peer{}, out)
}

// remind tells a member to whom there is a link what is said of it.
func (m *Machine) remind(e *entry, out *overlay.Effects) {
	c := e.verdict
	if c == nil {
		c = m.claimOf(e)
	}
	out.Send(e.rec.Peer, &messages.RosterUpdate{Claims: []*messages.RosterClaim{c}})
}

// repeats reports whether this node tells of a suspicion again. Without a tree
// each of the observers does, to its own neighbors; over a tree one word reaches
// all, and the first of them says it once; what was brought to who tells it is told
// again if it does not come back.
func (m *Machine) repeats(e *entry) bool {
	self := m.self.Peer.Name
	if m.gathers() && m.least() != nil {
		return false
	}
	return slices.Contains(e.observers, self) && (!m.cfg.Tree || e.tried == 1 && self == slices.Min(e.observers))
}

// bury ends a life with a verdict s, which may be on a later one of the name
// than we know, and spreads it.
func (m *Machine) bury(e *entry, s state, addr string, by []string, at overlay.Time, why messages.Reason, from overlay.Peer, out *overlay.Effects) {
	was, dead := e.status, e.member()
	if was < StatusDown {
		// It lived here until now, whatever age the claim has: it is not to be
		// forgotten at once, or an old record would bring it back.
		at = max(at, m.now.Add(-m.cfg.Tombstones/2))
	}
	m.unwatch(e, out)
	m.table.link(e, false)
	m.endVisit(e.rec.Peer, out)
	rec := e.rec
	switch {
	case s.incarnation != rec.Peer.Incarnation:
		rec = &Record{Peer: overlay.Peer{Name: rec.Peer.Name, Incarnation: s.incarnation, Addr: addr}, Generation: s.generation, Version: s.version}
		why = messages.ReasonPastLife
	case s.generation != rec.Generation:
		later := *rec
		later.Generation = s.generation
		rec, dead.Record = &later, &later
	}
	m.table.change(e, rec, s.status)
	e.observers, e.accused, e.verdict, e.changed = by, 0, nil, at
	dead.Status = s.status
	switch {
	case dead.raw == nil:
	case s.status == StatusLeft && dead.Peer.Incarnation == s.incarnation:
		out.Notify(Gone{dead})
	case was < StatusDown:
		dead.Status = StatusDown
		out.Notify(Down{dead, why})
		if why != messages.ReasonPastLife {
			m.fallen++
			m.probeSoon(out)
		}
	}
	// Over a tree the suspicion has reached all, who come to the same by
	// themselves. What a neighbor told, and comes as a surprise, is told there in case
	// that it has not.
	switch {
	case !m.cfg.Tree:
		m.tell(e, from, out)
	case !m.fromTree && from.Name != "" && m.joined && (was != StatusSuspect || s.status != StatusDown):
		m.bad(e.rec.Peer.Name, s.status == StatusLeft || m.rising, out)
	}
	if was == StatusAlive {
		m.follow(e.rec.Peer.Name, out)
	}
	m.checkAlone(out)
}
