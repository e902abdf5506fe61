package roster

import (
	"cmp"
	"slices"
	"time"

	"github.com/maquis-go/maquis/overlay"
)

// onMerge calls somebody who is not in our half: a member that is down, or a
// seed at whose address no member is. So the halves of a partition find each
// other after a cut of any length. The pause grows with the cluster, so that
// a cluster of any size makes the same number of calls.
func (m *Machine) onMerge(out *overlay.Effects) {
	alive := len(m.table.order) - m.table.tombs
	wait := m.cfg.Merge * time.Duration(max(1, alive/8))
	if m.isolated {
		wait = m.cfg.Merge / 4
	}
	out.SetTimer(overlay.Timer{Kind: timerMerge}, m.jitter(wait))
	if m.leaving || m.taken.Name != "" {
		return
	}
	addr := m.stranger()
	if addr == "" {
		return
	}
	if m.contacts[addr] == nil {
		m.contacts[addr] = &contact{}
	}
	m.call(addr, out)
}

// recent is how many of those who went down last are tried as often as all
// the others together: after a partition they are the other half.
const recent = 8

// stranger picks an address outside our half, or "".
func (m *Machine) stranger() string {
	var seeds []string
	for _, addr := range m.seeds() {
		if k := m.contacts[addr]; k.phase == phaseIdle && !m.isMember(addr, k.peer) {
			seeds = append(seeds, addr)
		}
	}
	var down []*entry
	for _, e := range m.table.order {
		if k := m.contacts[e.rec.Peer.Addr]; e.status == StatusDown && e.rec.Peer.Addr != "" && (k == nil || k.phase == phaseIdle) {
			down = append(down, e)
		}
	}
	r := m.cfg.Rand
	if len(seeds) > 0 && (len(down) == 0 || r.IntN(2) == 0) {
		return seeds[r.IntN(len(seeds))]
	}
	if len(down) == 0 {
		return ""
	}
	if len(down) > recent && r.IntN(2) == 0 {
		slices.SortStableFunc(down, func(a, b *entry) int { return cmp.Compare(b.changed, a.changed) })
		down = down[:recent]
	}
	e := down[r.IntN(len(down))]
	if n := len(e.rec.Addrs); n > 0 {
		return e.rec.Addrs[r.IntN(n)]
	}
	return e.rec.Peer.Addr
}

// isMember reports whether a seed's address, or the life that answered there
// last, belongs to a member that is not down.
func (m *Machine) isMember(addr string, p overlay.Peer) bool {
	for _, e := range m.table.order {
		if e.status < StatusDown && (e.rec.Peer.Same(p) || slices.Contains(e.rec.Addrs, addr)) {
			return true
		}
	}
	return false
}

// checkAlone begins the wait for Isolated when the last link is gone.
func (m *Machine) checkAlone(out *overlay.Effects) {
	if m.alone() && !m.isolated && !m.lonely {
		m.lonely = true
		out.SetTimer(overlay.Timer{Kind: timerAlone}, m.cfg.Grace)
	}
}

// alone reports whether no link is left, though there are others who did not
// leave in order.
func (m *Machine) alone() bool {
	if len(m.table.near) > 0 || len(m.visits) > 0 || len(m.ahead) > 0 || m.leaving || !m.joined {
		return false
	}
	return slices.ContainsFunc(m.table.order, func(e *entry) bool { return e.status != StatusLeft && e.known() })
}

// onAlone tells that we are isolated and calls all seeds at once.
func (m *Machine) onAlone(out *overlay.Effects) {
	m.lonely = false
	if !m.alone() || m.isolated {
		return
	}
	m.isolated = true
	out.Notify(Isolated{Since: m.now.Add(-m.cfg.Grace)})
	for _, addr := range m.seeds() {
		m.call(addr, out)
	}
}

// notAlone: there is a link.
func (m *Machine) notAlone(out *overlay.Effects) {
	if m.lonely {
		m.lonely = false
		out.CancelTimer(overlay.Timer{Kind: timerAlone})
	}
	if m.isolated {
		m.isolated = false
		out.Notify(NotIsolated{})
	}
}
