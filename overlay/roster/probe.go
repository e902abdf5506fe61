package roster

import (
	"slices"
	"strings"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// On partial views a member is watched by its neighbors. When all of those are
// gone with it, at once, nobody misses it. So whenever members are down, or many
// are suspect, each node calls the next in the order of names, more of them if
// most are gone: every member has somebody who calls it, and what does not answer
// is accused and leads to the next call. Nothing is called while nobody goes
// down. Between two rounds an accusation has its time.

// maxProbes bounds the members that are called at a time.
const maxProbes = 8

// manySuspects is the part of all members that must be suspect at a time, one in
// so many, for others to be called before anyone is down. Our choice.
const manySuspects = 32

// callers is how many nodes call another within the time of Grace for one that
// is down, in a large cluster. Our choice.
const callers = 64

// gone is how many members are suspect, or went down since the last call, and
// here how many are left.
func (m *Machine) gone() (gone, here int) {
	return m.fallen + m.table.doubts, max(1, len(m.table.order)-m.table.tombs-m.table.doubts)
}

// probeSoon calls the next members in a moment; the fewer of a large cluster are
// gone, the later.
func (m *Machine) probeSoon(out *overlay.Effects) {
	if !m.cfg.Partial || !m.joined || m.leaving || m.taken.Name != "" {
		return
	}
	gone, here := m.gone()
	wait := m.cfg.Grace / 2 * time.Duration(max(1, 2*(here/(callers*max(gone, 1)))))
	if next := m.called.Add(m.cfg.Grace + m.cfg.Suspicion); m.called != 0 {
		wait = max(wait, next.Sub(m.now))
	}
	if m.probing == 0 || m.now.Add(2*wait) < m.probing {
		wait = m.jitter(wait) + max(m.quiet.Sub(m.now), 0)
		m.probing = m.now.Add(wait)
		out.SetTimer(overlay.Timer{Kind: timerProbe}, wait)
	}
}

// onProbe calls the next members to which no link stands.
func (m *Machine) onProbe(out *overlay.Effects) {
	m.probing = 0
	if m.mute() { // one that was starved does later: it may be the only caller of somebody
		m.probeSoon(out)
		return
	}
	gone, here := m.gone()
	m.fallen, m.called = 0, max(m.now, 1)
	m.probe(min(1+gone/here, maxProbes), out)
}

// probe sees to the next n members that nobody accuses: whom we have no link to
// is called.
func (m *Machine) probe(n int, out *overlay.Effects) {
	order := m.table.order
	at, _ := slices.BinarySearchFunc(order, m.self.Peer.Name, func(e *entry, name string) int { return strings.Compare(e.rec.Peer.Name, name) })
	for i := range order {
		e := order[(at+i)%len(order)]
		if e.status != StatusAlive || e.stage != stageFine || !e.known() {
			continue
		}
		if n--; n < 0 || len(m.probed) >= maxProbes {
			return
		}
		if p := e.rec.Peer; !e.neighbor && !m.visits[p.Name].Same(p) {
			m.summon(p, out)
		}
	}
}

// summon calls a member, if it is not being called. It reports whether an answer will
// come.
func (m *Machine) summon(p overlay.Peer, out *overlay.Effects) bool {
	if m.probed[p.Name].Name == "" && len(m.probed) < maxProbes {
		m.probed[p.Name] = p
		out.Connect(p)
	}
	return m.probed[p.Name].Same(p)
}

// lives: a session with a member has come up, so we need not look for it; of what is
// said of it, it is told.
func (m *Machine) lives(p overlay.Peer, out *overlay.Effects) {
	e := m.table.get(p.Name)
	switch {
	case e == nil || !m.cfg.Partial || e.rec.Peer.Incarnation != p.Incarnation:
	case e.status == StatusSuspect:
		m.remind(e, out)
	case e.status == StatusAlive && (e.stage == stageGrace || e.stage == stageAsking):
		m.unwatch(e, out)
	}
}

// answered ends a call that was answered.
func (m *Machine) answered(p overlay.Peer) {
	if m.probed[p.Name].Same(p) {
		delete(m.probed, p.Name)
	}
}

// missed: a call was not answered. It reports whether it was one.
func (m *Machine) missed(ev overlay.LinkDown, out *overlay.Effects) bool {
	if !ev.Dial || ev.Peer.Name == "" || !m.probed[ev.Peer.Name].Same(ev.Peer) {
		return false
	}
	delete(m.probed, ev.Peer.Name)
	e := m.table.get(ev.Peer.Name)
	switch {
	case e == nil || e.rec.Peer.Incarnation != ev.Peer.Incarnation || e.status != StatusAlive || m.leaving:
	case ev.Reason == messages.ReasonDown && ev.Known > 0:
		m.unwatch(e, out)
		m.raise(ev.Known, out) // it lives, and has declared us down
	case ev.Reason == messages.ReasonNameTaken || ev.Reason == messages.ReasonDisconnected || ev.Reason == messages.ReasonDuplicate:
		m.unwatch(e, out) // it lives
	case e.stage == stageFine:
		m.ask(e, out)
		if !m.mute() {
			m.probe(1, out) // who came after it may have lost its only caller
		}
	case e.stage == stageAsking && len(m.asked[e]) == 0 && !m.mute():
		m.accuse(e, out) // there was nobody else to ask
	}
	return true
}
