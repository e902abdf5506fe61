package plumtree

import (
	"cmp"
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// onGossip delivers and passes on what is new, and takes a link out of the tree
// that brings again what came already (sections 3.6 and 3.7).
func (m *Machine) onGossip(from overlay.Peer, msg *messages.PlumGossip, out *overlay.Effects) {
	if !fitGossip(msg, m.cfg.MaxPayload) {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	slot := m.slot(from)
	k := key{msg.GetIncarnation(), msg.GetSeq()}
	if e, ok := m.store.find(k); ok {
		m.duplicate(slot, e, msg, out)
		return
	}
	if k.incarnation == uint64(m.cfg.Self.Incarnation) {
		if own := m.back(k.seq, out); own != nil {
			m.forward(slot, msg, own, out)
		} else {
			m.Old++ // delivered when it was published, or made up
		}
		return
	}
	x := m.missing[k]
	if !m.seen.first(k.incarnation, k.seq, m.cfg.Origins) && x == nil {
		m.Old++
		return
	}
	if x != nil { // it was not there when it was announced, however old it is by now
		m.found(k, x, out)
	}
	m.deliver(msg, from, int(msg.GetHops()), out)
	m.forward(slot, msg, msg, out)
	if x != nil && x.asked >= 0 {
		if slot != x.asked {
			m.tooEarly()
		} else if e, ok := m.store.find(k); ok {
			e.asked = true
		}
	}
	if x != nil && x.n > 0 { // announcements that were here before the payload
		at := 0
		for i := range x.n {
			if x.hops[i] < x.hops[at] {
				at = i
			}
		}
		if e, ok := m.store.find(k); ok {
			m.optimize(int(x.from[at]), e, x.hops[at], out)
		}
	}
}

// forward passes on what came, with what it says: its own content, or for a
// message of ours what we know that to be.
func (m *Machine) forward(slot int, msg, content *messages.PlumGossip, out *overlay.Effects) {
	on := copyOf(msg)
	on.Subject, on.Payload, on.AgeMs = content.GetSubject(), content.GetPayload(), max(on.GetAgeMs(), content.GetAgeMs())
	on.Hops++
	parent, self := slot, uint64(m.cfg.Self.Incarnation)
	if msg.GetOffTree() { // it comes upon the tree here
		on.Wave, on.Root, parent = self, nil, -1
	} else if slot >= 0 {
		m.tree(msg.GetTree(), slot).lazy.clear(slot)
	}
	if msg.GetTree() == self { // all are told that the root lives
		on.Wave, on.Root = self, m.ref
	}
	on.Spread = max(on.Spread, 1) - 1
	m.push(on, slot, parent, out)
}

// tooEarly: a message was asked for that was on its way. Nodes or links are
// slow, and what is asked for in vain makes them slower.
func (m *Machine) tooEarly() {
	m.haste, m.hasty = min(m.haste+1, 3), m.now
}

// patience is how long a wait is now.
func (m *Machine) patience(wait time.Duration) time.Duration {
	if m.haste > 0 && m.now.Sub(m.hasty) >= 10*time.Second {
		m.haste = 0
	}
	return wait << m.haste
}

// found ends the wait for a message.
func (m *Machine) found(k key, x *missing, out *overlay.Effects) {
	delete(m.missing, k)
	if x.by >= 0 {
		m.neighbors[x.by].missing--
	}
	out.CancelTimer(overlay.Timer{Kind: timerMissing, ID: x.id})
}

// duplicate prunes the link that brought it, if both came from the same place
// along the tree: that is a cycle.
func (m *Machine) duplicate(slot int, e *entry, msg *messages.PlumGossip, out *overlay.Effects) {
	m.Duplicates++
	if e.asked && slot != int(e.parent) {
		e.asked = false
		m.tooEarly()
	}
	if slot < 0 || msg.GetOffTree() || msg.GetWave() != e.on.GetWave() || int(e.parent) == slot {
		return
	}
	// Also if the link is lazy here: the other end may have forgotten the tree.
	m.tree(msg.GetTree(), slot).lazy.set(slot)
	m.Prunes++
	out.Send(m.neighbors[slot].peer, &messages.PlumPrune{Tree: msg.GetTree()})
}

// onPrune: the neighbor gets the payload another way.
func (m *Machine) onPrune(from overlay.Peer, msg *messages.PlumPrune) {
	if slot := m.slot(from); slot >= 0 && m.trees[msg.GetTree()] != nil {
		m.tree(msg.GetTree(), slot).lazy.set(slot)
	}
}

// onIHave waits for what is announced and new to come by itself; what came by a
// longer way than this link offers changes the tree (section 3.8).
func (m *Machine) onIHave(from overlay.Peer, msg *messages.PlumIHave, out *overlay.Effects) {
	if len(msg.GetMessages()) > maxIDs || slices.ContainsFunc(msg.GetMessages(), func(id *messages.PlumID) bool { return !fitID(id) }) {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	slot := m.slot(from)
	if slot < 0 {
		return // it is no neighbor any more, and would not be asked
	}
	if msg.GetOpening() {
		out.CancelTimer(overlay.Timer{Kind: timerOpening, Peer: from.Name})
	}
	if n := &m.neighbors[slot]; msg.GetAsk() && n.grafts+m.store.len() < maxGrafts {
		n.grafts += 1 + m.store.len()
		m.open(slot, out)
	}
	for _, id := range msg.GetMessages() {
		k := key{id.GetIncarnation(), id.GetSeq()}
		if e, ok := m.store.find(k); ok {
			m.optimize(slot, e, id.GetHops(), out)
			continue
		}
		if k.incarnation == uint64(m.cfg.Self.Incarnation) || m.seen.has(k.incarnation, k.seq) || m.history(age(id.GetAgeMs())) {
			continue
		}
		x := m.missing[k]
		if x == nil {
			n := &m.neighbors[slot]
			if n.missing >= maxMissing {
				out.Reject(from, messages.ReasonLimit)
				continue
			}
			n.missing++
			x = &missing{asked: -1, by: slot, id: overlay.MessageID{Origin: id.GetOrigin(), Incarnation: overlay.Incarnation(id.GetIncarnation()), Seq: id.GetSeq()}}
			m.missing[k] = x
			out.SetTimer(overlay.Timer{Kind: timerMissing, ID: x.id}, m.patience(m.cfg.Missing))
		}
		if x.n < len(x.from) && !slices.Contains(x.from[:x.n], int16(slot)) {
			x.from[x.n], x.hops[x.n] = int16(slot), id.GetHops()
			x.n++
		}
	}
}

// history reports whether a message of that age is of before this node came.
func (m *Machine) history(age time.Duration) bool {
	return m.cfg.Newcomer && age > m.now.Sub(m.born)+joining
}

// ask asks the next announcer of a message that has not come, and makes its
// link part of the tree (section 3.7). When all were asked in vain the message
// is given up: whoever has it announces it to new neighbors.
func (m *Machine) ask(k key, out *overlay.Effects) {
	x := m.missing[k]
	if x == nil {
		return
	}
	for x.next < x.n {
		slot := int(x.from[x.next])
		x.next++
		if n := &m.neighbors[slot]; n.peer.Name != "" {
			x.asked = slot
			m.Grafts++
			out.Send(n.peer, &messages.PlumGraft{Messages: []*messages.PlumID{{Origin: x.id.Origin, Incarnation: k.incarnation, Seq: k.seq}}})
			out.SetTimer(overlay.Timer{Kind: timerMissing, ID: x.id}, m.patience(m.cfg.Retry))
			return
		}
	}
	m.found(k, x, out)
}

// optimize takes a shorter way into the tree in place of the one that brought
// the payload. Only messages of the tree's own root count: those of others
// start elsewhere, and would pull the tree to and fro (the paper's several
// senders make some 4,500 nodes of 10,000 change their parents with each
// message).
func (m *Machine) optimize(slot int, e *entry, hops uint32, out *overlay.Effects) {
	if int(e.hops)-int(hops) < m.cfg.Threshold || m.cfg.Threshold == 0 || e.parent < 0 || int(e.parent) == slot || m.neighbors[e.parent].peer.Name == "" {
		return
	}
	root := e.on.GetTree()
	t := m.tree(root, slot)
	t.lazy.clear(slot)
	t.lazy.set(int(e.parent))
	m.Grafts++
	m.Prunes++
	out.Send(m.neighbors[slot].peer, &messages.PlumGraft{Tree: root})
	out.Send(m.neighbors[e.parent].peer, &messages.PlumPrune{Tree: root})
	e.parent = int16(slot)
}

// onGraft makes the link part of the tree and sends what is asked for (section
// 3.7).
func (m *Machine) onGraft(from overlay.Peer, msg *messages.PlumGraft, out *overlay.Effects) {
	slot := m.slot(from)
	if len(msg.GetMessages()) > maxIDs || slices.ContainsFunc(msg.GetMessages(), func(id *messages.PlumID) bool { return !fitID(id) }) {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	if slot < 0 {
		return
	}
	if len(msg.GetMessages()) == 0 && m.trees[msg.GetTree()] != nil {
		m.tree(msg.GetTree(), slot).lazy.clear(slot)
	}
	for _, id := range msg.GetMessages() {
		n := &m.neighbors[slot]
		e, ok := m.store.find(key{id.GetIncarnation(), id.GetSeq()})
		if n.grafts++; ok {
			n.graftBytes += len(e.on.GetPayload())
		}
		if n.grafts > maxGrafts || n.graftBytes > m.cfg.KeepBytes {
			out.Reject(from, messages.ReasonLimit)
			return
		}
		if ok {
			m.tree(e.on.GetTree(), slot).lazy.clear(slot)
			again := e.on
			if old := e.age(m.now); again.GetSpread() > 0 || again.GetAgeMs() != old {
				again = copyOf(again)
				again.Spread, again.AgeMs = 0, old
			}
			out.Send(from, again)
		}
	}
}

func fitGossip(g *messages.PlumGossip, most int) bool {
	return g.GetOrigin() != "" && len(g.GetOrigin()) <= maxName && g.GetIncarnation() != 0 && g.GetSeq() != 0 && g.GetTree() != 0 &&
		fitRoot(g) && g.GetHops() >= 1 && g.GetHops() < maxHops && g.GetSpread() <= maxSpread && len(g.GetSubject()) <= maxSubject && len(g.GetPayload()) <= most
}

func fitRoot(g *messages.PlumGossip) bool {
	if g.GetRoot() == nil {
		return true
	}
	p, ok := overlay.PeerOf(g.GetRoot())
	return ok && uint64(p.Incarnation) == g.GetTree()
}

func fitID(id *messages.PlumID) bool {
	return id.GetOrigin() != "" && len(id.GetOrigin()) <= maxName && id.GetIncarnation() != 0 && id.GetSeq() != 0
}

func sortKeys(list []key) {
	slices.SortFunc(list, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.incarnation, b.incarnation), cmp.Compare(a.seq, b.seq))
	})
}
