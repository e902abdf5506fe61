package roster

import (
	"slices"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

func (m *Machine) selfState() state {
	return state{m.self.Peer.Incarnation, m.self.Generation, m.self.Version, StatusAlive}
}

// newVersion makes our record anew and tells everyone.
func (m *Machine) newVersion(v uint64, out *overlay.Effects) {
	m.self.Version = v
	m.self.raw = m.self.encode()
	out.Notify(SelfChanged{m.self})
	if m.visible {
		m.spread(m.ownNews(), overlay.Peer{}, out)
	}
}

// ownNews is our record as an update.
func (m *Machine) ownNews() *messages.RosterUpdate {
	return &messages.RosterUpdate{Records: [][]byte{m.self.raw}}
}

// raise takes a generation above g: a life of this name, or this one, was
// declared over up to g. A leap that no honest history makes is refused.
func (m *Machine) raise(g uint64, out *overlay.Effects) bool {
	if g < m.self.Generation || m.leaving || m.taken.Name != "" {
		return true
	}
	if g-m.self.Generation > maxOwnJump || g >= maxNumber {
		return false
	}
	m.self.Generation = g + 1
	m.newVersion(1, out)
	return true
}

// refute answers what others say of our name: a suspicion with a higher
// version, a death with a higher generation. Nobody else can do either.
func (m *Machine) refute(from overlay.Peer, s state, out *overlay.Effects) {
	if m.leaving {
		return
	}
	ok, mine := true, m.selfState()
	switch {
	case s.final() && m.taken.Name != "" && s.incarnation != mine.incarnation && (m.taken.Incarnation == 0 || m.taken.Incarnation == s.incarnation):
		m.taken, m.told = overlay.Peer{}, false // the other is gone: the name is ours again
		ok = m.raise(s.generation, out)
	case s.final() && s.generation >= mine.generation:
		ok = m.raise(s.generation, out)
	case s.incarnation != mine.incarnation:
	case s.generation > mine.generation: // of a record that this machine's predecessor made
		ok = m.raise(s.generation, out)
	case s.generation == mine.generation && s.version >= mine.version:
		if ok = s.version-mine.version <= maxOwnJump && s.version < maxNumber; ok {
			m.newVersion(s.version+1, out)
		}
	default: // refuted before: the sender has not heard of it
		m.sendSelf(from, out)
	}
	if !ok {
		out.Reject(from, messages.ReasonBadFrame)
	}
}

// takeOwnName takes a record under our own name.
func (m *Machine) takeOwnName(from overlay.Peer, r *Record, out *overlay.Effects) {
	s, mine := state{r.Peer.Incarnation, r.Generation, r.Version, StatusAlive}, m.selfState()
	switch {
	case s.incarnation == mine.incarnation:
		// Ours. If it is newer, a predecessor of this machine made it, or
		// somebody forged it: we go above it, so that all see one truth.
		if s.compare(mine) > 0 {
			s.status = StatusSuspect
			m.refute(from, s, out)
		}
	case slices.Contains(m.self.Addrs, r.Peer.Addr):
		// An earlier life at our very address, which we could not have bound
		// while it lived.
		s.status = StatusDown
		m.refute(from, s, out)
	case s.compare(mine) > 0:
		// Another life has our name, and by the rule that all nodes share it
		// keeps it. We do not fight over it: we return when it is gone.
		m.told = m.told && m.taken.Same(r.Peer)
		m.taken = r.Peer
		m.nameTaken(NameTaken{By: r.Peer}, out)
	default:
		m.sendSelf(from, out)
	}
}

// nameTaken tells once that our name is another's, until we try anew or the
// other is gone.
func (m *Machine) nameTaken(n NameTaken, out *overlay.Effects) {
	if !m.told {
		m.told = true
		out.Notify(n)
	}
}

func (m *Machine) sendSelf(to overlay.Peer, out *overlay.Effects) {
	if m.visible {
		out.Send(to, m.ownNews())
	}
}

// onLeave says farewell. From then on nothing is refuted and nobody accused.
func (m *Machine) onLeave(out *overlay.Effects) {
	if m.leaving {
		return
	}
	m.leaving = true
	// Straight to the neighbors, who pass it on: an overlay that leaves in the
	// same moment has no tree any more.
	m.cfg.Spread(&messages.RosterUpdate{Claims: []*messages.RosterClaim{{
		Name: m.self.Peer.Name, Incarnation: uint64(m.self.Peer.Incarnation), Generation: m.self.Generation,
		Version: m.self.Version, Status: messages.RosterStatus_ROSTER_STATUS_LEFT,
		Observers: []string{m.self.Peer.Name}, Addr: m.self.Peer.Addr,
	}}}, m.reach(), out)
	out.Notify(LeaveDone{})
}
