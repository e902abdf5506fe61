package hyparview

import (
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Exchange puts a peer in the place of a neighbor, without a word to either:
// the door for protocols that rearrange edges, such as package xbot. The session
// with the new one must be up and held; that with the old one is released. It
// reports false, and changes nothing, if the old one is no neighbor or the new
// one is.
func (m *Machine) Exchange(old, with overlay.Peer, out *overlay.Effects) bool {
	if m.left || !m.active.Has(old) || m.active.Has(with) || with.Name == m.cfg.Self.Name {
		return false
	}
	if i := m.askedBy(with.Name); i >= 0 {
		m.settle(i, out)
	}
	if _, parting := m.isParting(with.Name); parting {
		return false
	}
	m.drop(old, messages.ReasonClosed, out)
	m.remember(old)
	m.add(with, out)
	return true
}

// Admit makes a peer a neighbor if there is a free place; see Exchange.
func (m *Machine) Admit(p overlay.Peer, out *overlay.Effects) bool {
	if m.left || p.Name == m.cfg.Self.Name {
		return false
	}
	_, ok := m.take(p, false, out)
	return ok
}

// Full reports whether no place is free.
func (m *Machine) Full() bool { return m.free(overlay.Peer{}) <= 0 }
