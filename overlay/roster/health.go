package roster

import (
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// A node that is slow itself finds others silent. So it measures how late its
// own timers are, and gives others more time while they are (the idea of
// "Lifeguard: Local Health Awareness for More Accurate Failure Detection",
// Dadgar, Phillips, Currey, 2018, §IV; the measure by timers is our choice).

// maxStrain bounds the multiplier of deadlines to maxStrain+1.
const maxStrain = 7

// grace and suspicion are the configured times, longer under strain.
func (m *Machine) grace() time.Duration { return m.cfg.Grace * time.Duration(m.strain+1) }

func (m *Machine) suspicion() time.Duration { return m.cfg.Suspicion * time.Duration(m.strain+1) }

// late reports whether a deadline fired so late that this node is starved; if
// so it gives the member the stage's time again. The allowance grows with the
// strain, so that a node that is always late accuses at last.
func (m *Machine) late(e *entry, out *overlay.Effects) bool {
	if m.now.Sub(e.due) <= m.grace()/2 {
		return false
	}
	m.strain = min(m.strain+1, maxStrain)
	d := m.grace()
	if e.stage == stageSuspect {
		d = m.suspicion()
	}
	e.tried = m.parts(e)
	m.watch(e, e.stage, d, out)
	return true
}

// onResumed: this process was suspended or starved. What it thinks of others
// is old. Nobody is accused until there was time to hear them again, and all
// deadlines begin anew.
func (m *Machine) onResumed(out *overlay.Effects) {
	m.strain = min(m.strain+1, maxStrain)
	wait := m.cfg.Grace + m.cfg.Suspicion
	m.quiet = m.now.Add(wait)
	m.beacon = beacon{}
	for _, e := range m.table.order {
		switch e.stage {
		case stageFine:
		case stageSuspect:
			e.tried = m.parts(e)
			m.watch(e, stageSuspect, max(wait, m.suspicion()), out)
		default:
			e.tried = 0
			delete(m.asked, e)
			m.watch(e, stageGrace, wait, out)
		}
	}
	m.setSync(out)
	m.compare(out) // others have not stood still
}

func (m *Machine) setSync(out *overlay.Effects) {
	d := m.jitter(m.cfg.Sync)
	if !m.joined {
		d = min(d, m.jitter(rejoinEvery))
	}
	m.due = m.now.Add(d)
	out.SetTimer(overlay.Timer{Kind: timerSync}, d)
}

// onSync exchanges digests with a random neighbor; in time it heals strain.
func (m *Machine) onSync(out *overlay.Effects) {
	if m.strain > 0 && m.now.Sub(m.due) <= m.cfg.Grace/2 {
		m.strain--
	}
	m.setSync(out)
	m.compare(out)
	for _, addr := range m.seeds() {
		if k := m.contacts[addr]; k.phase == phasePending {
			out.Send(k.peer, &messages.RosterDigest{Joining: true}) // the first, or its answer, was lost
		}
	}
}

// compare opens an exchange with a random neighbor.
func (m *Machine) compare(out *overlay.Effects) {
	if n := m.table.near; len(n) > 0 {
		m.sendDigest(n[m.cfg.Rand.IntN(len(n))].rec.Peer, out)
	}
}
