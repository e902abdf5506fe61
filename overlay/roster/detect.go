package roster

import (
	"slices"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

func (m *Machine) onNeighborUp(p overlay.Peer, out *overlay.Effects) {
	e := m.entries[p.Name]
	if e == nil || e.rec.Peer.Incarnation != p.Incarnation || e.status >= StatusDown {
		return
	}
	e.neighbor, e.lost = true, false
	out.CancelTimer(overlay.Timer{Kind: timerGrace, Peer: p.Name})
	out.Send(p, &messages.RosterUpdate{Records: [][]byte{m.raw}})
	if e.status == StatusSuspect {
		m.passOn(e, out)
	}
	m.sendDigest(p, false, out)
}

// onNeighborDown takes the loss of a link, or (the reason says so) the failure
// to dial it again.
func (m *Machine) onNeighborDown(ev overlay.NeighborDown, out *overlay.Effects) {
	e := m.entries[ev.Peer.Name]
	if e == nil || e.rec.Peer.Incarnation != ev.Peer.Incarnation {
		return
	}
	e.neighbor = false
	switch {
	case ev.Reason == messages.ReasonDown && ev.Known > 0:
		// We are the ones who were declared down.
		e.lost = false
		out.CancelTimer(overlay.Timer{Kind: timerGrace, Peer: ev.Peer.Name})
		m.raise(ev.Known, out)
		return
	case ev.Reason == messages.ReasonDisconnected || e.status >= StatusSuspect || m.leaving:
		return // wanted, or known
	case e.lost && (ev.Reason == messages.ReasonRefused || ev.Reason == messages.ReasonWrongName):
		m.suspect(e, out) // nobody listens there any more, or somebody else does
		return
	}
	if !e.lost {
		e.lost = true
		out.SetTimer(overlay.Timer{Kind: timerGrace, Peer: ev.Peer.Name}, m.cfg.Grace)
	}
}

// suspect accuses a member whose link is gone.
func (m *Machine) suspect(e *entry, out *overlay.Effects) {
	out.CancelTimer(overlay.Timer{Kind: timerGrace, Peer: e.rec.Peer.Name})
	m.claim(e, StatusSuspect, []string{m.self.Peer.Name}, "", overlay.Peer{}, out)
}

// onSuspicionOver: a suspect has not refuted in time.
func (m *Machine) onSuspicionOver(name string, out *overlay.Effects) {
	e := m.entries[name]
	if e == nil || e.status != StatusSuspect {
		return
	}
	if e.neighbor {
		// It is connected to us, so it lives: it will refute what we pass on.
		m.passOn(e, out)
		out.SetTimer(overlay.Timer{Kind: timerSuspect, Peer: name}, m.cfg.Suspicion)
		return
	}
	m.claim(e, StatusDown, []string{m.self.Peer.Name}, messages.ReasonSilent, overlay.Peer{}, out)
}

// passOn tells a suspect that it is one, so that it can refute.
func (m *Machine) passOn(e *entry, out *overlay.Effects) {
	out.Send(e.rec.Peer, &messages.RosterUpdate{Claims: []*messages.RosterClaim{claimOf(e)}})
}

func claimOf(e *entry) *messages.RosterClaim {
	return &messages.RosterClaim{
		Name: e.rec.Peer.Name, Incarnation: uint64(e.rec.Peer.Incarnation), Generation: e.rec.Generation, Version: e.rec.Version,
		Status: messages.RosterStatus(e.status), Observers: e.observers,
	}
}

// claim changes a member's status, tells the driver and spreads it.
func (m *Machine) claim(e *entry, s Status, by []string, why messages.Reason, from overlay.Peer, out *overlay.Effects) {
	if s <= e.status {
		return
	}
	name := e.rec.Peer.Name
	was := e.status
	e.status, e.observers, e.changed = s, by, m.now
	member := Member{e.rec, s}
	switch s {
	case StatusSuspect:
		out.SetTimer(overlay.Timer{Kind: timerSuspect, Peer: name}, m.cfg.Suspicion)
		out.Notify(Suspected{Member: member, By: slices.Clone(by)})
		if e.neighbor {
			m.passOn(e, out)
		}
	case StatusDown, StatusLeft:
		e.neighbor, e.lost = false, false
		out.CancelTimer(overlay.Timer{Kind: timerGrace, Peer: name})
		out.CancelTimer(overlay.Timer{Kind: timerSuspect, Peer: name})
		if p, ok := m.linked[name]; ok && p.Same(e.rec.Peer) {
			delete(m.linked, name)
			out.Disconnect(p, messages.ReasonDown)
		}
		if was < StatusDown && e.raw != nil {
			if s == StatusLeft {
				out.Notify(Gone{Member: member})
			} else {
				out.Notify(Down{Member: member, Reason: why})
			}
		}
	}
	m.spread(&messages.RosterUpdate{Claims: []*messages.RosterClaim{claimOf(e)}}, from, out)
}
